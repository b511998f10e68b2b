import { isThenable } from '../core/async.ts';
import type { Clock } from '../core/clock.ts';
import { Deadlines } from '../core/deadlines.ts';
import { BusError } from '../core/errors.ts';
import { Attempt, type AttemptHost } from './attempt.ts';
import type { Delivery } from './delivery.ts';
import type { Handler, SubscriberActor } from './subscriber-options.ts';

/**
 * When a turn ends although messages wait, so that others get theirs: after so many milliseconds, looked at once every so
 * many messages, because reading the clock costs as much as handling one.
 */
const turn = { time: 4, look: 256 };
/** How many handlers that take their time may follow one another without a turn in between. */
const longestBurst = 512;

/** Where a runner takes its messages from, and who is told what became of them. */
export interface RunnerHost {
  readonly clock: Clock;
  /** Whether messages are to be handed out now. */
  readonly active: boolean;
  /** Whether `take` may have something. */
  readonly hasMore: boolean;
  take(): Delivery | undefined;
  /** An attempt's time is up: it has failed, unless it is over already. */
  expired(delivery: Delivery, error: BusError): void;
  /** A handler that was cut off has returned. */
  returned(delivery: Delivery): void;
}

/** What a runner is told at its start. */
export interface RunnerOptions {
  readonly handler: Handler;
  /** How many messages are handled at a time. */
  readonly concurrency: number;
  /** How long an attempt may take, in milliseconds. */
  readonly timeout: number;
}

/** Hands messages to a handler, so many at a time, and keeps the time of each attempt. */
export class Runner implements AttemptHost {
  readonly clock: Clock;
  readonly #host: RunnerHost;
  readonly #handler: Handler;
  readonly #timeout: number;
  readonly #deadlines: Deadlines;
  readonly #extended = new Set<Attempt>();
  #concurrency: number;
  #actor: SubscriberActor | undefined;
  #awake = false;
  #burst = 0;
  #running = 0;
  #abandoned = 0;

  constructor(host: RunnerHost, { handler, concurrency, timeout }: RunnerOptions) {
    this.clock = host.clock;
    this.#host = host;
    this.#handler = handler;
    this.#concurrency = concurrency;
    this.#timeout = timeout;
    this.#deadlines = new Deadlines(host.clock, timeout);
  }

  /** How many messages are being handled. */
  get running(): number {
    return this.#running;
  }

  /** How many handlers have not returned although their attempt's time was up. */
  get abandoned(): number {
    return this.#abandoned;
  }

  /** How many messages are handled at a time. */
  get concurrency(): number {
    return this.#concurrency;
  }

  set concurrency(concurrency: number) {
    this.#concurrency = concurrency;
    this.ready();
  }

  attach(actor: SubscriberActor): void {
    this.#actor = actor;
    this.wake();
  }

  /** There is something to take. Called often. */
  ready(): void {
    if (this.#awake || this.#running >= this.#concurrency || !this.#host.active) return;
    this.#awake = this.#actor?.wake() === true;
  }

  /** As `ready`, after the actor was replaced. */
  wake(): void {
    this.#awake = false;
    this.ready();
  }

  /** Starts an actor again that was given up. */
  revive(): void {
    this.#actor?.revive().catch(this.fault);
  }

  readonly fault = (error: unknown): void => this.#actor?.fault(error);

  /** A turn of its actor. */
  turn(): void {
    this.#awake = false;
    this.#burst = 0;
    this.#pump(turn.look, this.clock.monotonic() + turn.time);
  }

  /** Goes on at once after a handler that took its time, but lets others run now and then. */
  next(): void {
    if (this.#running >= this.#concurrency || !this.#host.hasMore) return;
    if (++this.#burst < longestBurst) this.#pump(1, 0);
    else this.ready();
  }

  /** Hands out up to `count` messages, and as many again until the time is up. */
  #pump(count: number, until: number): void {
    for (let left = count; this.#running < this.#concurrency && this.#host.active; left--) {
      if (left === 0) {
        if (this.clock.monotonic() >= until) {
          if (this.#host.hasMore) this.ready();
          return;
        }
        left = turn.look;
      }
      const delivery = this.#host.take();
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
    if (pending) this.#follow(delivery, result as PromiseLike<unknown>).catch(this.fault);
    else delivery.ack();
  }

  async #follow(delivery: Delivery, result: PromiseLike<unknown>): Promise<void> {
    // A handler that has called term() is settled before it returns; what it still does is waited for, not watched.
    if (delivery.state === 'running') this.watch(delivery);
    try {
      await result;
      delivery.ack();
    } catch (error) {
      delivery.nack(error);
    }
    if (delivery.state === 'timedOut') this.#abandoned--;
    if (delivery.state === 'timedOut' || delivery.state === 'returned') this.#host.returned(delivery);
    this.next();
  }

  /** Keeps the time of an attempt that did not end at once. */
  watch(delivery: Delivery): void {
    if (delivery.running !== undefined) return;
    const attempt = new Attempt(this, delivery);
    delivery.running = attempt;
    this.#deadlines.add(attempt);
  }

  /** An attempt is over. */
  release(delivery: Delivery): void {
    this.#running--;
    const attempt = delivery.running as Attempt | undefined;
    if (attempt === undefined) return;
    delivery.running = undefined;
    attempt.end();
  }

  /** An attempt gets `ms` milliseconds from now. */
  extend(delivery: Delivery, ms: number): void {
    const attempt = delivery.running as Attempt | undefined;
    if (attempt === undefined) this.clock.immediate(() => delivery.state === 'running' && this.extend(delivery, ms));
    else attempt.extend(ms);
  }

  track(attempt: Attempt, extended: boolean): void {
    if (extended) this.#extended.add(attempt);
    else this.#extended.delete(attempt);
  }

  timedOut(delivery: Delivery): void {
    const returned = delivery.state === 'confirming';
    if (!delivery.cut('timedOut')) return;
    const { id, topic } = delivery.message;
    const text = `attempt ${delivery.attempt} of ${id} on '${topic}' took longer than ${this.#timeout} ms`;
    this.#host.expired(delivery, new BusError('TIMEOUT', text));
    if (!returned) {
      this.#abandoned++;
      this.#actor?.replace('a handler did not return in time');
    }
    this.next();
  }

  /** Aborts the attempts that are watched and `which` names. @returns their deliveries. */
  cut(which: (delivery: Delivery) => boolean = () => true): Delivery[] {
    const out: Delivery[] = [];
    for (const { delivery } of [...this.#deadlines, ...this.#extended] as Attempt[]) {
      if (!which(delivery) || !delivery.cut('returned')) continue;
      this.release(delivery);
      out.push(delivery);
    }
    return out;
  }

  close(): void {
    this.#deadlines.clear();
  }
}
