import { deferred, isThenable } from '../core/async.ts';
import type { Clock, Timer } from '../core/clock.ts';
import { Deadlines } from '../core/deadlines.ts';
import { BusError, toError } from '../core/errors.ts';
import type { DropReason } from '../core/events.ts';
import { IdleWaiters } from '../core/idle.ts';
import { Lifecycle, type SubscriptionState, subscriptionTransitions } from '../core/lifecycle.ts';
import type { Logger } from '../core/log.ts';
import type { Message } from '../core/message.ts';
import { Meter } from '../core/meter.ts';
import { decideRetry } from '../core/retry.ts';
import { Attempt, type AttemptHost } from './attempt.ts';
import { Burial, type BurialHost } from './burial.ts';
import { Delivery, type DeliveryOwner, failureRecord, type Staged, type StagedOptions } from './delivery.ts';
import { DropReport } from './drop-report.ts';
import { Mailbox, type MailboxHost, type RoomWaiter } from './mailbox.ts';
import type { Handler, SubscriberActor, SubscriberOptions, SubscriptionStats } from './subscriber-options.ts';

/**
 * When a turn ends although messages wait, so that others get theirs: after so many milliseconds, looked at once every so
 * many messages, because reading the clock costs as much as handling one.
 */
const turn = { time: 4, look: 256 };
/** How many handlers that take their time may follow one another without a turn in between. */
const longestBurst = 512;

/** The one consumer of a memory mailbox: takes messages, hands them to the handler, and settles them. */
export class Subscriber implements DeliveryOwner, MailboxHost, AttemptHost, BurialHost {
  readonly name: string;
  readonly mailboxId: string;
  readonly incarnation: string;
  readonly log: Logger;
  readonly clock: Clock;
  readonly mailbox: Mailbox;
  readonly options: SubscriberOptions;
  readonly #handler: Handler;
  readonly #concurrency: number;
  readonly #deadlines: Deadlines;
  readonly #extended = new Set<Attempt>();
  readonly #lifecycle: Lifecycle<SubscriptionState>;
  readonly #meter = new Meter();
  readonly #burial: Burial;
  readonly #dropReport: DropReport;
  readonly #idle: IdleWaiters;
  readonly #closed = deferred<void>();
  #closeTimer: Timer | undefined;
  #closeBy = Number.POSITIVE_INFINITY;
  #actor: SubscriberActor | undefined;
  #sequence = 0;
  #awake = false;
  #burst = 0;
  #running = 0;
  #abandoned = 0;
  #handled = 0;
  #failed = 0;
  #refused = 0;

  constructor(options: SubscriberOptions) {
    this.options = options;
    this.name = options.name;
    this.mailboxId = options.mailboxId;
    this.incarnation = options.incarnation;
    this.log = options.log;
    this.clock = options.clock;
    this.mailbox = new Mailbox(this, options.limits);
    this.#handler = options.handler;
    this.#concurrency = options.concurrency;
    this.#deadlines = new Deadlines(options.clock, options.timeout);
    this.#idle = new IdleWaiters(options.clock);
    this.#burial = new Burial(this);
    this.#dropReport = new DropReport(options);
    this.#lifecycle = new Lifecycle(`subscription '${options.name}'`, subscriptionTransitions, 'active');
  }

  get state(): SubscriptionState {
    return this.#lifecycle.state;
  }

  attach(actor: SubscriberActor): void {
    this.#actor = actor;
    this.#awake = false;
    this.ready();
  }

  /** Offers a message to the mailbox. */
  offer(message: Message): 'accepted' | 'full' | 'closed' {
    const outcome = this.mailbox.offer(new Delivery(message, this, ++this.#sequence, 1, undefined));
    if (outcome === 'full' && this.options.limits.overflow === 'reject') this.#refused++;
    return outcome;
  }

  /** Takes a message back that was given up; never at the price of another one, whatever the policy. */
  replay(message: Message): 'accepted' | 'full' | 'closed' {
    if (this.state === 'closing' || this.state === 'closed') return 'closed';
    return this.mailbox.fits(message.size) ? this.offer(message) : 'full';
  }

  /** Puts a message in for which `wait` has found room. */
  admit(message: Message): void {
    this.mailbox.force(new Delivery(message, this, ++this.#sequence, 1, undefined));
  }

  /** Waits for room. @returns false when too many wait already. */
  wait(waiter: RoomWaiter): boolean {
    if (this.mailbox.wait(waiter)) return true;
    this.#refused++;
    return false;
  }

  /** Counts a message that was given up while it waited for room. */
  refuse(): void {
    this.#refused++;
  }

  ready(): void {
    if (this.#awake || this.#running >= this.#concurrency || this.state !== 'active') return;
    this.#awake = this.#actor?.wake() === true;
  }

  dropped(_delivery: Delivery | undefined, reason: DropReason, count = 1): void {
    this.#dropReport.add(reason, count);
  }

  /** A turn of its actor. */
  turn(): void {
    this.#awake = false;
    this.#burst = 0;
    this.#pump(turn.look, this.clock.monotonic() + turn.time);
    this.#measure();
  }

  /** Hands out up to `count` messages, and as many again until the time is up. */
  #pump(count: number, until: number): void {
    for (let left = count; this.#running < this.#concurrency && this.#lifecycle.state === 'active'; left--) {
      if (left === 0) {
        if (this.clock.monotonic() >= until) {
          if (this.mailbox.ready) this.ready();
          return;
        }
        left = turn.look;
      }
      const delivery = this.mailbox.take();
      if (delivery === undefined) return;
      this.#run(delivery);
    }
  }

  #run(delivery: Delivery): void {
    delivery.begin();
    this.#running++;
    let result: unknown;
    let pending: boolean;
    try {
      result = this.#handler(delivery.message, delivery);
      pending = isThenable(result);
    } catch (error) {
      delivery.nack(error);
      return;
    }
    if (pending) this.#follow(delivery, result as PromiseLike<unknown>).catch(this.#fault);
    else delivery.ack();
  }

  async #follow(delivery: Delivery, result: PromiseLike<unknown>): Promise<void> {
    // A handler that has called term() is settled before it returns; what it still does is waited for, not watched.
    if (delivery.state === 'running') this.#watch(delivery);
    try {
      await result;
      delivery.ack();
    } catch (error) {
      delivery.nack(error);
    }
    if (delivery.state === 'timedOut') this.#abandoned--;
    this.#next();
  }

  /** Goes on at once after a handler that took its time, but lets others run now and then. */
  #next(): void {
    if (this.#running >= this.#concurrency || !this.mailbox.ready) return;
    if (++this.#burst < longestBurst) this.#pump(1, 0);
    else this.ready();
  }

  readonly #fault = (error: unknown): void => this.#actor?.fault(error);

  #watch(delivery: Delivery): void {
    const attempt = new Attempt(this, delivery);
    delivery.running = attempt;
    this.#deadlines.add(attempt);
  }

  acked(delivery: Delivery): void {
    if (delivery.staged === undefined) {
      this.#release(delivery);
      this.#handled++;
      if (delivery.message.key !== undefined) this.mailbox.settled(delivery.message);
      if (this.#idle.size > 0 || this.#closeTimer !== undefined) this.checkIdle();
    } else {
      if (delivery.running === undefined) this.#watch(delivery);
      this.#confirm(delivery, delivery.staged).catch(this.#fault);
    }
  }

  async #confirm(delivery: Delivery, staged: readonly Staged[]): Promise<void> {
    try {
      await this.options.publishStaged(staged);
    } catch (error) {
      delivery.refuseStaged(error);
      this.#next();
      return;
    }
    if (delivery.confirmStaged()) {
      delivery.staged = undefined;
      this.acked(delivery);
    }
    this.#next();
  }

  failed(delivery: Delivery, thrown: unknown): void {
    this.#release(delivery);
    this.#failed++;
    const error = toError(thrown);
    const { retry, events, clock } = this.options;
    const permanent = delivery.state === 'termed' || delivery.message.undecodable;
    const decision = decideRetry(retry, delivery.attempt, permanent, clock.random());
    if (decision.action === 'dead') {
      this.#burial.bury(delivery, delivery.message.undecodable ? 'payload' : decision.reason, error);
    } else if (this.state === 'closing' || this.state === 'closed') {
      this.dropped(delivery, 'closed');
    } else {
      const history = delivery.history ?? { firstError: failureRecord(error, clock.now()) };
      const { message, attempt, sequence } = delivery;
      this.mailbox.park(new Delivery(message, this, sequence, attempt + 1, history), decision.delay);
      const { id, topic } = message;
      const { delay } = decision;
      events.emit({ type: 'message.retried', subscription: this.name, id, topic, attempt, delay, error });
    }
    if (this.#idle.size > 0 || this.#closeTimer !== undefined) this.checkIdle();
  }

  extended(delivery: Delivery, ms: number): void {
    const attempt = delivery.running as Attempt | undefined;
    if (attempt === undefined) this.clock.immediate(() => delivery.state === 'running' && this.extended(delivery, ms));
    else attempt.extend(ms);
  }

  track(attempt: Attempt, extended: boolean): void {
    if (extended) this.#extended.add(attempt);
    else this.#extended.delete(attempt);
  }

  /** The attempt's time is up: it counts as failed, and what it does from now on is ignored. */
  timedOut(delivery: Delivery): void {
    const returned = delivery.state === 'confirming';
    if (!delivery.cut('timedOut')) return;
    const { id, topic } = delivery.message;
    const text = `attempt ${delivery.attempt} of ${id} on '${topic}' took longer than ${this.options.timeout} ms`;
    this.failed(delivery, new BusError('TIMEOUT', text));
    if (!returned) {
      this.#abandoned++;
      this.#actor?.replace('a handler did not return in time');
    }
    this.#next();
  }

  #release(delivery: Delivery): void {
    this.#running--;
    const attempt = delivery.running as Attempt | undefined;
    if (attempt !== undefined) {
      delivery.running = undefined;
      attempt.end();
    }
  }

  /** Resolves when it has closed. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** Hands out no more; what is running goes on. */
  pause(): void {
    this.#burial.leavePaused();
    this.pauseFor('pause() was called');
  }

  /** Pauses for a reason that is told in an event. @returns whether it was not paused before. */
  pauseFor(reason: string): boolean {
    if (this.#lifecycle.state !== 'active') return false;
    this.#lifecycle.to('paused');
    this.options.events.emit({ type: 'subscription.paused', subscription: this.name, reason });
    return true;
  }

  /** Goes on after a pause or a quarantine. */
  resume(): void {
    if (!this.#lifecycle.allows('active')) return;
    if (this.state === 'quarantined') this.#actor?.revive().catch(this.#fault);
    this.#lifecycle.to('active');
    this.#awake = false;
    if (this.mailbox.ready) this.ready();
  }

  /** The supervisor has given up on the actor: hands out no more until somebody resumes it. */
  quarantine(error: unknown): void {
    if (!this.#lifecycle.allows('quarantined')) return;
    this.#lifecycle.to('quarantined');
    const reason = toError(error).message;
    this.options.events.emit({ type: 'subscription.quarantined', subscription: this.name, reason });
  }

  /** Resolves when nothing waits, runs or waits to be buried. @throws {BusError} `TIMEOUT` after `timeout` ms. */
  async drain(timeout: number): Promise<void> {
    if (this.#isIdle()) return;
    await this.#idle.wait(timeout, () => {
      const { waiting, running } = this.stats();
      const hint = this.state === 'active' ? '' : `; it is ${this.state}`;
      return `'${this.name}' was not empty after ${timeout} ms: ${waiting} wait, ${running} run${hint}`;
    });
  }

  /**
   * Takes no more, gives running handlers `timeout` ms, aborts those that are left and counts what was not handled. When it
   * is closing already, the shorter of the two times counts.
   */
  close(timeout: number): Promise<void> {
    if (this.#lifecycle.allows('closing')) this.#beginClosing();
    if (this.state === 'closing') {
      if (timeout <= 0 || this.#isIdle()) this.#endClosing();
      else this.#limitClosing(timeout);
    }
    return this.closed;
  }

  #beginClosing(): void {
    this.#lifecycle.to('closing');
    const left = this.mailbox.close();
    for (const delivery of left) delivery.drop();
    if (left.length > 0) this.dropped(undefined, 'closed', left.length);
    const condemned = this.#burial.close();
    if (condemned > 0) this.dropped(undefined, 'dead-letters-full', condemned);
  }

  #limitClosing(timeout: number): void {
    const due = this.clock.monotonic() + timeout;
    if (due >= this.#closeBy) return;
    this.#closeBy = due;
    this.#closeTimer?.cancel();
    this.#closeTimer = this.clock.timer(timeout, () => this.#endClosing());
  }

  #endClosing(): void {
    this.#closeTimer?.cancel();
    for (const attempt of [...this.#deadlines, ...this.#extended] as Attempt[]) {
      if (!attempt.delivery.cut('returned')) continue;
      this.#release(attempt.delivery);
      this.dropped(attempt.delivery, 'closed');
    }
    this.#deadlines.clear();
    this.#lifecycle.to('closed');
    this.#idle.release();
    this.#dropReport.flush();
    this.#closed.resolve();
  }

  stats(): SubscriptionStats {
    this.#measure();
    return {
      waiting: this.mailbox.waiting + this.#burial.condemned,
      bytes: this.mailbox.bytes,
      running: this.#running,
      abandoned: this.#abandoned,
      handled: this.#handled,
      failed: this.#failed,
      dead: this.#burial.buried,
      dropped: this.#dropReport.total,
      refused: this.#refused,
      rate: this.#meter.rate(this.clock.monotonic()),
    };
  }

  #measure(): void {
    this.#meter.mark(this.#handled - this.#meter.total, this.clock.monotonic());
  }

  #isIdle(): boolean {
    return this.mailbox.waiting === 0 && this.#running === 0 && this.#burial.pending === 0;
  }

  /** Something has ended: those who wait for the subscription to be empty may be told. */
  checkIdle(): void {
    if (!this.#isIdle()) return;
    this.#idle.release();
    if (this.state === 'closing') this.#endClosing();
  }

  prepare(topic: string, payload: unknown, options?: StagedOptions): Staged {
    return this.options.prepare(topic, payload, options);
  }
}
