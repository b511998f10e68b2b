import { toError } from '../core/errors.ts';
import type { Headers } from '../core/message.ts';
import { readIds, readWatermarks } from './ids.ts';
import { type JournalState, type Partial, unpackState } from './journal-state.ts';
import { keyNumber, recordKind, unpackRecord } from './record.ts';
import { segmentKey, stateKey } from './recovery.ts';
import { readMessages, readSegment, type SegmentRecord, storedSize } from './segment.ts';
import type { Store } from './store.ts';

/** What was found wrong in a store. */
export interface Problem {
  /** The mailbox by its name, `dead letters`, `node`, or a file. */
  readonly where: string;
  /** The record, if it is one. */
  readonly key?: string;
  readonly problem: string;
}

/** What a journal holds. */
export interface JournalStatistics {
  /** The mailbox's full name; the id when that is not known. */
  readonly name: string;
  readonly id: string;
  /** Messages that wait, those that are parked included, and their bytes. */
  readonly messages: number;
  readonly bytes: number;
  /** When the oldest of those that are not parked was stored, in milliseconds since the epoch. */
  readonly oldest?: number;
  readonly segments: number;
  /** Segments whose messages have all left, of which the ids are kept for a while. */
  readonly stubs: number;
  readonly parked: number;
}

/** Counts what a journal holds, and compares it with its state. Its records come in the order of their keys. */
export class JournalAudit {
  readonly id: string;
  /** What it is called in problems. */
  name: string;
  /** Whether a mailbox or a spool claims it. */
  claimed = false;
  readonly #report: (problem: Problem) => void;
  #state: JournalState | undefined;
  #stateProblem: string | undefined;
  #last: SegmentRecord | undefined;
  #messages = 0;
  #bytes = 0;
  #oldest = Number.POSITIVE_INFINITY;
  #segments = 0;
  #stubs = 0;
  #parked = { count: 0, bytes: 0 };

  constructor(id: string, report: (problem: Problem) => void) {
    this.id = this.name = id;
    this.#report = report;
  }

  /** To be called first. */
  async load(store: Store): Promise<void> {
    const key = stateKey(this.id);
    const value = await store.get(key);
    if (value === undefined) {
      this.#stateProblem = 'is missing';
      return;
    }
    try {
      this.#state = unpackState(key, value);
    } catch (error) {
      this.#stateProblem = toError(error).message;
    }
  }

  segment(key: string, value: Uint8Array): void {
    const record = this.#attempt(key, () => readSegment(key, value));
    if (record === undefined) return;
    const { first, count, bytes } = record;
    if (key !== segmentKey(this.id, first) || count === 0) {
      this.#tell(key, `holds another segment than its key says: from ${first}, ${count} messages`);
      return;
    }
    this.#follow(key, record);
    this.#last = record;
    this.#attempt(key, () => {
      readIds(record.ids, { id: () => {}, run: () => {} });
      readWatermarks(record.watermarks, () => {});
    });
    if (record.kind === 'stub') {
      this.#stubs++;
      return;
    }
    const messages = this.#attempt(key, () => readMessages(key, record));
    if (messages === undefined) return;
    const sum = messages.reduce((total, { size }) => total + size, 0);
    if (sum !== bytes) this.#tell(key, `says ${bytes} bytes, its messages have ${sum}`);
    if (this.#state !== undefined && first < this.#state.head) return; // it has left: only its removal is missing
    this.#segments++;
    this.#oldest = Math.min(this.#oldest, record.time);
    const partial = this.#state?.partials.find((each) => each.first === first);
    if (partial !== undefined) this.#checkPartial(key, partial, messages);
    this.#messages += count - (partial?.count ?? 0);
    this.#bytes += bytes - (partial?.bytes ?? 0);
  }

  parked(key: string, value: Uint8Array): void {
    const record = this.#attempt(key, () => unpackRecord(recordKind.parked, key, value) as unknown as Parked);
    this.#parked.count++;
    if (record === undefined) return;
    const { sequence, due, topic, payload, headers } = record;
    const place = keyNumber(sequence);
    if (key !== `pl/${this.id}/${place}` && key !== `pk/${this.id}/${keyNumber(due)}/${place}`) {
      this.#tell(key, `is of message ${sequence}, which its key does not say`);
    }
    this.#parked.bytes += storedSize(topic, payload, record.key, headers);
  }

  /** To be called last. @returns what it holds, or undefined for what nobody claims. */
  end(notes: string[]): JournalStatistics | undefined {
    const state = this.#state;
    if (!this.claimed) {
      if (this.#messages + this.#parked.count > 0) {
        this.#tell(undefined, `belongs to no mailbox: ${this.#messages + this.#parked.count} messages are left`);
      } else {
        notes.push(`${this.name}: remains of a mailbox or spool that was removed`);
      }
      return undefined;
    }
    if (state === undefined) this.#tell(stateKey(this.id), this.#stateProblem ?? 'cannot be read');
    else this.#compare(state);
    return {
      name: this.name,
      id: this.id,
      messages: this.#messages + this.#parked.count,
      bytes: this.#bytes + this.#parked.bytes,
      ...(this.#oldest === Number.POSITIVE_INFINITY ? {} : { oldest: this.#oldest }),
      segments: this.#segments,
      stubs: this.#stubs,
      parked: this.#parked.count,
    };
  }

  #compare({ head, tail, total, parked }: JournalState): void {
    const last = this.#last;
    const end = last === undefined ? head - 1 : last.first + last.count - 1;
    this.#checkHole(Math.max(end + 1, head), tail);
    if (last !== undefined && end === tail && last.bytesBefore + last.bytes !== total) {
      this.#tell(
        stateKey(this.id),
        `says that ${total} bytes ever entered, the segments ${last.bytesBefore + last.bytes}`,
      );
    }
    this.#compareParked(parked);
  }

  #compareParked({ count, bytes }: JournalState['parked']): void {
    const found = this.#parked;
    if (count === found.count && bytes === found.bytes) return;
    const [says, are] = [`${count} messages (${bytes} bytes)`, `${found.count} (${found.bytes})`];
    this.#tell(stateKey(this.id), `says that ${says} are parked, there are ${are}`);
  }

  /** Whether a record begins where the one before it ended. */
  #follow(key: string, { first, bytesBefore }: SegmentRecord): void {
    const last = this.#last;
    const head = this.#state?.head ?? first;
    const expected = last === undefined ? head : last.first + last.count;
    if (first > expected) this.#checkHole(Math.max(expected, head), first - 1);
    else if (last !== undefined && first < expected) this.#tell(key, `begins at ${first}, before ${expected}`);
    if (last === undefined || first !== expected) return;
    const before = last.bytesBefore + last.bytes;
    if (bytesBefore !== before) this.#tell(key, `says that ${bytesBefore} bytes came before, there were ${before}`);
  }

  /** What is not there must have left. */
  #checkHole(from: number, to: number): void {
    let next = from;
    for (const { first, count } of this.#state?.gone ?? []) {
      if (first <= next && first + count > next) next = first + count;
    }
    if (next > to) return;
    const count = to - next + 1;
    this.#tell(undefined, `${count} message${count === 1 ? ' is' : 's are'} missing: ${next} to ${to}`);
  }

  #checkPartial(key: string, partial: Partial, messages: readonly { readonly size: number }[]): void {
    let count = 0;
    let bytes = 0;
    for (const [i, { size }] of messages.entries()) {
      if (((partial.left[i >> 3] ?? 0) & (1 << (i & 7))) === 0) continue;
      count++;
      bytes += size;
    }
    if (count === partial.count && bytes === partial.bytes) return;
    this.#tell(key, `has lost ${partial.count} messages (${partial.bytes} bytes), the state marks ${count} (${bytes})`);
  }

  #attempt<T>(key: string, read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      this.#tell(key, toError(error).message);
      return undefined;
    }
  }

  #tell(key: string | undefined, problem: string): void {
    this.#report({ where: this.name, ...(key === undefined ? {} : { key }), problem });
  }
}

interface Parked {
  readonly sequence: number;
  readonly due: number;
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly key?: string;
  readonly headers: Headers;
}
