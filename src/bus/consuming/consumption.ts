import type { Context, StagedOptions } from '../../actors/delivery.ts';
import type { Handler } from '../../actors/subscriber-options.ts';
import { type Deferred, deferred } from '../../core/async.ts';
import { BusError, PermanentError } from '../../core/errors.ts';
import type { Logger } from '../../core/log.ts';
import type { Message } from '../../core/message.ts';
import { Ring } from '../../core/ring.ts';
import type { Destination, PayloadFor } from '../../routing/typed-topic.ts';
import type { Subscription } from './subscription.ts';

/**
 * One message, to be settled by whoever took it. Each of the first three settles; only the first call counts, and each
 * tells whether it was the first. A delivery that nobody settles is failed when its attempt's time is up.
 */
export class ConsumedDelivery<T = unknown> {
  readonly message: Message<T>;
  readonly #context: Context;
  readonly #outcome: Deferred<void>;
  #settled = false;

  /** @internal */
  constructor(message: Message<T>, context: Context, outcome: Deferred<void>) {
    this.message = message;
    this.#context = context;
    this.#outcome = outcome;
  }

  /** Which attempt this is, from 1. */
  get attempt(): number {
    return this.#context.attempt;
  }

  /** The subscription's name. */
  get subscription(): string {
    return this.#context.subscription;
  }

  /** Aborted when the attempt's time is up or the subscription closes. */
  get signal(): AbortSignal {
    return this.#context.signal;
  }

  get log(): Logger {
    return this.#context.log;
  }

  /** The message has been handled. */
  ack(): boolean {
    const first = this.#settle();
    this.#outcome.resolve();
    return first;
  }

  /** The attempt has failed: the message is tried again, as its subscription's retry policy says. */
  nack(error: unknown = new Error('nack() was called')): boolean {
    const first = this.#settle();
    this.#outcome.reject(error);
    return first;
  }

  /** No attempt will ever succeed: the message becomes a dead letter. */
  term(reason = 'term() was called'): boolean {
    return this.nack(new PermanentError(reason));
  }

  /** Gives this attempt `ms` milliseconds from now. */
  extend(ms: number): void {
    this.#context.extend(ms);
  }

  /** Stages a message that is published when this delivery is acknowledged. */
  publish<D extends Destination>(topic: D, payload: PayloadFor<D>, options?: StagedOptions): Promise<void> {
    return this.#context.publish(topic, payload, options);
  }

  /** @internal Whether it can still be settled. */
  get live(): boolean {
    return !this.#settled && (this.#context as { state?: string }).state === 'running';
  }

  /** @internal Nobody will settle it: it goes back as failed. */
  abandon(): void {
    if (!this.#settled) this.nack(new BusError('ABORTED', 'the consumer stopped before it settled this delivery'));
  }

  #settle(): boolean {
    const first = this.live;
    this.#settled = true;
    return first;
  }
}

/** What `consume()` returns: deliveries, one after the other, as long as somebody asks for them. */
export class Consumption<T = unknown>
  implements AsyncIterable<ConsumedDelivery<T>>, AsyncIterator<ConsumedDelivery<T>>, AsyncDisposable
{
  /** Resolves when the subscription stands: what is published after that is not missed. */
  readonly ready: Promise<Subscription>;
  readonly #arrived = new Ring<ConsumedDelivery<T>>();
  readonly #asked = new Ring<Deferred<IteratorResult<ConsumedDelivery<T>>>>();
  readonly #out = new Set<ConsumedDelivery<T>>();
  #ended = false;

  /** @internal */
  constructor(subscribe: (handler: Handler) => Promise<Subscription>) {
    this.ready = subscribe((message, context) => this.#handle(message as Message<T>, context));
    const end = (): void => this.#end();
    // A subscription that fails is heard of by whoever iterates or awaits `ready`.
    this.ready.then((subscription) => subscription.closed.then(end), end);
  }

  async next(): Promise<IteratorResult<ConsumedDelivery<T>>> {
    await this.ready;
    for (let next = this.#arrived.shift(); next !== undefined; next = this.#arrived.shift()) {
      if (next.live) return { value: next, done: false };
      next.abandon(); // its time was up before anybody asked
    }
    if (this.#ended) return { value: undefined, done: true };
    const asked = deferred<IteratorResult<ConsumedDelivery<T>>>();
    this.#asked.push(asked);
    return asked.promise;
  }

  /** Ends the iteration, as leaving the loop does: what was not settled is failed, and the subscription closed. */
  async return(): Promise<IteratorResult<ConsumedDelivery<T>>> {
    await this.close();
    return { value: undefined, done: true };
  }

  async close(): Promise<void> {
    this.#end();
    const subscription = await this.ready.catch(() => undefined);
    await subscription?.close();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #handle(message: Message<T>, context: Context): Promise<void> {
    const outcome = deferred<void>();
    const delivery = new ConsumedDelivery(message, context, outcome);
    if (this.#ended) {
      delivery.abandon();
      return outcome.promise;
    }
    this.#out.add(delivery);
    const forget = (): void => {
      this.#out.delete(delivery);
    };
    outcome.promise.then(forget, forget);
    const asked = this.#asked.shift();
    if (asked === undefined) this.#arrived.push(delivery);
    else asked.resolve({ value: delivery, done: false });
    return outcome.promise;
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const delivery of [...this.#out]) delivery.abandon();
    this.#arrived.clear();
    for (let asked = this.#asked.shift(); asked !== undefined; asked = this.#asked.shift()) {
      asked.resolve({ value: undefined, done: true });
    }
  }
}
