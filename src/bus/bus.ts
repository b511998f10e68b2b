import type { DeadLetterBox } from '../actors/dead-letters.ts';
import { createRuntime } from '../actors/runtime.ts';
import type { Handler } from '../actors/subscriber-options.ts';
import { checkKnown, checkObject } from '../core/checks.ts';
import { BusError, describe, type Receipt } from '../core/errors.ts';
import { type BusEvent, type EventListener, type EventOf, type EventType, eventTypes } from '../core/events.ts';
import { newIncarnation } from '../core/incarnation.ts';
import type { BusState } from '../core/lifecycle.ts';
import { checkName } from '../core/topic.ts';
import type { Kinds } from '../hosting/kinds.ts';
import type { PatternInput } from '../routing/pattern.ts';
import type { Destination, PayloadFor, Topic } from '../routing/typed-topic.ts';
import type { Capabilities } from '../wire/placement-entry.ts';
import type { BusParts } from './bus-parts.ts';
import { configured } from './configured.ts';
import { Consumption } from './consuming/consumption.ts';
import type { Front, ReceivedDelivery } from './consuming/receiving.ts';
import { type Subscription, type UnsubscribeOptions, type WaitOptions, waitOf } from './consuming/subscription.ts';
import { subscribeAll } from './decorators.ts';
import { RemoteDeadLetters } from './durable/dead-letter-requests.ts';
import type { MailboxControl } from './durable/mailbox-control.ts';
import { openStore } from './durable/opened-store.ts';
import { type BackupResult, backUp } from './durable/store-source.ts';
import { modelEvent } from './model-event.ts';
import type { BusOptions } from './options/options.ts';
import type { EmitOptions, PublishOptions } from './options/publish-options.ts';
import type { FrontOptions, ReceiveOptions } from './options/receive-options.ts';
import type { SpawnOptions } from './options/spawn-options.ts';
import type { SubscriptionOptions } from './options/subscription-options.ts';
import type { NodeVerdict, Placement } from './placement/placement.ts';
import type { PlacementControl } from './placement/placement-control.ts';
import { type Explanation, explained } from './routes/explaining.ts';
import type { OutgoingFor } from './routes/publisher.ts';
import { joinFolder } from './shared-joining.ts';
import type { BusStatus } from './status.ts';
import { unsubscribe } from './unsubscribing.ts';
import type { FollowListener, FollowOptions } from './watching/following.ts';
import type { WatchListener, WatchTarget } from './watching/watching.ts';
import { Wiring } from './wiring.ts';

/** How long another node may take to answer a control request, in milliseconds. */
const requestTimeout = 10_000;
/** How long it may take to copy its store. */
const backupTime = 600_000;

/** A message bus in this process: alone, or as a node of a cluster. Made by {@link createBus}. */
export class Bus implements AsyncDisposable {
  readonly #wiring: Wiring;

  private constructor(wiring: Wiring) {
    this.#wiring = wiring;
  }

  /** @internal */
  static async open(given: BusOptions | undefined, parts: BusParts = {}): Promise<Bus> {
    const { options: asked, subscriptions } = await configured(given);
    const { shared, ...joined } = await joinFolder(asked, parts, Bus.open);
    const opened = await openStore(joined.options, joined.parts);
    const { options, starts } = opened;
    const { clock, node, logger } = options;
    const incarnation = newIncarnation(clock, starts);
    const name = `${node}.${incarnation}`;
    const runtime = parts.runtime?.(name) ?? createRuntime({ name, log: logger });
    const bus = new Bus(new Wiring(options, runtime, incarnation, opened, shared));
    try {
      await bus.#wiring.start();
      for (const definition of subscriptions) await bus.mailboxes.add(definition);
    } catch (error) {
      await bus.close({ timeout: 0 });
      throw error;
    }
    return bus;
  }

  /** This node's name. */
  get node(): string {
    return this.#wiring.options.node;
  }

  /** Where a leader listens, with the real port. */
  get address(): string | undefined {
    return this.#wiring.network?.address;
  }

  get state(): BusState {
    return this.#wiring.lifecycle.state;
  }

  /** The durable mailboxes of the cluster, to be looked into and looked after. */
  get mailboxes(): MailboxControl {
    return this.#wiring.mailboxes;
  }

  /** The kinds of handler actors that this node can run. */
  get handlers(): Kinds {
    return this.#wiring.placing.kinds;
  }

  /** The handler actors of the cluster. */
  get placements(): PlacementControl {
    return this.#wiring.placements;
  }

  /** What this node can do, for placements that ask for it. */
  get capabilities(): Capabilities {
    return this.#wiring.placing.capabilities;
  }

  /**
   * Says what this node can do from now on: instances that no longer fit move away, and what waits for it starts.
   *
   * @throws {BusError} `OPTION_INVALID`, `NAME_INVALID`, `CLOSED`.
   */
  set capabilities(capabilities: Capabilities) {
    this.#wiring.check();
    this.#wiring.placing.capabilities = capabilities;
  }

  /**
   * Has a handler actor of a kind run where it may, and go on running: when its node leaves, goes down or can do it no more,
   * it starts elsewhere. Resolves when every instance has started.
   *
   * A named one stays until it is stopped, and is found again by `placements.get()` on every node: asking for the same once
   * more is harmless. One without a name ends with this node.
   *
   * @throws {BusError} `UNPLACEABLE` with `error.reasons`, `NAME_TAKEN`, `NO_LEADER`, `TIMEOUT`, `OPTION_INVALID`: then nothing
   *   of it is left running.
   */
  async spawn(kind: string, options: SpawnOptions = {}): Promise<Placement> {
    this.#wiring.check();
    return this.#wiring.spawning.spawn(kind, options);
  }

  /**
   * Says of each node whether one more instance could start there now, and if not, why.
   *
   * @throws {BusError} `NO_LEADER`, `TIMEOUT`, and as `spawn()` for what cannot be meant.
   */
  async explainPlacement(kind: string, options: SpawnOptions = {}): Promise<NodeVerdict[]> {
    this.#wiring.check();
    return this.#wiring.spawning.explain(kind, options);
  }

  /** The messages that were given up on this node. */
  get deadLetters(): DeadLetterBox {
    return this.#wiring.storehouse.deadLetters;
  }

  /** The messages that were given up on a node of the cluster. Its calls throw `NODE_UNREACHABLE` and `TIMEOUT` beside their own. */
  deadLettersOf(node: string): DeadLetterBox {
    checkName('node', node);
    if (node === this.node) return this.deadLetters;
    return new RemoteDeadLetters(async (method, params, timeout) => this.#wiring.ask(node, method, params, timeout));
  }

  /**
   * Copies the store of a node, which goes on meanwhile, to `backups/<name>` in its data folder: a data folder itself.
   *
   * @returns where it lies, on that node.
   * @throws {BusError} `STORE_REQUIRED`, `NAME_INVALID`, `OPTION_INVALID` when there is one of that name; `STORE_FULL`.
   */
  async backup(name: string, options: { node?: string } = {}): Promise<BackupResult> {
    checkObject('backup()', options);
    checkKnown('backup()', options, ['node']);
    checkName('backup', name);
    const { node = this.node } = options;
    checkName('node', node);
    if (node !== this.node) return (await this.#wiring.ask(node, 'store.backup', { name }, backupTime)) as BackupResult;
    return backUp(this.#wiring.storehouse.admin.commits.store, this.#wiring.options.dataDir, name);
  }

  /**
   * Sends a message without waiting for anything.
   *
   * @returns true when every matching mailbox, or the way to it, took the message, or nothing matched; false, and no
   *   mailbox has it, when one is full.
   * @param topic a string, or a `topic()`, whose schema the payload has to fit.
   * @throws {BusError} `TOPIC_INVALID`, `PAYLOAD_INVALID`, `PAYLOAD_TOO_LARGE`, `OPTION_INVALID`, `CLOSED`.
   */
  emit<D extends Destination>(topic: D, payload: PayloadFor<D>, options?: EmitOptions): boolean {
    this.#wiring.check();
    return this.#wiring.publisher.emit(topic, payload, options);
  }

  /**
   * Sends a message. Resolves when every matching mailbox that can be reached has accepted it; never waits for a handler.
   *
   * @throws {BusError} as `emit`; and `NO_SUBSCRIBERS`, `MAILBOX_FULL`, `TIMEOUT`, `ABORTED`, with `error.receipt` saying
   *   what was matched and `error.failures` which routes did not take it.
   */
  publish<D extends Destination>(topic: D, payload: PayloadFor<D>, options?: PublishOptions): Promise<Receipt> {
    try {
      this.#wiring.check();
      return this.#wiring.publisher.publish(topic, payload, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Sends many messages, in order. Every message is checked before the first is sent.
   *
   * @throws {BusError} as `publish`; when some messages failed, `error.results` says what became of each.
   */
  async publishMany<const D extends readonly Destination[]>(messages: OutgoingFor<D>): Promise<Receipt[]> {
    this.#wiring.check();
    return this.#wiring.publisher.publishMany(messages);
  }

  /**
   * Publishes what has happened to a model on `<Model>.<event>`, as `Booking.updated`, with the headers `model` and `event`.
   *
   * @throws {BusError} as `publish`.
   */
  async publishModelEvent(model: string, event: string, obj: object, options?: PublishOptions): Promise<Receipt> {
    const { topic, options: given } = modelEvent(model, event, options);
    return this.publish(topic, obj, given);
  }

  /**
   * Has `handler` called with every message whose topic matches, from anywhere in the cluster. Resolves when every node
   * that can be reached knows of it.
   *
   * @param pattern a regular expression that must match the whole topic, as a string; a RegExp, which is searched; a
   *   `wildcard()`; or a `topic()`, whose schema says what the handler gets.
   * @param handler null only collects, which durable subscriptions can.
   * @throws {BusError} `PATTERN_INVALID`, `OPTION_INVALID`, `NAME_INVALID`, `NAME_TAKEN`, `STORE_REQUIRED`, `CLOSED`.
   */
  async subscribe<T = unknown>(
    pattern: PatternInput | Topic<unknown, T>,
    handler: Handler<T> | null,
    options?: SubscriptionOptions<T>,
  ): Promise<Subscription> {
    this.#wiring.check();
    return this.#wiring.subscriptions.create(pattern, handler as Handler | null, options);
  }

  /**
   * Subscribes and hands out deliveries to whoever iterates, at most `concurrency` unsettled ones at a time. The
   * subscription begins with this call; `ready` resolves when it stands. Leaving the loop closes it.
   */
  consume<T = unknown>(pattern: PatternInput | Topic<unknown, T>, options?: SubscriptionOptions<T>): Consumption<T> {
    return new Consumption<T>((handler) => this.subscribe(pattern, handler, options));
  }

  /**
   * Takes one message of a durable subscription: to be settled by whoever asked. With a handler, it is acknowledged when
   * that returns, and failed when that throws. Many may ask at a time; each message goes to one of them.
   *
   * @returns null when nothing came in time; with a handler, whether something did.
   * @throws {BusError} `NOT_FOUND`, naming the nearest one that exists; `NODE_UNREACHABLE` when its time is up and the home of the
   *   subscription cannot be asked; `ABORTED`, `OPTION_INVALID`, `CLOSED`.
   */
  receive<T = unknown>(name: string, options?: ReceiveOptions<T>): Promise<ReceivedDelivery<T> | null>;
  receive<T = unknown>(name: string, options: ReceiveOptions<T>, handler: Handler<T>): Promise<boolean>;
  async receive(name: string, options?: ReceiveOptions, handler?: Handler): Promise<unknown> {
    this.#wiring.check();
    return this.#wiring.receiving.receive('receive()', name, options, handler);
  }

  /**
   * Takes the newest message of a durable subscription, as `receive()` does, and settles the older ones that wait in it:
   * they are dropped, counted as superseded. What runs elsewhere is left alone, and so is what is delayed.
   */
  receiveLatest<T = unknown>(name: string, options?: ReceiveOptions<T>): Promise<ReceivedDelivery<T> | null>;
  receiveLatest<T = unknown>(name: string, options: ReceiveOptions<T>, handler: Handler<T>): Promise<boolean>;
  async receiveLatest(name: string, options?: ReceiveOptions, handler?: Handler): Promise<unknown> {
    this.#wiring.check();
    return this.#wiring.receiving.receive('receiveLatest()', name, options, handler);
  }

  /**
   * Looks at the message of a durable subscription that would be taken next, without taking it; null when none waits.
   *
   * @throws {BusError} as `receive()`; `PAYLOAD_INVALID` when it does not fit the `schema`.
   */
  async front<T = unknown>(name: string, options?: FrontOptions<T>): Promise<Front<T> | null> {
    this.#wiring.check();
    return (await this.#wiring.receiving.front(name, options)) as Front<T> | null; // what was published is the caller's to know
  }

  /** Subscribes every method of an instance that is marked with `@subscribe`: all of them, or none. */
  async register(instance: object): Promise<Subscription[]> {
    return subscribeAll(instance, (pattern, handler, options, suggested) => {
      this.#wiring.check();
      return this.#wiring.subscriptions.create(pattern, handler, options, { suggested });
    });
  }

  /**
   * Removes a subscription: of this node, or of another one.
   *
   * @throws {BusError} `NOT_FOUND`, `NO_LEADER`, `NODE_UNREACHABLE`, `TIMEOUT`, `CLOSED`.
   */
  async unsubscribe(name: string, options: UnsubscribeOptions = {}): Promise<void> {
    await unsubscribe(this.#wiring, name, options);
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
    return this.#wiring.events.on(type, listener as EventListener);
  }

  /**
   * Hears what the nodes of the cluster tell of themselves: everything, or some types, or one node. Resolves when each node
   * that answers is followed. @returns a function that ends it.
   *
   * @throws {BusError} `OPTION_INVALID`, `NAME_INVALID`, `CLOSED`; of one `node` also `NODE_UNREACHABLE`, `NO_LEADER`, `TIMEOUT`.
   */
  async follow(listener: FollowListener, options: FollowOptions = {}): Promise<() => void> {
    this.#wiring.check();
    return this.#wiring.follow(listener, options);
  }

  /**
   * Watches a node, a placement or a subscription: tells at once how it is, also when it is gone already, and then whenever
   * that is another one. @returns a function that ends the watching.
   *
   * @throws {BusError} `OPTION_INVALID`, `NAME_INVALID`, `CLOSED`.
   */
  watch(target: WatchTarget, listener: WatchListener): () => void {
    this.#wiring.check();
    return this.#wiring.watching.watch(target, listener);
  }

  /** The subscriptions, anywhere in the cluster, that a message on this topic would go to. @throws {BusError} `TOPIC_INVALID`. */
  explain(topic: string): Explanation {
    return explained(topic, this.#wiring.router.match(topic), this.#wiring.network);
  }

  /** This node, or another one as it sees itself. @throws {BusError} `NO_LEADER`, `NODE_UNREACHABLE`, `TIMEOUT`. */
  async status(options: { node?: string } = {}): Promise<BusStatus> {
    checkObject('status()', options);
    checkKnown('status()', options, ['node']);
    const { node } = options;
    if (node !== undefined && node !== this.node) {
      checkName('node', node);
      return (await this.#wiring.ask(node, 'status', {}, requestTimeout)) as BusStatus; // the other node's own status()
    }
    return this.#wiring.status();
  }

  /**
   * Has another node lead from now on, under a higher term: one that listens. The present leader hands over to it; when that is
   * away, only the node itself can be told: by this method there, or by `createBus({ leader: <its address>, promote: <its
   * name> })`. The old leader follows when it is back. Resolves when this node has found the new one.
   *
   * @throws {BusError} `OPTION_INVALID` when it does not listen, `NODE_UNREACHABLE`, `NO_LEADER`, `TIMEOUT`.
   */
  async promote(node: string, options: WaitOptions = {}): Promise<void> {
    this.#wiring.check();
    checkName('node', node);
    await this.#wiring.promotion.promote(node, waitOf('promote()', options));
  }

  /** Resolves when nothing waits, runs or is under way to another node, on this node. @throws {BusError} `TIMEOUT`. */
  async drain(options: WaitOptions = {}): Promise<void> {
    const { clock } = this.#wiring.options;
    const end = clock.monotonic() + waitOf('drain()', options);
    do {
      await this.#wiring.subscriptions.drain(Math.max(0, end - clock.monotonic()));
      await this.#wiring.storehouse.durables.drain(Math.max(0, end - clock.monotonic()));
      await this.#wiring.network?.flushed(Math.max(0, end - clock.monotonic()));
    } while (this.#wiring.subscriptions.busy || this.#wiring.storehouse.durables.busy);
  }

  /**
   * Stops accepting, waits up to `timeout` milliseconds for running handlers and for messages under way, aborts what takes
   * longer, and closes everything. Messages that still wait are dropped and counted. Twice is harmless.
   */
  close(options: WaitOptions = {}): Promise<void> {
    return this.#wiring.close(waitOf('close()', options));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
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
