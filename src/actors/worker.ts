import { deferred } from '../core/async.ts';
import type { Clock, Timer } from '../core/clock.ts';
import { type BusError, toError } from '../core/errors.ts';
import type { EventHub } from '../core/events.ts';
import { Lifecycle, type SubscriptionState, subscriptionTransitions } from '../core/lifecycle.ts';
import type { Logger } from '../core/log.ts';
import type { Delivery, DeliveryOwner, Staged, StagedOptions } from './delivery.ts';
import { Runner, type RunnerHost, type RunnerOptions } from './runner.ts';
import type { SubscriberActor } from './subscriber-options.ts';

/** What a worker is told at its start. */
export interface WorkerOptions extends RunnerOptions {
  readonly name: string;
  readonly mailboxId: string;
  readonly incarnation: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: EventHub;
  prepare(topic: string, payload: unknown, options: StagedOptions | undefined): Staged;
}

/** Runs a handler over the messages of a mailbox, from its first to its last. */
export abstract class Worker implements DeliveryOwner, RunnerHost {
  readonly name: string;
  readonly mailboxId: string;
  readonly incarnation: string;
  readonly log: Logger;
  readonly clock: Clock;
  protected readonly runner: Runner;
  protected readonly lifecycle: Lifecycle<SubscriptionState>;
  readonly #about: WorkerOptions;
  readonly #closed = deferred<void>();
  #closeTimer: Timer | undefined;
  #closeBy = Number.POSITIVE_INFINITY;

  constructor(about: WorkerOptions) {
    this.#about = about;
    this.name = about.name;
    this.mailboxId = about.mailboxId;
    this.incarnation = about.incarnation;
    this.log = about.log;
    this.clock = about.clock;
    this.runner = new Runner(this, about);
    this.lifecycle = new Lifecycle(`subscription '${about.name}'`, subscriptionTransitions, 'active');
  }

  abstract take(): Delivery | undefined;
  abstract get hasMore(): boolean;
  abstract acked(delivery: Delivery): void;
  abstract failed(delivery: Delivery, error: unknown): void;
  /** Takes no more. */
  protected abstract stopTaking(): void;
  /** An attempt was aborted because this closes. */
  protected abstract aborted(delivery: Delivery): void;
  /** Whether nothing is left to be waited for. */
  protected abstract get idle(): boolean;
  /** It has closed. */
  protected abstract finished(): void;

  get state(): SubscriptionState {
    return this.lifecycle.state;
  }

  get active(): boolean {
    return this.lifecycle.state === 'active';
  }

  /** Resolves when it has closed. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  protected get closing(): boolean {
    return this.#closeTimer !== undefined;
  }

  attach(actor: SubscriberActor): void {
    this.runner.attach(actor);
  }

  ready(): void {
    this.runner.ready();
  }

  /** A turn of its actor. */
  turn(): void {
    this.runner.turn();
  }

  /** A handler that was cut off has returned. */
  returned(_delivery: Delivery): void {}

  extended(delivery: Delivery, ms: number): void {
    this.runner.extend(delivery, ms);
  }

  expired(delivery: Delivery, error: BusError): void {
    this.failed(delivery, error);
  }

  prepare(topic: string, payload: unknown, options?: StagedOptions): Staged {
    return this.#about.prepare(topic, payload, options);
  }

  /** Hands out no more; what is running goes on. */
  pause(): void {
    this.pauseFor('pause() was called');
  }

  /** Pauses for a reason that is told in an event. @returns whether it was not paused before. */
  pauseFor(reason: string): boolean {
    if (this.lifecycle.state !== 'active') return false;
    this.lifecycle.to('paused');
    this.#about.events.emit({ type: 'subscription.paused', subscription: this.name, reason });
    return true;
  }

  /** Goes on after a pause or a quarantine. */
  resume(): void {
    if (!this.lifecycle.allows('active')) return;
    if (this.state === 'quarantined') this.runner.revive();
    this.lifecycle.to('active');
    if (this.hasMore) this.runner.wake();
  }

  /** The supervisor has given up on the actor: hands out no more until somebody resumes it. */
  quarantine(error: unknown): void {
    if (!this.lifecycle.allows('quarantined')) return;
    this.lifecycle.to('quarantined');
    const reason = toError(error).message;
    this.#about.events.emit({ type: 'subscription.quarantined', subscription: this.name, reason });
  }

  /**
   * Takes no more, gives running handlers `timeout` ms, and aborts those that are left. When it is closing already, the
   * shorter of the two times counts.
   */
  close(timeout: number): Promise<void> {
    if (this.lifecycle.allows('closing')) {
      this.lifecycle.to('closing');
      this.stopTaking();
    }
    if (this.state === 'closing') {
      if (timeout <= 0 || this.idle) this.#end();
      else this.#limit(timeout);
    }
    return this.closed;
  }

  /** Something has ended: when it closes, that may have been the last. */
  protected checkClosing(): void {
    if (this.state === 'closing' && this.idle) this.#end();
  }

  #limit(timeout: number): void {
    const due = this.clock.monotonic() + timeout;
    if (due >= this.#closeBy) return;
    this.#closeBy = due;
    this.#closeTimer?.cancel();
    this.#closeTimer = this.clock.timer(timeout, () => this.#end());
  }

  #end(): void {
    this.#closeTimer?.cancel();
    for (const delivery of this.runner.cut()) this.aborted(delivery);
    this.runner.close();
    this.lifecycle.to('closed');
    this.finished();
    this.#closed.resolve();
  }
}
