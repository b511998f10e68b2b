import type { Staged } from '../../actors/delivery.ts';
import { checkObject } from '../../core/checks.ts';
import type { Clock } from '../../core/clock.ts';
import { type Deadline, Deadlines } from '../../core/deadlines.ts';
import { BusError, type Receipt } from '../../core/errors.ts';
import type { Message } from '../../core/message.ts';
import { within } from '../../core/within.ts';
import type { Router } from '../../routing/router.ts';
import { checkPayload, checkPayloadNow, type Destination, nameOf, type PayloadFor } from '../../routing/typed-topic.ts';
import {
  checkEmit,
  defaultPublish,
  type EmitOptions,
  type MessageFactory,
  type PublishOptions,
  type ResolvedPublish,
  resolvePublish,
} from '../options/publish-options.ts';
import { Publication, receiptOf } from './publication.ts';
import type { Route } from './route.ts';

/** One message of `publishMany()`. */
export interface Outgoing<D extends Destination = Destination> extends PublishOptions {
  topic: D;
  payload: PayloadFor<D>;
}

/** Messages of one `publishMany()`, each for its own destination. */
export type OutgoingFor<D extends readonly Destination[]> = { readonly [K in keyof D]: Outgoing<D[K]> };

/** How many messages of one `publishMany()` are on their way at a time. */
const manyAtOnce = 1024;
/** How many distinct timeouts keep a list of their own. */
const maxTimeouts = 64;

/** Takes messages from the user to their routes. */
export class Publisher {
  readonly #clock: Clock;
  readonly #router: Router<Route>;
  readonly #factory: MessageFactory;
  readonly #check: () => void;
  readonly #deadlines = new Map<number, Deadlines>();

  /** @param check throws `CLOSED` unless the bus is running. */
  constructor(clock: Clock, router: Router<Route>, factory: MessageFactory, check: () => void) {
    this.#clock = clock;
    this.#router = router;
    this.#factory = factory;
    this.#check = check;
  }

  emit(to: Destination, payload: unknown, options: EmitOptions | undefined): boolean {
    if (options !== undefined) checkEmit(options);
    const topic = nameOf(to);
    const routes = this.#router.match(topic);
    checkPayloadNow(to, payload);
    const message = this.#factory.create(topic, payload, options);
    if (routes.length === 1) return (routes[0] as Route).emit(message);
    for (const route of routes) if (!route.hasRoom(message)) return false;
    for (const route of routes) route.emit(message);
    return true;
  }

  publish(to: Destination, payload: unknown, options: PublishOptions | undefined): Promise<Receipt> {
    const resolved = options === undefined ? defaultPublish : resolvePublish(options);
    const topic = nameOf(to);
    const routes = this.#router.match(topic);
    const checking = checkPayload(to, payload);
    if (checking !== undefined) return this.#publishChecked(checking, topic, payload, options, resolved);
    return this.#send(this.#factory.create(topic, payload, options), routes, resolved);
  }

  async #publishChecked(
    checking: Promise<void>,
    topic: string,
    payload: unknown,
    options: PublishOptions | undefined,
    resolved: ResolvedPublish,
  ): Promise<Receipt> {
    await this.#checked(checking, topic, resolved.timeout);
    return this.#send(this.#factory.create(topic, payload, options), this.#router.match(topic), resolved);
  }

  /** Waits for a validator that takes its time. @throws {BusError} `PAYLOAD_INVALID`, `TIMEOUT`, `CLOSED`. */
  async #checked(checking: Promise<void>, topic: string, timeout: number): Promise<void> {
    if (!(await within(this.#clock, timeout, checking))) {
      throw new BusError('TIMEOUT', `the payload for '${topic}' was not checked in ${timeout} ms: nothing was sent`);
    }
    this.#check();
  }

  /** Checks every message before it sends the first one. */
  async publishMany(list: readonly Outgoing[]): Promise<Receipt[]> {
    if (!Array.isArray(list))
      throw new BusError('OPTION_INVALID', 'publishMany() takes an array of { topic, payload, ... }');
    const checking: Promise<void>[] = [];
    const given = list.map((item: Outgoing, i) => {
      checkObject(`publishMany(): message ${i}`, item);
      const { topic: to, payload, ...options } = item;
      const resolved = resolvePublish(options);
      this.#router.match(nameOf(to));
      const checked = checkPayload(to, payload);
      if (checked !== undefined) checking.push(this.#checked(checked, nameOf(to), resolved.timeout));
      checking.at(-1)?.catch(() => undefined); // a later message may be refused before anybody waits for this one
      return { topic: nameOf(to), payload, options, resolved };
    });
    if (checking.length > 0) await Promise.all(checking);
    const prepared = given.map(({ topic, payload, options, resolved }) => ({
      message: this.#factory.create(topic, payload, options),
      resolved,
    }));
    const results: (Receipt | BusError)[] = [];
    for (let at = 0; at < prepared.length; at += manyAtOnce) {
      const sent = prepared
        .slice(at, at + manyAtOnce)
        .map(({ message, resolved }) => this.#send(message, this.#router.match(message.topic), resolved));
      for (const outcome of await Promise.allSettled(sent)) {
        results.push(outcome.status === 'fulfilled' ? outcome.value : (outcome.reason as BusError)); // #send rejects with nothing else
      }
    }
    const failed = results.filter((result) => result instanceof BusError);
    const [first] = failed;
    if (first === undefined) return results as Receipt[];
    throw new BusError(
      first.code,
      `${failed.length} of ${list.length} messages failed, the first with: ${first.message}`,
      { cause: first, results },
    );
  }

  /** Sends a message of the bus' own to the subscriptions of this node that want it; where one is full, it is counted. */
  announce(topic: string, payload: unknown, node: string): void {
    const routes = this.#router.matchInternal(topic).filter((route) => route.node === node);
    if (routes.length === 0) return;
    const message = this.#factory.create(topic, payload, undefined);
    for (const route of routes) route.emit(message);
  }

  /** Makes a message to be sent when its handler has succeeded. */
  prepare(topic: string, payload: unknown, options: EmitOptions | undefined): Staged {
    if (options !== undefined) checkEmit(options);
    this.#router.match(topic);
    return this.#factory.create(topic, payload, options);
  }

  /** Where a topic goes. */
  routesOf(topic: string): readonly Route[] {
    return this.#router.match(topic);
  }

  /** Sends a message to some routes, and nobody waits for it. */
  sendTo(message: Message, routes: readonly Route[]): void {
    this.#send(message, routes, defaultPublish).catch(() => undefined); // told as an event by who drops it
  }

  /** Sends what a handler has staged. */
  async publishStaged(messages: readonly Message[]): Promise<void> {
    await Promise.all(
      messages.map((message) => this.#send(message, this.#router.match(message.topic), defaultPublish)),
    );
  }

  close(): void {
    for (const deadlines of this.#deadlines.values()) deadlines.clear();
  }

  #send(message: Message, routes: readonly Route[], options: ResolvedPublish): Promise<Receipt> {
    if (routes.length < options.atLeast) {
      return Promise.reject(
        new BusError(
          'NO_SUBSCRIBERS',
          `'${message.topic}' matches ${routes.length} subscriptions, ${options.atLeast} were asked for`,
          {
            receipt: receiptOf(message, routes.length),
          },
        ),
      );
    }
    if (options.signal?.aborted === true) {
      const { reason } = options.signal;
      const receipt = receiptOf(message, routes.length);
      return Promise.reject(
        new BusError('ABORTED', 'the signal was aborted before the publish', { cause: reason, receipt }),
      );
    }
    if (routes.length === 1 && options.signal === undefined) {
      // Most topics that are stored at all are stored once.
      const promise = (routes[0] as Route).publishAlone?.(message, options.timeout, this); // length 1
      if (promise !== undefined) return promise;
    }
    let publication: Publication | undefined;
    for (const route of routes) {
      if (route.accept(message)) continue;
      publication ??= this.#open(message, routes.length, options.timeout);
      route.publish(message, publication);
    }
    if (publication === undefined) return Promise.resolve(receiptOf(message, routes.length));
    return publication.asked(options.signal);
  }

  #open(message: Message, matched: number, timeout: number): Publication {
    const publication = new Publication(message, matched, timeout);
    this.await(publication, timeout);
    return publication;
  }

  /** Ends a wait after `timeout` milliseconds. */
  await(deadline: Deadline, timeout: number): void {
    let deadlines = this.#deadlines.get(timeout);
    if (deadlines === undefined) {
      if (this.#deadlines.size >= maxTimeouts) this.#forgetIdle();
      deadlines = new Deadlines(this.#clock, timeout);
      this.#deadlines.set(timeout, deadlines);
    }
    deadlines.add(deadline);
  }

  #forgetIdle(): void {
    for (const [timeout, deadlines] of this.#deadlines) {
      if (deadlines.size > 0) continue;
      deadlines.clear();
      this.#deadlines.delete(timeout);
    }
  }
}
