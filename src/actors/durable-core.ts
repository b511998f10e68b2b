import type { Clock } from '../core/clock.ts';
import type { BusError } from '../core/errors.ts';
import type { DropReason, EventHub, ExpiryReason } from '../core/events.ts';
import { IdleWaiters } from '../core/idle.ts';
import type { Logger } from '../core/log.ts';
import type { Message } from '../core/message.ts';
import type { Batch, Commits } from '../storage/commits.ts';
import { Journal } from '../storage/journal.ts';
import type { JournalHost } from '../storage/journal-host.ts';
import type { JournalState } from '../storage/journal-state.ts';
import type { Segment } from '../storage/loaded.ts';
import type { Gap, Recovered } from '../storage/recovery.ts';
import type { Store } from '../storage/store.ts';
import { Attempts } from './attempts.ts';
import type { DeadLetters } from './dead-letters.ts';
import type { History } from './delivery.ts';
import { DeliveryQueue, type DeliveryQueueHost } from './delivery-queue.ts';
import { DurableBurial, type DurableBurialHost } from './durable-burial.ts';
import { Holdings } from './holdings.ts';
import { Intake, type IntakeHost } from './intake.ts';
import { Latest } from './latest.ts';
import type { MailboxPolicy } from './mailbox-policy.ts';
import { Moves } from './moves.ts';
import { Parking, type ParkingHost } from './parking.ts';
import { Readers } from './readers.ts';
import { Slot } from './slot.ts';
import type { Sweep } from './sweep.ts';
import { Tally } from './tally.ts';

/** What a durable mailbox is told at its start. */
export interface DurableMailboxOptions {
  readonly id: string;
  /** The full name, `<service>/<name>`. */
  readonly name: string;
  readonly node: string;
  readonly policy: MailboxPolicy;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: EventHub;
  readonly commits: Commits;
  readonly deadLetters: DeadLetters;
}

type Hosts = JournalHost & ParkingHost & IntakeHost & DeliveryQueueHost & DurableBurialHost;

/**
 * The inside of a durable mailbox: how a message goes from one place to the next, from the journal to the queue, out to a
 * consumer, into the parking place, among the dead letters, and away; and that all of it is written.
 */
export abstract class DurableCore implements Hosts {
  readonly id: string;
  readonly name: string;
  readonly clock: Clock;
  readonly keepsIds = true;
  readonly moves = new Moves();
  readonly options: DurableMailboxOptions;
  readonly journal: Journal;
  readonly tally: Tally;
  readonly parking: Parking;
  policy: MailboxPolicy;
  protected readonly intake: Intake;
  protected readonly queue = new DeliveryQueue(this);
  protected readonly out = new Holdings();
  protected readonly attempts: Attempts;
  protected readonly burial = new DurableBurial(this);
  protected readonly readers = new Readers();
  protected readonly idlers: IdleWaiters;
  readonly #latest = new Latest();
  /** The highest sequence that has been shown as a fresh one. */
  protected seen: number;
  /** Judges what comes into memory. */
  protected sweeper: Sweep | undefined;

  constructor(options: DurableMailboxOptions, recovered: Recovered) {
    const { id, name, clock, commits, policy } = options;
    const { state } = recovered;
    this.options = options;
    this.id = id;
    this.name = name;
    this.clock = clock;
    this.policy = policy;
    this.seen = state.seen;
    this.idlers = new IdleWaiters(clock);
    this.attempts = new Attempts(state);
    this.tally = new Tally(options);
    this.journal = new Journal(id, commits, this, recovered);
    this.parking = new Parking(this, state.parked);
    this.intake = new Intake(this, state.admitted);
  }

  abstract get closed(): boolean;
  /** How much of it is in memory at most. */
  abstract get window(): { readonly messages: number; readonly bytes: number };

  get limits(): MailboxPolicy['limits'] {
    return this.policy.limits;
  }

  get sync(): boolean {
    return this.policy.durability === 'fsync';
  }

  /** How many messages wait or run, and their bytes. */
  get size(): number {
    return this.journal.waiting + this.parking.count;
  }

  get bytes(): number {
    return this.journal.bytes + this.parking.bytes;
  }

  get idle(): boolean {
    return this.size === 0 && !this.journal.busy && this.moves.empty;
  }

  get engaged(): number {
    return this.out.size + this.queue.held;
  }

  /** Why a message is not to be kept any longer; undefined when it is. */
  expiredWhy({ message, storedAt }: Slot): 'expired' | 'age' | undefined {
    const { age } = this.limits;
    if (message.expiresAt === 0 && age === Number.POSITIVE_INFINITY) return undefined;
    const now = this.clock.now();
    if (message.expiresAt !== 0 && message.expiresAt <= now) return 'expired';
    return storedAt + age <= now ? 'age' : undefined;
  }

  /** Resolves when everything until now is written, or cannot be. */
  written(): Promise<void> {
    return this.options.commits.flushed();
  }

  // Journal

  arrived(message: Message, sequence: number, segment: Segment): void {
    const before = this.attempts.before(sequence, message.key);
    const slot = new Slot(message, sequence, segment, 1 + (before ?? 0), undefined, before !== undefined);
    if (this.attempts.resume(slot)) this.journal.touchState();
    if (this.spent(slot)) {
      this.burial.condemn(slot);
      return;
    }
    if (message.dueAt !== 0 && message.dueAt > this.clock.now()) {
      this.park(slot, slot.attempt, message.dueAt);
    } else {
      this.#supersede(slot);
      this.queue.arrive(slot);
    }
    this.shown(slot, this.sweeper);
  }

  settledIn(): void {
    this.intake.trim();
    if (this.queue.hasMore) this.ready();
    this.readers.release();
  }

  wantedMark(tail: number): number {
    if (this.out.consumers === 0 || this.closed) return 0;
    return Math.min(tail, this.queue.wantedMark);
  }

  state(): Pick<JournalState, 'cut' | 'started' | 'parked' | 'admitted' | 'seen'> {
    const { count, bytes } = this.parking;
    const { admitted } = this.intake;
    return { ...this.attempts.state(), parked: { count, bytes }, admitted, seen: this.seen };
  }

  collect(batch: Batch): void {
    this.moves.collect(batch);
    this.queue.collect();
    this.out.collect();
  }

  committed(): void {
    this.moves.committed();
    this.queue.committed();
    this.out.committed();
    this.intake.admit();
    if (this.queue.hasMore) this.ready();
    if (this.idlers.size > 0) this.checkIdle();
  }

  failed(_error: BusError): void {
    this.moves.failed();
    this.queue.failed();
    this.readers.release();
    this.out.failed();
  }

  gap({ from, to, count, reason }: Gap): void {
    this.tally.lost += count;
    if (count > 0) this.attempts.forgetAll(from, to);
    this.options.events.emit({ type: 'store.gap', subscription: this.name, from, to, count, reason });
    if (this.idlers.size > 0) this.checkIdle();
  }

  unreadable(error: Error): void {
    this.options.log.error({ err: error }, 'messages on disk cannot be read');
    this.readers.release(error);
  }

  // Intake

  dropOldest(written: boolean): boolean {
    const victim = this.queue.shift() ?? this.parking.shift();
    if (victim !== undefined) {
      this.discard(victim, 'drop-oldest');
      return true;
    }
    const message = written ? undefined : this.journal.takeBack();
    if (message === undefined) return false;
    this.count({ message, attempt: 1, history: undefined }, 'drop-oldest');
    return true;
  }

  // Queue

  get mark(): number {
    return this.journal.mark;
  }

  get ahead(): number {
    return this.out.ahead;
  }

  markWanted(): void {
    this.journal.touch();
  }

  note(slot: Slot): void {
    this.attempts.start(slot);
    this.journal.touchState();
  }

  expire(slot: Slot): boolean {
    const why = this.expiredWhy(slot);
    if (why === undefined) return false;
    this.discard(slot, why);
    return true;
  }

  // Burial

  buried(slot: Slot): void {
    if (!this.settle(slot)) this.drop(slot);
  }

  withdrawn(slot: Slot): void {
    this.out.withdraw(slot);
  }

  resumed(): void {
    this.ready();
  }

  // Parking

  store(): Store {
    return this.options.commits.store;
  }

  touch(): void {
    this.journal.touchState();
  }

  found(slot: Slot): void {
    if (this.attempts.found(slot)) this.journal.touchState();
    if (slot.attempt > 1) this.queue.hold(slot);
    this.shown(slot, this.sweeper);
  }

  due(slot: Slot): void {
    if (this.spent(slot)) {
      this.burial.condemn(slot);
      return;
    }
    this.queue.due(slot);
    this.ready();
  }

  lost(count: number, reason: string): void {
    this.gap({ from: 0, to: 0, count, bytes: 0, reason });
    this.journal.touchState();
  }

  /** A message leaves by a policy: it becomes a dead letter when that is asked for. */
  protected discard(slot: Slot, reason: DropReason | ExpiryReason): void {
    this.count(slot, reason);
    this.drop(slot);
  }

  protected count(
    slot: { message: Message; attempt: number; history: History | undefined },
    reason: DropReason | ExpiryReason,
  ): void {
    const buries = reason === 'drop-oldest' || reason === 'expired' || reason === 'age';
    if (buries && this.limits.deadLetters && !this.burial.record(slot, reason)) this.tally.unburied++;
    this.tally.drop(reason, 1);
  }

  /** A message that is in memory and not out is shown to a sweep. */
  protected shown(slot: Slot, sweep: Sweep | undefined): void {
    if (sweep === undefined || slot.sequence > sweep.to) return;
    const goes = sweep.judge(slot);
    if (goes === undefined || goes.gone || this.out.has(goes)) return;
    sweep.count++;
    this.discard(goes, sweep.reason(goes));
  }

  #supersede(slot: Slot): void {
    if (this.policy.latestOnly === false) return;
    const older = this.#latest.replace(slot, this.policy.latestOnly);
    if (older !== undefined && !this.out.has(older)) this.discard(older, 'superseded');
  }

  /** A message that is not out leaves. */
  protected drop(slot: Slot): void {
    slot.gone = true;
    this.#leave(slot);
  }

  /** The message is settled and its place free. */
  protected settle(slot: Slot): boolean {
    if (!this.out.settle(slot)) return false;
    slot.gone = true;
    this.#leave(slot);
    return true;
  }

  #leave(slot: Slot): void {
    if (slot.parked === undefined) this.journal.leave(slot);
    else this.parking.leave(slot);
    this.attempts.forget(slot.sequence);
    if (this.policy.latestOnly !== false) this.#latest.left(slot, this.policy.latestOnly);
    this.intake.admit();
    if (this.queue.free(slot)) this.ready();
  }

  protected park(slot: Slot, attempt: number, due: number): void {
    if (slot.parked === undefined) this.journal.leave(slot);
    this.attempts.forget(slot.sequence);
    slot.attempt = attempt;
    slot.due = Math.ceil(due); // part of a key: keys sort as whole numbers do
    this.parking.park(slot);
  }

  /** Whether a message has killed its process, or lost its consumer, as often as it may. What may be innocent goes on. */
  protected spent({ worn, attempt }: Slot): boolean {
    return worn && attempt > this.policy.retry.attempts;
  }

  protected age(slot: Slot): void {
    this.attempts.age(slot);
    this.journal.touchState();
  }

  ready(): void {
    this.out.ready();
  }

  protected checkIdle(): void {
    if (this.idle) this.idlers.release();
  }
}
