import { BusError } from '../core/errors.ts';
import type { DropReason, ExpiryReason } from '../core/events.ts';
import type { Message } from '../core/message.ts';
import { decideRetry } from '../core/retry.ts';
import type { Commitment } from '../storage/commits.ts';
import { Brake, type BrakeHost } from './brake.ts';
import { type FailureKind, failureRecord } from './delivery.ts';
import { DurableCore } from './durable-core.ts';
import { type Fence, Fences } from './fences.ts';
import type { Offered } from './intake.ts';
import type { MailboxConsumer } from './mailbox-consumer.ts';
import type { MailboxPolicy } from './mailbox-policy.ts';
import type { RoomHost, RoomWaiter } from './room.ts';
import type { Slot } from './slot.ts';
import { type Sweep, type SweepHost, superseding, sweepMailbox } from './sweep.ts';

export type { DurableMailboxOptions } from './durable-core.ts';
export type { Offered } from './intake.ts';

/** How much of a mailbox is in memory at most. */
const window = { messages: 10_000, bytes: 8 * 1024 * 1024 };
/** How long something under way may keep who asks whether there is more, in milliseconds. */
const patience = 5000;
const everything = { messages: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY };

/** The mailbox of a durable subscription, on its home. */
export class DurableMailbox extends DurableCore implements RoomHost, SweepHost, BrakeHost {
  #sweeping: Promise<unknown> = Promise.resolve();
  readonly #fences = new Fences();
  readonly fleeting = false;
  readonly #brake = new Brake(this, this.policy.outage, this.policy.retry);
  #closed = false;

  /** Brings the first messages into memory. */
  async open(): Promise<void> {
    await this.parking.open();
    this.journal.start();
  }

  /** Other options from now on; what is stored stays. */
  setPolicy(policy: MailboxPolicy): void {
    const { outage, retry } = this.policy;
    this.policy = policy;
    if (policy.outage !== outage || policy.retry !== retry) this.#brake.changed(policy.outage, policy.retry);
    this.intake.changed();
    this.ready();
  }

  get window(): { readonly messages: number; readonly bytes: number } {
    return this.policy.latestOnly === false ? window : everything;
  }

  /** How many run. */
  get running(): number {
    return this.out.size;
  }

  get parked(): number {
    return this.parking.count;
  }

  get consumers(): number {
    return this.out.consumers;
  }

  /** Whether it hands out single messages only, because everything fails. */
  get probing(): boolean {
    return this.#brake.probing;
  }

  get closed(): boolean {
    return this.#closed;
  }

  // In

  fits(size: number): boolean {
    return this.intake.fits(size);
  }

  get roomy(): boolean {
    return this.intake.roomy;
  }

  /** Whether a message would be taken now. */
  hasRoom(size: number): boolean {
    return this.intake.hasRoom(size);
  }

  /** How many messages may enter at once, for publishers on other nodes. */
  get room(): number {
    return this.intake.room;
  }

  /**
   * Offers a message. `accepted` says that the commitment will hear of it; of the others it hears nothing.
   *
   * @param origin whose stream it came in, and as which number: they are used up with it.
   * @param again whether a message that was numbered may have come before, under another number of another stream.
   */
  offer(message: Message, commitment: Commitment | undefined, origin?: string, number = 0, again = false): Offered {
    return this.intake.offer(message, commitment, origin, number, again);
  }

  /** Takes a message in although it is full: somebody has been promised the place. */
  force(message: Message, commitment: Commitment | undefined, origin?: string, number = 0): void {
    this.intake.force(message, commitment, origin, number);
  }

  wait(waiter: RoomWaiter): boolean {
    return this.intake.wait(waiter);
  }

  stopWaiting(waiter: RoomWaiter): void {
    this.intake.stopWaiting(waiter);
  }

  // Out

  /** @throws {BusError} `ABORTED` when somebody newer has its place. */
  attach(consumer: MailboxConsumer): void {
    const { fence } = consumer;
    if (fence !== undefined) {
      this.admit(fence);
      this.fence(fence);
    }
    this.out.attach(consumer);
    this.journal.touch();
    consumer.ready();
  }

  /** @throws {BusError} `ABORTED` when somebody newer has the place. */
  admit(fence: Fence): void {
    this.#fences.admit(this.name, fence);
  }

  /** Consumers of this place that are older have lost it, with all that they hold. */
  fence(fence: Fence): void {
    for (const older of this.#fences.raise(fence, this.out.all)) older.revoked();
  }

  /** A consumer is gone: what it holds comes back in its place, with the attempt counted. */
  detach(consumer: MailboxConsumer): void {
    for (const slot of this.out.detach(consumer)) this.giveBack(slot, true);
  }

  /** Whether `take` may have something. */
  get hasMore(): boolean {
    return this.queue.hasMore && this.#brake.open;
  }

  /** The next message that a consumer may have. */
  take(consumer: MailboxConsumer): Slot | undefined {
    if (consumer.held >= consumer.credit || this.burial.blocked || this.#closed) return undefined;
    const { probing } = this.#brake;
    if (probing && !this.#brake.open) return undefined;
    const slot = probing ? this.queue.take(consumer, 1, this.#brake.fresh) : this.queue.take(consumer);
    if (slot === undefined) return undefined;
    if (probing) this.#brake.took(slot.sequence);
    this.out.give(slot, consumer);
    return slot;
  }

  /** Whether a message is out: it can be settled. */
  holds(slot: Slot): boolean {
    return this.out.has(slot);
  }

  /** A message was handled. @returns false when it is not out any more: the settlement comes too late. */
  ack(slot: Slot, handled = true): boolean {
    if (!this.settle(slot)) return false;
    if (!handled) this.#brake.released(slot.sequence);
    else {
      this.tally.handled++;
      if (this.#brake.stirred) this.#brake.succeeded();
    }
    return true;
  }

  /** An attempt failed: the message waits for the next one, or is given up. @returns as `ack`. */
  fail(slot: Slot, error: Error, kind: FailureKind): boolean {
    if (!this.out.has(slot)) return false;
    this.tally.failed++;
    const { clock } = this;
    const permanent = kind !== 'error';
    if (permanent) this.#brake.released(slot.sequence);
    const counts = permanent || this.#brake.failed(slot.sequence);
    const decision = counts ? decideRetry(this.policy.retry, slot.attempt, permanent, clock.random()) : undefined;
    slot.history ??= { firstError: failureRecord(error, clock.now()) };
    if (decision?.action === 'dead') this.burial.bury(slot, kind === 'error' ? decision.reason : kind, error);
    else this.#tryAgain(slot, error, decision?.delay);
    return true;
  }

  /** @param wait until its next attempt; undefined for the same one once more, when it is its turn. */
  #tryAgain(slot: Slot, error: Error, wait: number | undefined): void {
    const { attempt, message } = slot;
    this.withdrawn(slot);
    slot.suspect = slot.worn = false; // it has come to an end, and no process with it
    if (wait === undefined) {
      if (this.attempts.stop(slot.sequence)) this.journal.touchState();
      this.queue.behind(slot);
      this.ready();
    } else {
      this.park(slot, attempt + 1, this.clock.now() + wait);
    }
    const { id, topic } = message;
    const delay = wait ?? this.#brake.wait;
    const { events } = this.options;
    events.emit({ type: 'message.retried', subscription: this.name, id, topic, attempt, delay, error });
  }

  /** A message comes back in its place without having been judged. @param cut whether the attempt counts. */
  giveBack(slot: Slot, cut: boolean): boolean {
    if (!this.out.has(slot)) return false;
    this.withdrawn(slot);
    if (this.#closed) return true; // close() has noted what was out
    this.#brake.released(slot.sequence);
    if (cut) this.age(slot);
    if (this.spent(slot)) {
      this.burial.condemn(slot);
      return true;
    }
    this.attempts.stop(slot.sequence);
    this.queue.back(slot);
    this.ready();
    return true;
  }

  /** What is waiting and in memory, in the order in which it would be handed out. */
  peek(): Iterable<Slot> {
    return this.queue;
  }

  /** The first message that waits, without taking it, and whether it has not been shown before. */
  front(newest = false): { slot: Slot; fresh: boolean } | undefined {
    let found: Slot | undefined;
    for (const slot of this.queue) {
      if (this.expiredWhy(slot) !== undefined) continue;
      if (found === undefined || (newest && slot.sequence > found.sequence)) found = slot;
      if (!newest) break;
    }
    if (found === undefined) return undefined;
    const fresh = found.sequence > this.seen;
    if (fresh) {
      this.seen = found.sequence;
      this.journal.touchState();
    }
    return { slot: found, fresh };
  }

  /** Removes what `unwanted` names of all that is in memory and not out. @returns how many. */
  remove(unwanted: (slot: Slot) => boolean): number {
    let count = 0;
    for (const slot of [...this.queue]) {
      if (slot.gone || !unwanted(slot)) continue;
      this.drop(slot);
      count++;
    }
    if (count > 0) this.checkIdle();
    return count;
  }

  /**
   * Whether a consumer that asks may get a message without anything happening that is not under way: a turn, a commit or
   * a read.
   */
  promises(consumer: MailboxConsumer): boolean {
    if (this.burial.blocked || this.#closed || this.options.commits.error !== undefined) return false;
    if (!this.#brake.open) return false;
    const { held, settling, flying, credit } = consumer;
    if (held - settling - flying >= credit) return false;
    if (this.journal.reading) return true;
    return this.queue.promises(consumer, (slot) => this.expiredWhy(slot) === undefined);
  }

  /** Resolves when `promises` is false, or whoever waits does so no longer. */
  async exhausted(consumer: MailboxConsumer, waits: () => boolean): Promise<void> {
    const { clock, journal } = this;
    const end = clock.monotonic() + patience;
    while (waits() && this.promises(consumer) && clock.monotonic() < end) {
      await journal.commits.flushed();
      await new Promise<void>((done) => clock.immediate(done));
    }
  }

  /** Leaves only the newest of what is in memory and not out. */
  supersede(): void {
    if (this.queue.hasMore) this.judge(Object.assign(superseding(this.clock), { to: Number.POSITIVE_INFINITY }));
  }

  /** Resolves when more has been read. @throws {BusError} when the mailbox closes or cannot be read. */
  async read(): Promise<void> {
    const { error } = this.options.commits;
    if (error !== undefined || this.#closed) throw error ?? new BusError('CLOSED', `'${this.name}' is closed`);
    this.journal.start();
    try {
      await this.readers.wait();
    } catch (cause) {
      throw new BusError('STORE_FAILED', `'${this.name}' cannot be read`, { cause });
    }
  }

  /**
   * Removes what a sweep names of everything that is not out, in memory and on disk. One at a time.
   *
   * @returns how many, when that is written.
   * @throws {BusError} when the store fails: what was removed until then stays removed, or is when the store is back.
   */
  sweep(sweep: Sweep): Promise<number> {
    const run = this.#sweeping.then(() =>
      sweepMailbox(this, sweep, (current) => {
        this.sweeper = current;
      }),
    );
    this.#sweeping = run.catch(() => undefined);
    return run;
  }

  judge(sweep: Sweep): void {
    const before = sweep.count;
    // Retries first: what waits behind their keys is judged after it has moved up.
    const all = [...this.parking.waiting(), ...this.burial.condemned, ...this.queue.beingNoted, ...this.queue];
    for (const slot of all) this.shown(slot, sweep);
    if (sweep.count === before) return;
    this.queue.compact();
    this.burial.sift();
    this.ready();
    this.checkIdle();
  }

  discardUnread(slot: Slot, reason: DropReason | ExpiryReason): void {
    this.count(slot, reason);
    this.attempts.forget(slot.sequence);
  }

  /** What waits and is in memory, and what is to be handed out when that has been noted. */
  waiting(): Slot[] {
    return [...this.queue.beingNoted, ...this.queue];
  }

  /** Under which keys those are stored that run, and were parked before. */
  parkedOut(): string[] {
    return [...this.out].flatMap(({ parked }) => (parked === undefined ? [] : [parked]));
  }

  /** Resolves when nothing waits or runs and every settlement is written. @throws {BusError} `TIMEOUT`. */
  async drain(timeout: number): Promise<void> {
    if (this.idle) return;
    await this.idlers.wait(timeout, () => {
      const hint = this.out.consumers === 0 ? '; it has no consumer' : '';
      return `'${this.name}' was not empty after ${timeout} ms: ${this.size} wait or run${hint}`;
    });
  }

  /** Writes what is known of attempts, so that nothing ages that was never begun; and lets go of everything. */
  close(): void {
    if (this.#closed) return;
    this.attempts.close(this.out, this.queue);
    this.journal.resetMark();
    this.#closed = true;
    this.#brake.close();
    this.burial.close();
    this.parking.close();
    this.intake.close();
    this.journal.close();
    this.idlers.release();
    this.readers.release();
    this.tally.flush();
  }

  /** The subscription is removed for good. */
  abolish(): void {
    this.close();
    this.out.removed();
  }
}
