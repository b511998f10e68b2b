import { fitting } from '../../actors/checked-handler.ts';
import type { Context } from '../../actors/delivery.ts';
import type { Handler } from '../../actors/subscriber-options.ts';
import { type Deferred, deferred } from '../../core/async.ts';
import type { Clock, Timer } from '../../core/clock.ts';
import { BusError, describe } from '../../core/errors.ts';
import type { Message } from '../../core/message.ts';
import { refusedBy, type StandardSchema, validated } from '../../core/schema.ts';
import { within } from '../../core/within.ts';
import {
  checkFront,
  type FrontOptions,
  type ReceiveOptions,
  resolveReceive,
  type Wanted,
} from '../options/receive-options.ts';
import { ConsumedDelivery } from './consumption.ts';

/** A message that was looked at, and is not taken. */
export interface Front<T = unknown> {
  readonly message: Message<T>;
  /** Which attempt the next one is, from 1. */
  readonly attempt: number;
  /** Whether `front()` has not shown it before, in this life or an earlier one. */
  readonly fresh: boolean;
}

/** One message that `receive()` has taken. Leaving its `await using` unsettled fails it. */
export class ReceivedDelivery<T = unknown> extends ConsumedDelivery<T> implements AsyncDisposable {
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.live) this.nack(new BusError('ABORTED', 'the delivery was left without being settled'));
  }
}

/** Hands messages to a handler, as many at a time as are asked for. */
export interface PullWorker {
  /** How many deliveries are wanted, those that are out included; `newest`: the next one is to be the newest that waits. */
  ask(demand: number, newest: boolean): void;
  /** Resolves when it has ended: its mailbox is removed, or the bus closes. */
  readonly closed: Promise<void>;
  /**
   * Resolves when nothing can be handed out now, without anything happening that is not under way; or when whoever waits
   * does so no longer.
   *
   * @throws {BusError} `NODE_UNREACHABLE` when the mailbox's home cannot be asked.
   */
  exhausted(waits: () => boolean): Promise<void>;
  /** Ends, giving what is out so long. */
  close(timeout: number): Promise<void>;
}

/** Where the messages of one durable subscription are pulled from: its mailbox here, or the one on another node. */
export interface PullSource {
  /** The mailbox's id. */
  readonly id: string;
  /** `<service>/<name>`. */
  readonly name: string;
  /** How long an attempt may take, in milliseconds, unless it is told otherwise. */
  readonly timeout: number;
  /** Attaches a handler. What it rejects with `unasked` goes back as if it had never been handed out. */
  open(handler: Handler): Promise<PullWorker>;
  /** Leaves only the newest of what waits, also of what is not in memory. */
  supersede(): Promise<void>;
  front(): Promise<Front | null>;
}

/** What receiving needs of the bus. */
export interface ReceivingHost {
  readonly clock: Clock;
  /** @throws {BusError} `NOT_FOUND`, naming the nearest one that exists. */
  source(name: string): PullSource;
}

/** What was handed out and nobody has asked for. */
export const unasked = new BusError('ABORTED', 'whoever asked for it has gone');

/** How long a validator may take for `front()`, in milliseconds. */
const checkTime = 10_000;
/** How long a consumer that nobody asks is kept, in milliseconds. */
const idleTime = 30_000;

/** `receive()`, `receiveLatest()` and `front()`: one consumer a mailbox, for everybody who asks. */
export class Receiving {
  readonly #host: ReceivingHost;
  readonly #pullers = new Map<string, Puller>();
  #ending = false;

  constructor(host: ReceivingHost) {
    this.#host = host;
  }

  /** @returns null when nothing came in time; with a handler, whether it was called. */
  async receive(
    what: 'receive()' | 'receiveLatest()',
    name: string,
    options: ReceiveOptions = {},
    handler?: Handler,
  ): Promise<ReceivedDelivery | null | boolean> {
    const wanted = resolveReceive(what, options);
    if (handler !== undefined && typeof handler !== 'function') {
      throw new BusError('OPTION_INVALID', `${what}: the handler is ${describe(handler)}, not a function`);
    }
    const delivery = await this.#next(this.#host.source(name), wanted);
    if (handler === undefined) return delivery;
    if (delivery === null) return false;
    try {
      await handler(delivery.message, delivery);
      delivery.ack();
    } catch (error) {
      delivery.nack(error);
    }
    return true;
  }

  async front(name: string, options: FrontOptions = {}): Promise<Front | null> {
    const { schema } = checkFront(options);
    const found = await this.#host.source(name).front();
    if (found === null || schema === undefined) return found;
    const { message } = found;
    try {
      const checking = validated(schema, message.payload);
      const checked = !(checking instanceof Promise) || (await within(this.#host.clock, checkTime, checking));
      if (checked) return { ...found, message: fitting(message, await checking) };
    } catch (error) {
      throw refusedBy(message.topic, error);
    }
    throw new BusError('TIMEOUT', `the message at the front of '${name}' was not checked in ${checkTime} ms`);
  }

  /** Who waits is told; what is out has `timeout` milliseconds. */
  async close(timeout: number): Promise<void> {
    this.#ending = true;
    await Promise.all([...this.#pullers.values()].map((puller) => puller.close(timeout)));
  }

  async #next(source: PullSource, wanted: Wanted): Promise<ReceivedDelivery | null> {
    const { clock } = this.#host;
    const { signal, newest, timeout } = wanted;
    checkSignal(signal, source.name);
    let left = timeout;
    if (newest) {
      const start = clock.monotonic();
      await source.supersede();
      left = Math.max(0, timeout - (clock.monotonic() - start));
      checkSignal(signal, source.name);
    }
    if (this.#ending) throw closed(source.name);
    const known = this.#pullers.get(source.id);
    const puller = known ?? new Puller(clock, source, () => this.#pullers.delete(source.id));
    if (known === undefined) this.#pullers.set(source.id, puller);
    return puller.next({ ...wanted, timeout: left });
  }
}

/** The consumer of one mailbox, for all who receive from it. */
class Puller {
  readonly #clock: Clock;
  readonly #source: PullSource;
  readonly #ended: () => void;
  readonly #waiting = new Set<Waiter>();
  readonly #out = new Set<ReceivedDelivery>();
  #opening: Promise<PullWorker> | undefined;
  #worker: PullWorker | undefined;
  #idle: Timer | undefined;
  #over: BusError | undefined;

  constructor(clock: Clock, source: PullSource, ended: () => void) {
    this.#clock = clock;
    this.#source = source;
    this.#ended = ended;
  }

  next(wanted: Wanted): Promise<ReceivedDelivery | null> {
    if (this.#over !== undefined) return Promise.reject(this.#over);
    const { timeout, signal } = wanted;
    const waiter = new Waiter(wanted);
    const stop = (): void => this.#fail(waiter, aborted(this.#source.name));
    const timer = timeout === 0 ? undefined : this.#clock.timer(timeout, () => void this.#late(waiter));
    signal?.addEventListener('abort', stop, { once: true });
    waiter.end = () => {
      timer?.cancel();
      signal?.removeEventListener('abort', stop);
    };
    this.#waiting.add(waiter);
    this.#idle?.cancel();
    this.#opening ??= this.#open();
    this.#opening.then(
      () => {
        this.#demand();
        if (timeout === 0) void this.#late(waiter);
      },
      (error: unknown) => this.#fail(waiter, error),
    );
    return waiter.promise;
  }

  async close(timeout: number): Promise<void> {
    this.#end(closed(this.#source.name));
    const worker = await this.#opening?.catch(() => undefined);
    await worker?.close(timeout);
  }

  async #open(): Promise<PullWorker> {
    try {
      const worker = await this.#source.open((message, context) => this.#handle(message, context));
      this.#worker = worker;
      const { name } = this.#source;
      void worker.closed.then(() => this.#end(new BusError('CLOSED', `'${name}' is removed, or its bus closes`)));
      return worker;
    } catch (error) {
      this.#ended();
      throw error;
    }
  }

  /** Its time is up: it goes unless it is about to get something. */
  async #late(waiter: Waiter): Promise<void> {
    waiter.late = true;
    try {
      await this.#worker?.exhausted(() => this.#waiting.has(waiter));
    } catch (error) {
      this.#fail(waiter, error);
      return;
    }
    if (!this.#waiting.delete(waiter)) return;
    waiter.settle(null);
    this.#demand();
  }

  #fail(waiter: Waiter, error: unknown): void {
    if (!this.#waiting.delete(waiter)) return;
    waiter.reject(error);
    this.#demand();
  }

  /**
   * What is asked for: one for each who waits, and those that are out. What was taken by mistake would have nobody. Who
   * wants the newest is served alone.
   */
  #demand(): void {
    if (this.#worker === undefined || this.#over !== undefined) return;
    let wanted = 0;
    let newest = false;
    for (const waiter of this.#waiting) {
      if (waiter.wanted.newest && wanted > 0) break;
      wanted++;
      newest = waiter.wanted.newest;
      if (newest) break;
    }
    const demand = wanted + this.#out.size;
    this.#worker.ask(demand, newest);
    if (demand > 0) return;
    this.#idle?.cancel();
    this.#idle = this.#clock.timer(idleTime, () => void this.close(0)).unref();
  }

  #handle(message: Message, context: Context): Promise<void> {
    const outcome = deferred<void>();
    const delivery = new ReceivedDelivery(message, context, outcome);
    const [waiter] = this.#waiting;
    if (waiter === undefined) {
      delivery.nack(unasked); // nobody has seen it
      return outcome.promise;
    }
    this.#waiting.delete(waiter);
    this.#out.add(delivery);
    if (waiter.wanted.newest) this.#demand();
    const forget = (): void => {
      if (this.#out.delete(delivery)) this.#demand();
    };
    outcome.promise.then(forget, forget);
    // At once when the attempt is cut off: before the next message is looked for, which nobody may have asked for.
    const cut = (): void => {
      forget();
      outcome.resolve();
    };
    context.signal.addEventListener('abort', cut, { once: true });
    const { attemptTimeout, schema } = waiter.wanted;
    if (attemptTimeout !== undefined) context.extend(attemptTimeout);
    if (schema === undefined) waiter.settle(delivery);
    else
      void this.#check(waiter, delivery, schema, (fit) => new ReceivedDelivery(fit, context, outcome), outcome.promise);
    return outcome.promise;
  }

  /** Hands over what a schema makes of a message. When it does not fit, or the attempt is cut off, who waits goes on waiting. */
  async #check(
    waiter: Waiter,
    delivery: ReceivedDelivery,
    schema: StandardSchema,
    made: (message: Message) => ReceivedDelivery,
    cut: Promise<void>,
  ): Promise<void> {
    const { message } = delivery;
    try {
      const fit = await Promise.race([validated(schema, message.payload), cut]);
      if (fit === undefined || !delivery.live) this.#again(waiter);
      else if (this.#wants(waiter)) waiter.settle(made(fitting(message, fit)));
      else delivery.nack(unasked);
    } catch (error) {
      this.#again(waiter);
      delivery.nack(error);
    }
  }

  /** It has got nothing so far. */
  #again(waiter: Waiter): void {
    if (!this.#wants(waiter)) return;
    this.#waiting.add(waiter);
    this.#demand();
    if (waiter.late) void this.#late(waiter);
  }

  /** Whether somebody who is not among those that wait still does; who does not is told. */
  #wants(waiter: Waiter): boolean {
    const { signal } = waiter.wanted;
    const error = this.#over ?? (signal?.aborted === true ? aborted(this.#source.name) : undefined);
    if (error !== undefined) waiter.reject(error);
    return error === undefined;
  }

  #end(error: BusError): void {
    if (this.#over !== undefined) return;
    this.#over = error;
    this.#idle?.cancel();
    for (const waiter of this.#waiting) waiter.reject(error);
    this.#waiting.clear();
    this.#ended();
  }
}

/** Somebody who waits for a message. */
class Waiter {
  readonly wanted: Wanted;
  readonly #outcome: Deferred<ReceivedDelivery | null> = deferred();
  /** Its time is up. */
  late = false;
  end: () => void = () => {};

  constructor(wanted: Wanted) {
    this.wanted = wanted;
  }

  get promise(): Promise<ReceivedDelivery | null> {
    return this.#outcome.promise;
  }

  settle(delivery: ReceivedDelivery | null): void {
    this.end();
    this.#outcome.resolve(delivery);
  }

  reject(error: unknown): void {
    this.end();
    this.#outcome.reject(error);
  }
}

function checkSignal(signal: AbortSignal | undefined, name: string): void {
  if (signal?.aborted === true) throw aborted(name);
}

function aborted(name: string): BusError {
  return new BusError('ABORTED', `nothing was received from '${name}': the signal was aborted`);
}

function closed(name: string): BusError {
  return new BusError('CLOSED', `nothing is received from '${name}' any more: the bus closes`);
}
