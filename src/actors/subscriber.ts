import { BusError, toError } from '../core/errors.ts';
import type { DropReason, ExpiryReason } from '../core/events.ts';
import { IdleWaiters } from '../core/idle.ts';
import type { Message } from '../core/message.ts';
import { decideRetry } from '../core/retry.ts';
import { Brake, type BrakeHost } from './brake.ts';
import { Burial, type BurialHost } from './burial.ts';
import { Delivery, failureKind, failureRecord, NotBegun, type Staged } from './delivery.ts';
import type { FilterChain } from './filters.ts';
import { Mailbox, type MailboxHost } from './mailbox.ts';
import type { RoomWaiter } from './room.ts';
import type { SubscriberOptions, SubscriptionStats } from './subscriber-options.ts';
import { Tally } from './tally.ts';
import { Worker } from './worker.ts';

/** The one consumer of a memory mailbox: takes messages, hands them to the handler, and settles them. */
export class Subscriber extends Worker implements MailboxHost, BurialHost, BrakeHost {
  readonly mailbox: Mailbox;
  readonly options: SubscriberOptions;
  readonly fleeting = true;
  readonly #filters: FilterChain;
  readonly #tally: Tally;
  readonly #burial: Burial;
  readonly #brake: Brake;
  readonly #idle: IdleWaiters;
  #sequence = 0;
  /** When the last message was admitted, for filters by time. */
  #admitted: number | undefined;

  constructor(options: SubscriberOptions) {
    super(options);
    this.options = options;
    this.mailbox = new Mailbox(this, options.limits, options.latestOnly);
    this.#filters = options.filters;
    this.#tally = new Tally(options);
    this.#burial = new Burial(this);
    this.#brake = new Brake(this, options.outage, options.retry);
    this.#idle = new IdleWaiters(options.clock);
  }

  take(): Delivery | undefined {
    const { probing } = this.#brake;
    if (probing && !this.#brake.open) return undefined;
    for (;;) {
      const delivery = this.mailbox.take(probing && this.#brake.fresh);
      if (delivery === undefined) return undefined;
      if (this.#filters.predicates.length === 0 || this.#passes(delivery)) {
        if (probing) this.#brake.took(delivery.sequence);
        return delivery;
      }
      delivery.drop();
      this.mailbox.settled(delivery.message);
      if (this.#idle.size > 0) this.checkIdle();
    }
  }

  /** Whether a message would be accepted, if only for a filter to leave it out. */
  hasRoom(message: Message): boolean {
    return (
      this.mailbox.hasRoom(message.size, message) || (this.#filters.declarative.length > 0 && !this.#wants(message))
    );
  }

  /** Offers a message to the mailbox. */
  offer(message: Message): 'accepted' | 'full' | 'closed' {
    const filtering = this.#filters.declarative.length > 0;
    if (filtering && !this.#admits(message)) return 'accepted';
    const outcome = this.mailbox.offer(new Delivery(message, this, ++this.#sequence, 1, undefined));
    if (outcome === 'accepted') {
      if (filtering) this.#admitted = this.clock.now();
    } else if (outcome === 'full' && this.options.limits.overflow === 'reject') this.#tally.refused++;
    return outcome;
  }

  /** Takes a message back that was given up; never at the price of another one, whatever the policy. Filters have let it in. */
  replay(message: Message): 'accepted' | 'full' | 'closed' {
    if (this.state === 'closing' || this.state === 'closed') return 'closed';
    if (!this.mailbox.fits(message.size)) this.mailbox.purge();
    if (!this.mailbox.fits(message.size)) return 'full';
    return this.mailbox.offer(new Delivery(message, this, ++this.#sequence, 1, undefined));
  }

  /** Puts a message in for which `wait` has found room. */
  admit(message: Message): void {
    if (this.#filters.declarative.length > 0) {
      if (!this.#admits(message)) return;
      this.#admitted = this.clock.now();
    }
    this.mailbox.force(new Delivery(message, this, ++this.#sequence, 1, undefined));
  }

  /** Waits for room. @returns false when too many wait already. */
  wait(waiter: RoomWaiter): boolean {
    if (this.mailbox.wait(waiter)) return true;
    this.#tally.refused++;
    return false;
  }

  /** Counts a message that was given up while it waited for room. */
  refuse(): void {
    this.#tally.refused++;
  }

  get hasMore(): boolean {
    return this.mailbox.ready && this.#brake.open;
  }

  dropped(delivery: Delivery | undefined, reason: DropReason | ExpiryReason, count = 1): void {
    if (delivery !== undefined && this.options.limits.deadLetters && isLimit(reason)) {
      const error = new BusError('TIMEOUT', `it left by the limits of its mailbox: ${reason}`);
      const { message, attempt, history } = delivery;
      const condemned = { message, subscription: this.name, attempt: attempt - 1, history };
      const added = this.options.deadLetters.add(condemned, reason, error);
      if (added === false) this.#tally.unburied++;
      else added.catch(this.runner.fault);
    }
    this.#tally.drop(reason, count);
    if (this.#idle.size > 0 && (reason === 'expired' || reason === 'age')) this.checkIdle();
  }

  override turn(): void {
    super.turn();
    this.#tally.measure();
  }

  acked(delivery: Delivery): void {
    if (delivery.staged === undefined) {
      this.runner.release(delivery);
      this.#tally.handled++;
      if (this.#brake.stirred) this.#brake.succeeded();
      if (delivery.message.key !== undefined) this.mailbox.settled(delivery.message);
      if (this.#idle.size > 0 || this.closing) this.checkIdle();
    } else {
      this.runner.watch(delivery);
      this.#confirm(delivery, delivery.staged).catch(this.runner.fault);
    }
  }

  async #confirm(delivery: Delivery, staged: readonly Staged[]): Promise<void> {
    try {
      await this.options.publishStaged(staged);
    } catch (error) {
      delivery.refuseStaged(error);
      this.runner.next();
      return;
    }
    if (delivery.confirmStaged()) {
      delivery.staged = undefined;
      this.acked(delivery);
    }
    this.runner.next();
  }

  failed(delivery: Delivery, thrown: unknown): void {
    this.runner.release(delivery);
    if (thrown instanceof NotBegun) {
      this.#takeBack(delivery);
      return;
    }
    this.#tally.failed++;
    const error = toError(thrown);
    const kind = failureKind(delivery, thrown);
    const permanent = kind !== 'error';
    if (permanent) this.#brake.released(delivery.sequence);
    const counts = permanent || this.#brake.failed(delivery.sequence);
    const { retry, clock } = this.options;
    const decision = counts ? decideRetry(retry, delivery.attempt, permanent, clock.random()) : undefined;
    if (decision?.action === 'dead') {
      this.#burial.bury(delivery, kind === 'error' ? decision.reason : kind, error);
    } else if (this.state === 'closing' || this.state === 'closed') {
      this.dropped(delivery, 'closed');
    } else {
      this.#tryAgain(delivery, error, decision?.delay);
    }
    if (this.#idle.size > 0 || this.closing) this.checkIdle();
  }

  /** @param wait until its next attempt; undefined for the same one once more, when it is its turn. */
  #tryAgain(
    { message, attempt, sequence, history, arrivedAt }: Delivery,
    error: Error,
    wait: number | undefined,
  ): void {
    const { clock, events } = this.options;
    const known = history ?? { firstError: failureRecord(error, clock.now()) };
    const next = new Delivery(message, this, sequence, wait === undefined ? attempt : attempt + 1, known);
    next.arrivedAt = arrivedAt;
    const waits = wait === undefined ? this.mailbox.putBack(next, true) : this.mailbox.park(next, wait);
    if (!waits) return;
    const { id, topic } = message;
    const delay = wait ?? this.#brake.wait;
    events.emit({ type: 'message.retried', subscription: this.name, id, topic, attempt, delay, error });
  }

  /** A delivery goes back as if it had never been handed out: nobody has seen it. */
  #takeBack(delivery: Delivery): void {
    const { message, attempt, sequence, history, arrivedAt } = delivery;
    const same = new Delivery(message, this, sequence, attempt, history);
    same.arrivedAt = arrivedAt;
    this.#brake.released(sequence);
    if (this.state === 'closing' || this.state === 'closed') this.dropped(delivery, 'closed');
    else this.mailbox.putBack(same);
    if (this.#idle.size > 0 || this.closing) this.checkIdle();
  }

  override pause(): void {
    this.#burial.leavePaused();
    super.pause();
  }

  /** Resolves when nothing waits, runs or waits to be buried. @throws {BusError} `TIMEOUT` after `timeout` ms. */
  async drain(timeout: number): Promise<void> {
    if (this.idle) return;
    await this.#idle.wait(timeout, () => {
      const { waiting, running } = this.stats();
      const hint = this.state === 'active' ? '' : `; it is ${this.state}`;
      return `'${this.name}' was not empty after ${timeout} ms: ${waiting} wait, ${running} run${hint}`;
    });
  }

  stats(): SubscriptionStats {
    const { handled, failed, dropped, expired, filtered, refused, rate } = this.#tally;
    return {
      waiting: this.mailbox.waiting + this.#burial.condemned,
      bytes: this.mailbox.bytes,
      running: this.runner.running,
      abandoned: this.runner.abandoned,
      handled,
      failed,
      dead: this.#burial.buried,
      dropped,
      expired,
      filtered,
      refused,
      rate,
      probing: this.#brake.probing,
    };
  }

  /** Something has ended: those who wait for the subscription to be empty may be told. */
  checkIdle(): void {
    if (!this.idle) return;
    this.#idle.release();
    this.checkClosing();
  }

  protected get idle(): boolean {
    return this.mailbox.waiting === 0 && this.runner.running === 0 && this.#burial.pending === 0;
  }

  protected stopTaking(): void {
    this.#brake.close();
    const left = this.mailbox.close();
    for (const delivery of left) delivery.drop();
    if (left.length > 0) this.dropped(undefined, 'closed', left.length);
    const condemned = this.#burial.close();
    if (condemned > 0) this.dropped(undefined, 'dead-letters-full', condemned);
  }

  protected aborted(delivery: Delivery): void {
    this.dropped(delivery, 'closed');
  }

  protected finished(): void {
    this.#idle.release();
    this.#tally.flush();
  }

  #admits(message: Message): boolean {
    if (this.#wants(message)) return true;
    this.#tally.filtered++;
    return false;
  }

  #wants(message: Message): boolean {
    return this.#filters.admits(message.size, this.clock.now(), this.#admitted);
  }

  #passes({ message }: Delivery): boolean {
    try {
      if (this.#filters.passes(message)) return true;
      this.#tally.filtered++;
      return false;
    } catch (err) {
      // It cannot say no: the handler may find out what is wrong with the message.
      this.log.warn({ err, message: message.id }, 'a filter threw');
      return true;
    }
  }
}

function isLimit(reason: DropReason | ExpiryReason): reason is 'drop-oldest' | ExpiryReason {
  return reason === 'drop-oldest' || reason === 'expired' || reason === 'age';
}
