import { type DeadLetterBox, DeadLetters } from '../actors/dead-letters.ts';
import { Nursery } from '../actors/nursery.ts';
import { createRuntime, type Runtime } from '../actors/runtime.ts';
import type { Handler } from '../actors/subscriber-options.ts';
import { Supervisor } from '../actors/supervisor.ts';
import { closeAll } from '../core/async.ts';
import { BusError, describe, type Receipt, toError } from '../core/errors.ts';
import {
  type BusEvent,
  EventHub,
  type EventListener,
  type EventOf,
  type EventType,
  eventTypes,
  type EventHub as Hub,
} from '../core/events.ts';
import { newIncarnation, originOf } from '../core/incarnation.ts';
import { type BusState, busTransitions, Lifecycle } from '../core/lifecycle.ts';
import { checkName } from '../core/topic.ts';
import type { PatternInput } from '../routing/pattern.ts';
import { Router } from '../routing/router.ts';
import { MemoryStore } from '../storage/memory.ts';
import { checkKnown, checkObject } from './checks.ts';
import { Consumption } from './consumption.ts';
import { decoratedHandlers, nameOf } from './decorators.ts';
import { Network } from './network.ts';
import { type BusOptions, type Parts, type ResolvedOptions, resolveOptions } from './options.ts';
import { type EmitOptions, MessageFactory, type PublishOptions } from './publish-options.ts';
import { type Outgoing, Publisher } from './publisher.ts';
import type { Route } from './route.ts';
import { type BusStatus, brief, type Explanation } from './status.ts';
import { type Subscription, type UnsubscribeOptions, type WaitOptions, waitOf } from './subscription.ts';
import type { SubscriptionOptions } from './subscription-options.ts';
import { Subscriptions } from './subscriptions.ts';

/** How long another node may take to answer a control request, in milliseconds. */
const requestTimeout = 10_000;

/** A message bus in this process: alone, or as a node of a cluster. Made by {@link createBus}. */
export class Bus implements AsyncDisposable {
  readonly #options: ResolvedOptions;
  readonly #incarnation: string;
  readonly #lifecycle = new Lifecycle<BusState>('bus', busTransitions, 'starting');
  readonly #events: Hub;
  readonly #runtime: Runtime;
  readonly #supervisor: Supervisor;
  readonly #router = new Router<Route>();
  readonly #publisher: Publisher;
  readonly #subscriptions: Subscriptions;
  readonly #store = new MemoryStore();
  readonly #deadLetters: DeadLetters;
  readonly #network: Network | undefined;
  #nursery: Nursery | undefined;
  #closing: Promise<void> | undefined;
  #closeBy = 0;

  private constructor(options: ResolvedOptions, runtime: Runtime, incarnation: string) {
    const { clock, logger: log, node, limits, role } = options;
    this.#options = options;
    this.#incarnation = incarnation;
    this.#runtime = runtime;
    this.#events = new EventHub(log);
    this.#supervisor = new Supervisor({ runtime, clock, log, giveUp: (error, path) => this.#failed(error, path) });
    const factory = new MessageFactory(clock, node, originOf(incarnation), limits.payload);
    this.#publisher = new Publisher(clock, this.#router, factory);
    this.#deadLetters = new DeadLetters({
      store: this.#store,
      clock,
      limit: limits.deadLetters,
      replayTo: (name) => this.#subscriptions.replayTo(name),
    });
    this.#subscriptions = new Subscriptions({
      node,
      incarnation,
      clock,
      log,
      events: this.#events,
      router: this.#router,
      deadLetters: this.#deadLetters,
      publisher: this.#publisher,
      nursery: () => this.#group(),
      announce: async (add, remove) => this.#network?.announce(add, remove),
    });
    if (role !== 'alone') {
      this.#network = new Network({
        options,
        incarnation,
        events: this.#events,
        log,
        router: this.#router,
        subscriber: (mailbox) => this.#subscriptions.byMailbox(mailbox),
        handle: (method, params) => this.#answer(method, params),
      });
    }
  }

  /** @internal */
  static async open(given: BusOptions | undefined, parts: BusParts = {}): Promise<Bus> {
    const options = resolveOptions(given, parts);
    const { clock, node, logger } = options;
    const incarnation = newIncarnation(clock);
    const name = `${node}.${incarnation}`;
    const runtime = parts.runtime?.(name) ?? createRuntime({ name, log: logger });
    const bus = new Bus(options, runtime, incarnation);
    try {
      await bus.#start();
    } catch (error) {
      await bus.close({ timeout: 0 });
      throw error;
    }
    return bus;
  }

  /** This node's name. */
  get node(): string {
    return this.#options.node;
  }

  /** Where a leader listens, with the real port. */
  get address(): string | undefined {
    return this.#network?.address;
  }

  get state(): BusState {
    return this.#lifecycle.state;
  }

  /** The messages that were given up on this node. */
  get deadLetters(): DeadLetterBox {
    return this.#deadLetters;
  }

  /**
   * Sends a message without waiting for anything.
   *
   * @returns true when every matching mailbox, or the way to it, took the message, or nothing matched; false, and no
   *   mailbox has it, when one is full.
   * @throws {BusError} `TOPIC_INVALID`, `PAYLOAD_INVALID`, `PAYLOAD_TOO_LARGE`, `OPTION_INVALID`, `CLOSED`.
   */
  emit(topic: string, payload: unknown, options?: EmitOptions): boolean {
    if (this.#lifecycle.state !== 'running') throw this.#notRunning();
    return this.#publisher.emit(topic, payload, options);
  }

  /**
   * Sends a message. Resolves when every matching mailbox that can be reached has accepted it; never waits for a handler.
   *
   * @throws {BusError} as `emit`; and `NO_SUBSCRIBERS`, `MAILBOX_FULL`, `TIMEOUT`, `ABORTED`, with `error.receipt` saying
   *   what was matched and `error.failures` which routes did not take it.
   */
  publish(topic: string, payload: unknown, options?: PublishOptions): Promise<Receipt> {
    try {
      if (this.#lifecycle.state !== 'running') throw this.#notRunning();
      return this.#publisher.publish(topic, payload, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Sends many messages, in order. Every message is checked before the first is sent.
   *
   * @throws {BusError} as `publish`; when some messages failed, `error.results` says what became of each.
   */
  async publishMany(messages: readonly Outgoing[]): Promise<Receipt[]> {
    if (this.#lifecycle.state !== 'running') throw this.#notRunning();
    return this.#publisher.publishMany(messages);
  }

  /**
   * Has `handler` called with every message whose topic matches, from anywhere in the cluster. Resolves when every node
   * that can be reached knows of it.
   *
   * @param pattern a regular expression that must match the whole topic, as a string; a RegExp, which is searched; or a
   *   `wildcard()`.
   * @throws {BusError} `PATTERN_INVALID`, `OPTION_INVALID`, `NAME_INVALID`, `NAME_TAKEN`, `CLOSED`.
   */
  async subscribe<T = unknown>(
    pattern: PatternInput,
    handler: Handler<T>,
    options?: SubscriptionOptions,
  ): Promise<Subscription> {
    if (this.#lifecycle.state !== 'running') throw this.#notRunning();
    return this.#subscriptions.create(pattern, handler as Handler, options);
  }

  /**
   * Subscribes and hands out deliveries to whoever iterates, at most `concurrency` unsettled ones at a time. The
   * subscription begins with this call; `ready` resolves when it stands. Leaving the loop closes it.
   */
  consume<T = unknown>(pattern: PatternInput, options?: SubscriptionOptions): Consumption<T> {
    return new Consumption<T>((handler) => this.subscribe(pattern, handler, options));
  }

  /** Subscribes every method of an instance that is marked with `@subscribe`: all of them, or none. */
  async register(instance: object): Promise<Subscription[]> {
    const made: Subscription[] = [];
    try {
      for (const { pattern, handler, options, method } of decoratedHandlers(instance)) {
        if (this.#lifecycle.state !== 'running') throw this.#notRunning();
        made.push(await this.#subscriptions.create(pattern, handler, options, nameOf(instance, method)));
      }
    } catch (error) {
      for (const subscription of made) await subscription.close();
      throw error;
    }
    return made;
  }

  /**
   * Removes a subscription: of this node, or of another one.
   *
   * @throws {BusError} `NOT_FOUND`, `NO_LEADER`, `NODE_UNREACHABLE`, `TIMEOUT`.
   */
  async unsubscribe(name: string, options: UnsubscribeOptions = {}): Promise<void> {
    checkObject('unsubscribe()', options);
    checkKnown('unsubscribe()', options, ['node', 'timeout'], { discard: 'durable mailboxes come in a later version' });
    checkName('subscription', name);
    const { node = this.node, ...rest } = options;
    checkName('node', node);
    const timeout = waitOf('unsubscribe()', rest);
    if (node === this.node) await this.#subscriptions.remove(name, timeout);
    else await this.#ask(node, 'unsubscribe', { name, timeout }, timeout + requestTimeout);
  }

  /** Listens to what the bus tells of itself; `'*'` hears everything. @returns a function that ends the listening. */
  on<K extends EventType | '*'>(
    type: K,
    listener: EventListener<K extends EventType ? EventOf<K> : BusEvent>,
  ): () => void {
    if (type !== '*' && !eventTypes.includes(type as EventType)) {
      throw new BusError(
        'OPTION_INVALID',
        `there is no event ${describe(type)}; there are '*', ${eventTypes.join(', ')}`,
      );
    }
    if (typeof listener !== 'function')
      throw new BusError('OPTION_INVALID', `the listener of '${type}' is ${describe(listener)}, not a function`);
    return this.#events.on(type, listener as EventListener);
  }

  /** The subscriptions, anywhere in the cluster, that a message on this topic would go to. @throws {BusError} `TOPIC_INVALID`. */
  explain(topic: string): Explanation {
    const routes = this.#router.match(topic).map(({ subscription, node, pattern, reachable, retry }) => ({
      subscription,
      node,
      pattern: pattern.text,
      reachable,
      retry: { ...retry },
    }));
    return { topic, routes };
  }

  /** This node, or another one as it sees itself. @throws {BusError} `NO_LEADER`, `NODE_UNREACHABLE`, `TIMEOUT`. */
  async status(options: { node?: string } = {}): Promise<BusStatus> {
    checkObject('status()', options);
    checkKnown('status()', options, ['node']);
    const { node } = options;
    if (node !== undefined && node !== this.node) {
      checkName('node', node);
      return (await this.#ask(node, 'status', {}, requestTimeout)) as BusStatus; // the other node's own status()
    }
    return this.#status();
  }

  /** Resolves when nothing waits, runs or is under way to another node, on this node. @throws {BusError} `TIMEOUT`. */
  async drain(options: WaitOptions = {}): Promise<void> {
    const { clock } = this.#options;
    const end = clock.monotonic() + waitOf('drain()', options);
    do {
      await this.#subscriptions.drain(Math.max(0, end - clock.monotonic()));
      await this.#network?.flushed(Math.max(0, end - clock.monotonic()));
    } while (this.#subscriptions.busy);
  }

  /**
   * Stops accepting, waits up to `timeout` milliseconds for running handlers and for messages under way, aborts what takes
   * longer, and closes everything. Messages that still wait are dropped and counted. Twice is harmless.
   */
  close(options: WaitOptions = {}): Promise<void> {
    this.#closing ??= this.#close(waitOf('close()', options));
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #start(): Promise<void> {
    const network = this.#network;
    await this.#supervisor.add({ name: 'admin', stop: () => this.#store.close() });
    if (network !== undefined) {
      await this.#supervisor.add({ name: 'net', start: () => network.start(), stop: () => network.close() });
      await this.#supervisor.add({
        name: 'cluster',
        start: () => network.join(),
        stop: () => network.leave(Math.max(0, this.#closeBy - this.#options.clock.monotonic())),
      });
    }
    const group = await this.#supervisor.add({ name: 'subs' });
    this.#nursery = new Nursery({ supervisor: this.#supervisor, runtime: this.#runtime, group });
    this.#lifecycle.to('running');
  }

  async #close(timeout: number): Promise<void> {
    this.#lifecycle.to('closing');
    const { clock, flush } = this.#options;
    this.#closeBy = clock.monotonic() + timeout;
    try {
      await closeAll([
        () => this.#subscriptions.close(timeout),
        () => this.#supervisor.stop(),
        () => this.#runtime.close(),
        () => this.#publisher.close(),
      ]);
    } finally {
      this.#lifecycle.to('closed');
      flush();
    }
  }

  #group(): Nursery {
    if (this.#nursery === undefined) throw this.#notRunning();
    return this.#nursery;
  }

  #ask(node: string, method: string, params: unknown, timeout: number): Promise<unknown> {
    if (this.#network === undefined) {
      throw new BusError('NODE_UNREACHABLE', `this bus is in no cluster, so there is no node '${node}'`);
    }
    return this.#network.request(node, method, params, timeout);
  }

  async #answer(method: string, params: unknown): Promise<unknown> {
    if (method === 'status') return brief(this.#status());
    if (method === 'unsubscribe') {
      const { name, timeout } = (params ?? {}) as { name?: unknown; timeout?: unknown };
      checkName('subscription', name);
      await this.#subscriptions.remove(name, typeof timeout === 'number' ? timeout : 0);
      return undefined;
    }
    throw new BusError('PROTOCOL_ERROR', `node '${this.node}' knows no request ${describe(method)}`);
  }

  #status(): BusStatus {
    const { cluster, role, limits } = this.#options;
    const network = this.#network;
    const { leader, address } = network ?? {};
    return {
      node: this.node,
      incarnation: this.#incarnation,
      cluster,
      state: this.state,
      role,
      ...(address === undefined ? {} : { address }),
      ...(leader === undefined ? {} : { leader }),
      members: network?.members() ?? [],
      links: network?.links() ?? [],
      subscriptions: this.#subscriptions.status(),
      deadLetters: { size: this.#deadLetters.size, limit: limits.deadLetters },
      tree: this.#supervisor.status(),
    };
  }

  /** Something inside has failed for good: the node closes in order. */
  #failed(error: unknown, path: string): void {
    this.#options.logger.error({ actor: path, err: toError(error) }, 'a part failed for good: this node closes');
    this.close().catch((err: unknown) => this.#options.logger.error({ err }, 'this node did not close in order'));
  }

  #notRunning(): BusError {
    return new BusError('CLOSED', `the bus is ${this.state}`);
  }
}

/** What tests and the simulation put in the place of the real parts. */
export interface BusParts extends Parts {
  /** Makes the runtime of that name. */
  runtime?: (name: string) => Runtime;
}

/**
 * Opens a bus. Without options it lives in this process alone; with `leader: true` it leads a cluster; with the leader's
 * address it joins one, and resolves when it knows what everybody has subscribed.
 *
 * @throws {BusError} `OPTION_INVALID`, `NAME_INVALID`, `ADDRESS_IN_USE`, `NO_LEADER`, `NAME_TAKEN`, `HANDSHAKE_REFUSED`.
 */
export function createBus(options?: BusOptions): Promise<Bus> {
  return Bus.open(options);
}
