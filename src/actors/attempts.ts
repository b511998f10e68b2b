import type { JournalState } from '../storage/journal-state.ts';
import { unsettledOfKey } from './delivery-queue.ts';
import type { Slot } from './slot.ts';

/**
 * What a durable mailbox knows, across the lives of its process, of how often its messages were cut off.
 *
 * Most messages cost nothing here: a mark runs ahead of what is handed out, and what lies below it when a process dies
 * counts as cut off once. Messages that are handed out one by one, and those that wait above the mark, are noted singly.
 */
export class Attempts {
  /** How often messages were cut off before; those of an earlier life that are not here count once. */
  readonly #cut: Map<number, number>;
  /** Handed out one by one, or about to be; those without a slot in an earlier life. */
  readonly #started = new Map<number, Slot | undefined>();
  /** Up to which sequence an earlier life may have handed messages out. */
  readonly #aged: number;
  /** How many messages from below there have been found of each key. */
  readonly #keys = new Map<string, number>();
  /** Nothing is noted of any message. Mostly so: a field is sooner asked than two tables. */
  #blank: boolean;

  constructor({ cut, started, mark }: Pick<JournalState, 'cut' | 'started' | 'mark'>) {
    this.#cut = new Map(cut);
    for (const sequence of started) this.#started.set(sequence, undefined);
    this.#aged = mark;
    this.#blank = this.#cut.size === 0 && this.#started.size === 0;
  }

  /**
   * How often a message of a segment was cut off in earlier lives, or may have been; undefined when it was not. Asked once for
   * each, in the order of their sequences: of those of one key only the first few can have run.
   */
  before(sequence: number, key: string | undefined): number | undefined {
    const cut = this.#blank ? undefined : this.#cut.get(sequence);
    if (sequence > this.#aged) return cut;
    if (key === undefined) return cut ?? 1;
    const behind = this.#keys.get(key) ?? 0;
    this.#keys.set(key, behind + 1);
    return cut ?? (behind < unsettledOfKey ? 1 : undefined);
  }

  /** Completes what a record of its own tells of a message. @returns whether anything has changed. */
  found(slot: Slot): boolean {
    const cut = this.#cut.get(slot.sequence) ?? 0;
    slot.attempt += cut;
    if (cut > 0) slot.suspect = true;
    return this.resume(slot);
  }

  /** One that was noted as started when the life before this one ended has been cut off. @returns whether it was. */
  resume(slot: Slot): boolean {
    if (this.#blank) return false;
    const { sequence } = slot;
    if (!this.#started.has(sequence)) return false;
    if (this.#started.get(sequence) !== undefined) return false;
    this.#started.delete(sequence);
    this.age(slot);
    return true;
  }

  /** An attempt was cut off. */
  age(slot: Slot): void {
    const { sequence, parked } = slot;
    slot.attempt++;
    slot.worn = slot.suspect; // it was out alone, so the end was its own
    slot.suspect = true;
    this.#blank = false;
    // What is parked has a record that tells its attempt: only what came after that is noted here.
    this.#cut.set(sequence, parked === undefined ? slot.attempt - 1 : (this.#cut.get(sequence) ?? 0) + 1);
  }

  /** A message is handed out when the state that says so is written. */
  start(slot: Slot): void {
    const { sequence, attempt, parked } = slot;
    this.#blank = false;
    this.#started.set(sequence, slot);
    if (parked === undefined) this.#cut.set(sequence, attempt - 1);
  }

  /** A message is not handed out after all, or not any more. @returns whether that it was had been noted. */
  stop(sequence: number): boolean {
    return !this.#blank && this.#started.delete(sequence);
  }

  /** A message has left, or has a new record. */
  forget(sequence: number): void {
    if (this.#blank) return;
    this.#started.delete(sequence);
    this.#cut.delete(sequence);
    this.#blank = this.#cut.size === 0 && this.#started.size === 0;
  }

  /** Messages are lost. */
  forgetAll(from: number, to: number): void {
    for (const notes of [this.#cut, this.#started]) {
      for (const sequence of [...notes.keys()]) if (sequence >= from && sequence <= to) notes.delete(sequence);
    }
  }

  /** The life of the mailbox ends in order: nothing below the mark ages that was not begun. */
  close(out: Iterable<Slot>, waiting: Iterable<Slot>): void {
    this.#blank = false;
    for (const { sequence, attempt, parked } of out) {
      this.#cut.set(sequence, parked === undefined ? attempt : (this.#cut.get(sequence) ?? 0) + 1);
    }
    for (const { sequence, attempt, parked } of waiting) {
      if (parked === undefined && attempt > 1) this.#cut.set(sequence, attempt - 1);
    }
    this.#started.clear();
  }

  state(): Pick<JournalState, 'cut' | 'started'> {
    return { cut: [...this.#cut], started: [...this.#started.keys()] };
  }
}
