import { Nursery } from '../actors/nursery.ts';
import type { Runtime } from '../actors/runtime.ts';
import type { Handler } from '../actors/subscriber-options.ts';
import { Supervisor } from '../actors/supervisor.ts';
import { keyOf } from '../cluster/assignments.ts';
import { closeAll } from '../core/async.ts';
import { BusError, toError } from '../core/errors.ts';
import type { BusEvent, EventHub } from '../core/events.ts';
import { originOf } from '../core/incarnation.ts';
import { type BusState, busTransitions, Lifecycle } from '../core/lifecycle.ts';
import { within } from '../core/within.ts';
import type { Feed, Identity } from '../hosting/instance.ts';
import { patternFromWire } from '../routing/pattern.ts';
import { Router } from '../routing/router.ts';
import type { PlacementEntry } from '../wire/placement-entry.ts';
import { answerRequest } from './answering.ts';
import { patient } from './consuming/patience.ts';
import { Receiving } from './consuming/receiving.ts';
import { MailboxControl } from './durable/mailbox-control.ts';
import type { OpenedStore } from './durable/opened-store.ts';
import { Storehouse } from './durable/storehouse.ts';
import { Network } from './network/network.ts';
import { Promotion } from './network/promotion.ts';
import { registryLimits } from './network/registry-allowance.ts';
import type { WirePattern } from './options/definition.ts';
import type { ResolvedOptions } from './options/options.ts';
import { MessageFactory } from './options/publish-options.ts';
import { PlacementControl } from './placement/placement-control.ts';
import { Placing } from './placement/placing.ts';
import { Spawning } from './placement/spawning.ts';
import { Groups } from './routes/groups.ts';
import { Publisher } from './routes/publisher.ts';
import type { Route } from './routes/route.ts';
import type { SharedFolder } from './shared/shared-folder.ts';
import { type BusStatus, statusOf } from './status.ts';
import { Subscriptions } from './subscriptions.ts';
import { EventFeed } from './watching/event-feed.ts';
import { Following, type FollowListener, type FollowOptions } from './watching/following.ts';
import { Watching } from './watching/watching.ts';

/** The parts of a bus, how they are put together, and in which order they start and stop. */
export class Wiring {
  readonly options: ResolvedOptions;
  readonly incarnation: string;
  readonly lifecycle = new Lifecycle<BusState>('bus', busTransitions, 'starting');
  readonly events: EventHub;
  readonly router = new Router<Route>();
  readonly #groups = new Groups(this.router);
  readonly publisher: Publisher;
  readonly subscriptions: Subscriptions;
  readonly storehouse: Storehouse;
  readonly network: Network | undefined;
  readonly receiving: Receiving;
  readonly placing: Placing;
  readonly spawning: Spawning;
  readonly placements: PlacementControl;
  readonly watching: Watching;
  readonly feed: EventFeed;
  readonly promotion: Promotion;
  readonly mailboxes: MailboxControl;
  readonly #runtime: Runtime;
  readonly #supervisor: Supervisor;
  #nursery: Nursery | undefined;
  /** Made for the first handler actor. */
  #actors: Promise<Nursery> | undefined;
  #closing: Promise<void> | undefined;
  #closeBy = 0;
  readonly #opened: OpenedStore;
  readonly #shared: SharedFolder | undefined;

  constructor(
    options: ResolvedOptions,
    runtime: Runtime,
    incarnation: string,
    opened: OpenedStore,
    shared?: SharedFolder,
  ) {
    const { clock, logger: log, node, limits, role } = options;
    this.options = options;
    this.incarnation = incarnation;
    this.#runtime = runtime;
    this.events = opened.events;
    this.#opened = opened;
    this.#shared = shared;
    this.#supervisor = new Supervisor({ runtime, clock, log, giveUp: (error, path) => this.#failed(error, path) });
    const factory = new MessageFactory(clock, node, originOf(incarnation), limits.payload);
    this.publisher = new Publisher(clock, this.router, factory, () => this.check());
    this.placing = new Placing({
      options,
      incarnation,
      events: this.events,
      employ: async (spec) => (await this.#user()).add(spec),
      feed: (entry, identity, handler) => this.#feed(entry, identity, handler),
      publish: (topic, payload, given) => this.publisher.publish(topic, payload, given),
      kept: () => this.storehouse.kept(),
    });
    this.storehouse = new Storehouse({
      opened,
      incarnation,
      router: this.router,
      publisher: this.publisher,
      placements: this.placing.table,
      nursery: () => this.#group(this.#nursery),
      replayTo: (subscription) => this.subscriptions.replayTo(subscription),
    });
    const { deadLetters, durables, admin, spools } = this.storehouse;
    this.subscriptions = new Subscriptions({
      node,
      incarnation,
      clock,
      log,
      events: this.events,
      groups: this.#groups,
      service: options.service,
      deadLetters,
      durables,
      publisher: this.publisher,
      nursery: () => this.#group(this.#nursery),
      most: role === 'alone' ? Number.POSITIVE_INFINITY : registryLimits.subscriptions,
      announce: async (add, remove) => this.network?.announce(add, remove),
    });
    this.mailboxes = new MailboxControl({
      node,
      durability: options.durability,
      clock,
      mailboxes: this.storehouse.mailboxes,
      durables,
      entries: () => this.network?.registry.durables ?? [],
      checkOpen: () => this.checkOpen(),
      ask: async (target, method, params, timeout) => this.ask(target, method, params, timeout),
    });
    this.receiving = new Receiving({ clock, source: (name) => this.mailboxes.source(name) });
    this.spawning = new Spawning({
      node,
      incarnation,
      durability: options.durability,
      clock,
      log,
      placing: this.placing,
      durables,
      leader: () => {
        if (role === 'alone') return node;
        const leader = this.network?.leader;
        return leader?.linked === true ? leader.node : undefined;
      },
      ask: async (target, method, params, timeout) => this.ask(target, method, params, timeout),
      told: async (timeout) => {
        if (this.network !== undefined) await within(clock, timeout, this.network.announce([], []));
      },
    });
    this.placements = new PlacementControl(this.spawning, this);
    this.promotion = new Promotion({ node, clock, network: () => this.network });
    this.watching = new Watching({
      node,
      incarnation,
      clock,
      log,
      table: this.placing.table,
      registry: () => this.network?.registry,
      fullName: (name) => durables.fullName(name),
      subscribed: (name) =>
        this.subscriptions.has(name) || this.storehouse.mailboxes.get(durables.fullName(name)) !== undefined,
    });
    this.feed = new EventFeed(clock, this.events, incarnation);
    this.events.on('*', (event) => this.#hear(event));
    if (role !== 'alone') {
      this.network = new Network({
        options,
        incarnation,
        events: this.events,
        log,
        router: this.router,
        groups: this.#groups,
        admin,
        spools,
        stored: opened.lasting,
        starts: opened.starts,
        subscriber: (mailbox) => this.subscriptions.byMailbox(mailbox),
        mailbox: (id) => this.storehouse.mailbox(id),
        consumer: (id) => this.storehouse.consumer(id),
        registered: (entry, before) => this.storehouse.registered(entry, before),
        relinked: (target) => this.storehouse.relinked(target),
        gone: (target, life) => this.storehouse.gone(target, life),
        handle: (method, params, source) => answerRequest(this, method, params, source),
        placements: this.placing.table,
        listeners: [this.placing, this.watching],
        told: (member, said) => this.placing.told(member, said),
        settled: () => this.placing.placements.settle(),
        term: opened.term,
        leading: (leadership) => {
          this.storehouse.leading(leadership);
          this.placing.leading(leadership.leads);
        },
        forsaken: () => this.placing.hosting.yield(),
      });
    }
  }

  /** Starts everything, in order. */
  async start(): Promise<void> {
    const { network } = this;
    const opened = this.#opened;
    await this.#supervisor.add({
      name: 'admin',
      start: async () => {
        await this.storehouse.open(network);
        this.placing.start(network, opened.lasting && opened.starts === 1);
      },
      stop: () => this.storehouse.close(),
    });
    if (network !== undefined) {
      await this.#supervisor.add({ name: 'net', start: () => network.start(), stop: () => network.close() });
      await this.#supervisor.add({
        name: 'cluster',
        start: () => network.join(),
        stop: () => {
          this.feed.close();
          return network.leave(Math.max(0, this.#closeBy - this.options.clock.monotonic()));
        },
      });
    }
    const group = await this.#supervisor.add({ name: 'subs' });
    this.#nursery = new Nursery({ supervisor: this.#supervisor, runtime: this.#runtime, group });
    this.lifecycle.to('running');
    this.placing.open();
  }

  /** Stops everything, in reverse. Twice is harmless. */
  close(timeout: number): Promise<void> {
    this.#closing ??= this.#close(timeout);
    return this.#closing;
  }

  /** @throws {BusError} `CLOSED` unless the bus is running. */
  check(): void {
    if (this.lifecycle.state !== 'running') throw new BusError('CLOSED', `the bus is ${this.lifecycle.state}`);
  }

  /** For what may still be done while the bus closes. @throws {BusError} `CLOSED` when it has closed. */
  checkOpen(): void {
    if (this.lifecycle.state === 'closed') throw new BusError('CLOSED', 'the bus is closed');
  }

  /** Asks another node. @throws {BusError} `CLOSED`, `NODE_UNREACHABLE`, `NO_LEADER`, `TIMEOUT`, or what it answers. */
  ask(node: string, method: string, params: unknown, timeout: number): Promise<unknown> {
    this.checkOpen();
    if (this.network === undefined) {
      throw new BusError('NODE_UNREACHABLE', `this bus is in no cluster, so there is no node '${node}'`);
    }
    const { network } = this;
    if (this.options.sharing !== 'member') return network.request(node, method, params, timeout);
    // It is asked once, since it need not be harmless twice; but not before somebody serves the folder.
    const served = async (left: number): Promise<number> => {
      if (network.leader?.linked === true) return left;
      throw new BusError('NO_LEADER', `'${method}' of node '${node}' found nobody who serves the shared folder`);
    };
    return patient(this.options.clock)(timeout, served).then((left) => network.request(node, method, params, left));
  }

  /** Hears the events of other nodes. @returns what ends it. */
  follow(listener: FollowListener, options: FollowOptions): Promise<() => void> {
    const { node, clock, logger: log } = this.options;
    const { events, network } = this;
    return Following.begin(
      {
        ...{ node, clock, log, events },
        others: () =>
          [...(network?.registry.members ?? [])].map((member) => member.node).filter((each) => each !== node),
        over: () => this.lifecycle.state !== 'running',
        ask: async (target, method, params, timeout) => this.ask(target, method, params, timeout),
      },
      listener,
      options,
    );
  }

  /** This node at a glance. */
  status(): BusStatus {
    return statusOf({
      options: this.options,
      incarnation: this.incarnation,
      state: this.lifecycle.state,
      network: this.network,
      subscriptions: this.subscriptions.status(),
      storehouse: this.storehouse,
      gaps: this.#opened.gaps(),
      shared: this.#shared?.status,
      tree: this.#supervisor.status(),
    });
  }

  async #close(timeout: number): Promise<void> {
    this.lifecycle.to('closing');
    const { clock, flush } = this.options;
    const shared = this.#shared;
    this.#closeBy = clock.monotonic() + timeout;
    try {
      await closeAll([
        ...(this.spawning.asking ? [() => this.spawning.close(Math.min(timeout, 1000))] : []),
        ...(this.placing.leaving() ? [() => this.placing.leave(timeout)] : []),
        () =>
          Promise.all([
            this.subscriptions.close(timeout),
            this.storehouse.durables.close(timeout),
            this.receiving.close(timeout),
          ]),
        () => this.placing.close(),
        () => this.#supervisor.stop(),
        () => this.#runtime.close(),
        () => this.publisher.close(),
        ...(shared === undefined ? [] : [() => shared.close()]),
      ]);
    } finally {
      this.lifecycle.to('closed');
      await flush();
    }
  }

  /** What happens concerns parts of the bus, too. */
  #hear(event: BusEvent): void {
    switch (event.type) {
      case 'leader.found':
        this.spawning.found();
        return;
      case 'subscription.added':
      case 'subscription.removed':
        this.watching.subscriptionChanged(event.subscription);
        return;
      case 'node.joined':
      case 'node.suspect':
      case 'node.down':
      case 'node.left': {
        const { type, ...about } = event;
        this.publisher.announce(`$sys.${type}`, about, this.options.node);
        return;
      }
      default:
    }
  }

  #user(): Promise<Nursery> {
    this.#actors ??= this.#supervisor
      .add({ name: 'user' })
      .then((group) => new Nursery({ supervisor: this.#supervisor, runtime: this.#runtime, group }));
    return this.#actors;
  }

  #group(nursery: Nursery | undefined): Nursery {
    if (nursery === undefined) throw new BusError('CLOSED', `the bus is ${this.lifecycle.state}`);
    return nursery;
  }

  /** Subscribes an instance of a handler actor to what its placement is for. */
  async #feed({ id, name, spec }: PlacementEntry, identity: Identity, handler: Handler): Promise<Feed> {
    const { instance, generation } = identity;
    const pattern = patternFromWire(spec.pattern as WirePattern); // instances without one have no feed
    const { durable } = spec;
    const options = durable === undefined ? { name: `${name}.${instance}` } : { name: durable, durable: true };
    const fence = { key: keyOf(id, instance), generation };
    // In memory several instances share their messages as a group, under a name that no service can have.
    const group = durable === undefined && spec.instances > 1 ? `$spawn/${name}` : undefined;
    const given = { ...spec.options, ...options };
    const subscription = await this.subscriptions.create(pattern, handler, given, { fence, group });
    return {
      pause: () => subscription.pause(),
      resume: () => subscription.resume(),
      close: (timeout) => subscription.close({ timeout }),
    };
  }

  /** Something inside has failed for good: the node closes in order. */
  #failed(error: unknown, path: string): void {
    this.options.logger.error({ actor: path, err: toError(error) }, 'a part failed for good: this node closes');
    this.close(30_000).catch((err: unknown) => this.options.logger.error({ err }, 'this node did not close in order'));
  }
}
