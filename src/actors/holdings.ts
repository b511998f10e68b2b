import type { MailboxConsumer } from './mailbox-consumer.ts';
import type { Slot } from './slot.ts';

/** How much credit of its consumers a mark runs ahead at most. */
const longestMark = 4096;

/** The consumers of a durable mailbox, and which messages are out with whom. */
export class Holdings {
  /** Who was given a message last stands last: the others are asked first. Mostly there is one. */
  readonly #consumers: MailboxConsumer[] = [];
  /** Those that are out, in a linked list: a map costs a tenth of what a message costs in all. */
  #first: Slot | undefined;
  #last: Slot | undefined;
  #size = 0;

  /** How many consumers there are. */
  get consumers(): number {
    return this.#consumers.length;
  }

  /** Who they are. */
  get all(): Iterable<MailboxConsumer> {
    return this.#consumers;
  }

  /** How many messages are out. */
  get size(): number {
    return this.#size;
  }

  /** The messages that are out. */
  *[Symbol.iterator](): Generator<Slot> {
    for (let slot = this.#first; slot !== undefined; slot = slot.outAfter) yield slot;
  }

  /** How far what may be handed out runs ahead of what has been. */
  get ahead(): number {
    let credit = 0;
    for (const consumer of this.#consumers) credit += consumer.credit;
    return Math.min(longestMark, Math.max(1, credit));
  }

  attach(consumer: MailboxConsumer): void {
    if (!this.#consumers.includes(consumer)) this.#consumers.push(consumer);
  }

  /** A consumer is gone. @returns what it holds, the last first. */
  detach(consumer: MailboxConsumer): Slot[] {
    const place = this.#consumers.indexOf(consumer);
    if (place >= 0) this.#consumers.splice(place, 1);
    const held = [...this].filter(({ holder }) => holder === consumer);
    return held.sort((a, b) => b.sequence - a.sequence);
  }

  has(slot: Slot): boolean {
    return slot.holder !== undefined;
  }

  /** A message is handed out. */
  give(slot: Slot, consumer: MailboxConsumer): void {
    consumer.held++;
    if (slot.suspect) consumer.suspects++;
    slot.holder = consumer;
    slot.outBefore = this.#last;
    if (this.#last === undefined) this.#first = slot;
    else this.#last.outAfter = slot;
    this.#last = slot;
    this.#size++;
    if (this.#consumers.length > 1) this.#rotate(consumer);
  }

  /** It is not out any more, and not settled. @returns whether it was out. */
  withdraw(slot: Slot): boolean {
    const consumer = this.#remove(slot);
    if (consumer === undefined) return false;
    consumer.held--;
    return true;
  }

  /** It is settled: its consumer's credit is free when that is written. @returns whether it was out. */
  settle(slot: Slot): boolean {
    const consumer = this.#remove(slot);
    if (consumer === undefined) return false;
    consumer.settling++;
    return true;
  }

  /** There may be something to take. */
  ready(): void {
    // They may be given something at once, which changes their order.
    const consumers = this.#consumers.length > 1 ? [...this.#consumers] : this.#consumers;
    for (const consumer of consumers) if (consumer.held < consumer.credit) consumer.ready();
  }

  /** The mailbox is removed. */
  removed(): void {
    for (const consumer of [...this.#consumers]) consumer.removed();
  }

  collect(): void {
    for (const consumer of this.#consumers) {
      consumer.flying = consumer.settling;
      consumer.settling = 0;
    }
  }

  committed(): void {
    for (const consumer of this.#consumers) {
      consumer.held -= consumer.flying;
      consumer.flying = 0;
    }
  }

  failed(): void {
    for (const consumer of this.#consumers) {
      consumer.settling += consumer.flying;
      consumer.flying = 0;
    }
  }

  #rotate(consumer: MailboxConsumer): void {
    const place = this.#consumers.indexOf(consumer);
    if (place < 0) return;
    this.#consumers.splice(place, 1);
    this.#consumers.push(consumer);
  }

  #remove(slot: Slot): MailboxConsumer | undefined {
    const consumer = slot.holder;
    if (consumer === undefined) return undefined;
    const { outBefore: before, outAfter: after } = slot;
    if (before === undefined) this.#first = after;
    else before.outAfter = after;
    if (after === undefined) this.#last = before;
    else after.outBefore = before;
    slot.holder = slot.outBefore = slot.outAfter = undefined;
    this.#size--;
    if (slot.suspect) consumer.suspects--;
    return consumer;
  }
}
