import { Ring } from '../core/ring.ts';
import { Lanes } from './lanes.ts';
import type { MailboxConsumer } from './mailbox-consumer.ts';
import type { Slot } from './slot.ts';

/** What the queue needs of its mailbox. */
export interface DeliveryQueueHost {
  /** Up to which sequence messages may be handed out. */
  readonly mark: number;
  /** How far that may run ahead of what is handed out. */
  readonly ahead: number;
  /** A higher mark is wanted. */
  markWanted(): void;
  /** That a message is handed out is to be written with the next commit. */
  note(slot: Slot): void;
  /** Drops a message that has waited too long. @returns whether it has. */
  expire(slot: Slot): boolean;
}

const nobody: readonly Slot[] = [];

/** How many messages of one key may follow one another before the settlements of those before them are written. */
const longestChain = 16;
/**
 * How many messages of one key may have been handed out, at most, whose settlements are not on disk: a commit that is under
 * way counts for those that began before it.
 */
export const unsettledOfKey = 2 * longestChain + 2;

/** At how many a ring is looked through for what has left. */
function compactAt(size: number): number {
  return Math.max(64, 2 * size);
}

/**
 * The order in which the messages of a durable mailbox are handed out: in the order of their arrival, of one key one at a
 * time; before those what comes back, what is due again, and what its key had held up.
 *
 * A message is handed out only when a note that it may have been is on disk. For most the mark is that note, which runs
 * ahead. What is parked is noted singly, many with one commit; what may have killed its process is noted alone.
 */
export class DeliveryQueue {
  readonly #host: DeliveryQueueHost;
  readonly #lanes = new Lanes<Slot>();
  readonly #arrived = new Ring<Slot>();
  /** Before those: retries that are due, messages whose key became free, and what came back. Undefined until there is one. */
  #first: Ring<Slot> | undefined;
  /** Before those: the note of their start is written. Undefined when there is none. */
  #noted: Ring<Slot> | undefined;
  /** With the next commit, and with the one under way, the notes of these are written. */
  #noting: readonly Slot[] = nobody;
  #notes: readonly Slot[] = nobody;
  /** How many of a key have left since the last commit, if any has, and those that have to wait for the next. */
  #chains: Map<string, number> | undefined;
  #chained: Slot[] = [];
  #wanted = 0;
  #last = 0;
  #compactAt = compactAt(0);

  constructor(host: DeliveryQueueHost) {
    this.#host = host;
  }

  /** Whether `take` may have something. */
  get hasMore(): boolean {
    return (
      this.#noted !== undefined ||
      (this.#first !== undefined && this.#first.size > 0) ||
      (this.#arrived.size > 0 && !this.#lanes.full)
    );
  }

  /** How many wait behind their key. */
  get held(): number {
    return this.#lanes.held;
  }

  /** Up to which sequence messages are to be handed out soon. */
  get wantedMark(): number {
    return Math.max(this.#wanted, this.#last + this.#host.ahead);
  }

  /**
   * The next message that a consumer may have.
   *
   * @param most how many that are to be noted first are made ready at a time.
   * @param fresh rather one that has arrived than one that has come back.
   */
  take(consumer: MailboxConsumer, most = Number.POSITIVE_INFINITY, fresh = false): Slot | undefined {
    if (this.#noted !== undefined) {
      const slot = shift(this.#noted);
      if (this.#noted.size === 0) this.#noted = undefined;
      if (slot !== undefined) return slot;
    }
    // While a note is being written, nothing else overtakes what it is about.
    if (this.#noting.length > 0 || this.#notes.length > 0) return undefined;
    if (fresh) {
      const slot = this.#takeArrived(consumer);
      if (slot !== undefined || this.#noting.length > 0) return slot;
    }
    if (this.#first !== undefined && this.#first.size > 0) {
      const slot = this.#takeFirst(this.#first, consumer, most);
      if (slot !== undefined || this.#noting.length > 0) return slot;
    }
    return fresh ? undefined : this.#takeArrived(consumer);
  }

  /** A message has come into memory, behind those before it. */
  arrive(slot: Slot): void {
    this.#arrived.push(slot);
    if (this.#arrived.size >= this.#compactAt) this.compact();
  }

  /** A message has been found whose key is not free before it has been handled. */
  hold(slot: Slot): void {
    const { key } = slot.message;
    if (key !== undefined) slot.holds = this.#lanes.take(key);
  }

  /** A message that was parked is due. */
  due(slot: Slot): void {
    // One that is due for the first time takes its place among those of its key; a retry has held it all the time.
    if (slot.holds || this.#enter(slot)) this.#before.push(slot);
  }

  /** A message comes back in its place. */
  back(slot: Slot): void {
    this.#before.unshift(slot);
  }

  /** A message comes back, behind those that have come back before. */
  behind(slot: Slot): void {
    this.#before.push(slot);
  }

  /** A message has left. @returns whether the next of its key may run now. */
  free(slot: Slot): boolean {
    const { key } = slot.message;
    if (key === undefined || !slot.holds) return false;
    slot.holds = false;
    this.#chains ??= new Map();
    const chain = (this.#chains.get(key) ?? 0) + 1;
    this.#chains.set(key, chain);
    let next = this.#lanes.leave(key);
    while (next?.gone === true) next = this.#lanes.leave(key);
    if (next === undefined) return false;
    next.holds = true;
    if (chain < longestChain) this.#before.push(next);
    else this.#chained.push(next);
    return chain < longestChain;
  }

  /** Takes out the oldest that can be dropped. */
  shift(): Slot | undefined {
    return shift(this.#arrived) ?? this.#lanes.dropHeld() ?? shift(this.#first) ?? this.#chained.pop();
  }

  get #before(): Ring<Slot> {
    this.#first ??= new Ring();
    return this.#first;
  }

  /** What is waiting, in the order in which it would be handed out. */
  *[Symbol.iterator](): Generator<Slot> {
    for (const ring of [this.#noted ?? nobody, this.#first ?? nobody, this.#chained, this.#arrived])
      for (const slot of ring) if (!slot.gone) yield slot;
    for (const slot of this.#lanes) if (!slot.gone) yield slot;
  }

  /** What is to be handed out when that has been noted. */
  get beingNoted(): Slot[] {
    return [...this.#noting, ...this.#notes].filter(({ gone }) => !gone);
  }

  /** Whether a consumer that asks gets a message now, or when what is under way has been written. */
  promises({ suspects }: MailboxConsumer, stays: (slot: Slot) => boolean): boolean {
    if (this.#noting.length > 0 || this.#notes.length > 0 || this.#chained.length > 0) return true;
    for (const slot of this.#noted ?? nobody) if (!slot.gone) return true;
    for (const slot of this.#first ?? nobody) if (!slot.gone && stays(slot)) return suspects === 0 || !slot.suspect;
    if (this.#lanes.full) return false;
    for (const slot of this.#arrived) if (!slot.gone && stays(slot)) return suspects === 0 || !slot.suspect;
    return false;
  }

  /** Lets go of what has left and that nobody has come by to pass over. */
  compact(): void {
    for (let left = this.#arrived.size; left > 0; left--) {
      const slot = this.#arrived.shift() as Slot; // left <= size
      if (!slot.gone) this.#arrived.push(slot);
    }
    this.#compactAt = compactAt(this.#arrived.size);
    this.#lanes.sift(({ gone }) => gone);
  }

  collect(): void {
    if (this.#noting.length === 0) return;
    this.#notes = this.#noting;
    this.#noting = nobody;
  }

  committed(): void {
    this.#chains = undefined;
    if (this.#chained.length > 0) {
      for (const slot of this.#chained) this.#before.push(slot);
      this.#chained = [];
    }
    if (this.#notes.length === 0) return;
    for (const slot of this.#notes) {
      if (slot.gone) continue;
      this.#noted ??= new Ring();
      this.#noted.push(slot);
    }
    this.#notes = nobody;
  }

  failed(): void {
    this.#noting = [...this.#notes, ...this.#noting];
    this.#notes = nobody;
  }

  #takeFirst(first: Ring<Slot>, consumer: MailboxConsumer, most: number): Slot | undefined {
    const noting: Slot[] = [];
    for (let room = Math.min(most, consumer.credit - consumer.held); room > 0; ) {
      const slot = first.peek();
      if (slot === undefined) break;
      if (slot.gone || this.#host.expire(slot)) {
        first.shift();
        continue;
      }
      const { suspect } = slot;
      if (!suspect && slot.parked === undefined) {
        if (noting.length > 0) break;
        return first.shift();
      }
      if (suspect && (consumer.suspects > 0 || noting.length > 0)) break;
      first.shift();
      noting.push(slot);
      room--;
      if (suspect) break;
    }
    if (noting.length > 0) this.#note(noting);
    return undefined;
  }

  #takeArrived(consumer: MailboxConsumer): Slot | undefined {
    while (!this.#lanes.full) {
      const slot = this.#arrived.peek();
      if (slot === undefined) return undefined;
      if (slot.gone || this.#host.expire(slot)) {
        this.#arrived.shift();
        continue;
      }
      if (slot.sequence > this.#host.mark) {
        this.#wanted = Math.max(this.#wanted, slot.sequence - 1 + this.#host.ahead);
        this.#host.markWanted();
        return undefined;
      }
      if (slot.suspect && consumer.suspects > 0) return undefined;
      this.#arrived.shift();
      if (!this.#enter(slot)) continue;
      if (slot.sequence > this.#last) this.#last = slot.sequence;
      if (!slot.suspect) return slot;
      this.#note([slot]);
      return undefined;
    }
    return undefined;
  }

  #note(slots: readonly Slot[]): void {
    for (const slot of slots) this.#host.note(slot);
    this.#noting = slots;
  }

  /** Takes the message's key, if it has one; or has it wait for that, or for the next commit. */
  #enter(slot: Slot): boolean {
    const { key } = slot.message;
    if (key === undefined) return true;
    slot.holds = this.#lanes.enter(slot, key);
    if (!slot.holds || (this.#chains?.get(key) ?? 0) < longestChain) return slot.holds;
    this.#chained.push(slot);
    return false;
  }
}

function shift(ring: Ring<Slot> | undefined): Slot | undefined {
  if (ring === undefined) return undefined;
  for (let slot = ring.shift(); slot !== undefined; slot = ring.shift()) if (!slot.gone) return slot;
  return undefined;
}
