import { Part, SyncWaiters } from '../cluster/part.ts';
import { Registry } from '../cluster/registry.ts';
import { RegistryListeners } from '../cluster/registry-listeners.ts';
import { type Deferred, deferred } from '../core/async.ts';
import { BusError } from '../core/errors.ts';
import { originOf } from '../core/incarnation.ts';
import { Peers } from '../transport/peers.ts';
import type { Session } from '../transport/session.ts';
import type { DurableEntry, Epoch, PartChange, SubscriptionEntry } from '../wire/frame.ts';
import { Inboxes } from './inboxes.ts';
import { LeaderRole } from './leader-role.ts';
import { Link } from './link.ts';
import { MemberRole } from './member-role.ts';
import type { LinkStatus, MemberStatus } from './member-status.ts';
import type { NetworkHost } from './network-host.ts';
import { Lane } from './relay.ts';
import type { RemoteRoute } from './remote-route.ts';
import { RemoteRoutes } from './remote-routes.ts';
import { Requests } from './requests.ts';
import type { Role } from './role.ts';
import { Switchboard } from './switchboard.ts';

/** How long a node that closes waits for its answers to others, in milliseconds. */
const longestAnswer = 1000;

/** A node's place in a cluster: its links, what it knows of the others, and the streams of messages between them. */
export class Network {
  readonly #host: NetworkHost;
  readonly #peers: Peers;
  readonly #registry: Registry;
  readonly #role: Role;
  readonly #routes: RemoteRoutes;
  readonly #inboxes: Inboxes;
  readonly #requests: Requests;
  readonly #switchboard: Switchboard;
  readonly #part = new Part();
  readonly #sync = new SyncWaiters();
  /** By session, so that what a replaced link still says reaches nobody. */
  readonly #links = new Map<Session, Link>();
  readonly #lanes = new Map<Link, Lane>();
  #joining: Deferred<void> | undefined;
  #lastProblem: BusError | undefined;
  #address: string | undefined;
  #freshNumber = 1;
  #closing = false;

  constructor(host: NetworkHost) {
    this.#host = host;
    const { options, incarnation, events, log, router, admin, spools } = host;
    const { clock, node, cluster, secret, limits, liveness, redial, transport } = options;
    this.#inboxes = new Inboxes(clock);
    this.#requests = new Requests(clock, node);
    const ways = {
      path: (target: string) => this.#role.path(target),
      freshNumber: () => this.#freshNumber,
      usedNumbers: (below: number) => {
        this.#freshNumber = Math.max(this.#freshNumber, below);
      },
    };
    this.#routes = new RemoteRoutes({
      node,
      origin: originOf(incarnation),
      events,
      log,
      router,
      ...ways,
      dropped: (subscription, target, count, reason) =>
        events.emit({ type: 'message.dropped', subscription, node: target, count, reason }),
      gone: (target, life) => {
        this.#inboxes.retire(target, originOf(life));
        host.gone(target, life);
      },
      relinked: (target) => host.relinked(target),
      durable: {
        node,
        origin: originOf(incarnation),
        start: host.starts,
        clock,
        events,
        stored: host.stored,
        get storeError() {
          return admin.commits.error;
        },
        whenStoreOpen: (fn) => admin.commits.whenOpen(fn),
        path: ways.path,
        begun: new Set(),
        spool: (record, outbox) => spools.begin(record, outbox),
      },
      earlier: (mailbox) => spools.earlier(mailbox),
      abandoned: ({ id, lost = false }) => spools.abandon(id, lost),
      registered: (entry, before) => {
        this.#role.durableChanged(entry.name);
        host.registered(entry, before);
      },
    });
    this.#registry = new Registry(new RegistryListeners([this.#routes, ...host.listeners]));
    const synced = (version: number): void => this.#sync.reached(version);
    this.#role =
      options.role === 'leader'
        ? new LeaderRole({
            options,
            incarnation,
            registry: this.#registry,
            placements: host.placements,
            synced,
            told: (member, said) => host.told(member, said),
            settled: () => host.settled(),
          })
        : new MemberRole({
            options,
            events,
            registry: this.#registry,
            placements: host.placements,
            part: this.#part,
            synced,
            held: () => this.#onHeld(),
            giveUp: () => {
              for (const route of this.#routes) route.giveUp();
              host.forsaken();
            },
          });
    host.placements.onChange(({ name }) => this.#role.placementChanged(name));
    this.#switchboard = new Switchboard({
      node,
      incarnation,
      role: this.#role,
      requests: this.#requests,
      inboxes: this.#inboxes,
      handle: host.handle,
      lane: (link) => this.#lanes.get(link),
      subscriber: (mailbox) => host.subscriber(mailbox),
      mailbox: (id) => host.mailbox(id),
      consumer: (id) => host.consumer(id),
    });
    this.#peers = new Peers({
      clock,
      log,
      transport,
      identity: { cluster, node, incarnation, secret, maxFrame: limits.frame },
      liveness,
      redial,
      limits,
      epoch: () => this.#role.epoch,
      registryVersion: () => this.#role.version,
      admit: (hello) => this.#role.admit(hello),
      opened: (session, epoch) => this.#opened(session, epoch),
      frame: (session, body) => {
        const link = this.#links.get(session);
        if (link !== undefined) this.#switchboard.take(session, link, body);
      },
      idle: (session) => this.#links.get(session)?.idle(),
      writable: (session) => this.#links.get(session)?.writable(),
      closed: (session, reason) => this.#closed(session, reason),
      unreachable: (reason) => this.#unreachable(reason),
    });
  }

  /** The leader, as far as this node knows; the epoch is `<term>.<start>`. */
  get leader(): { node: string; epoch: string; linked: boolean } | undefined {
    const { leaderNode, epoch, linked } = this.#role;
    return leaderNode === undefined ? undefined : { node: leaderNode, epoch: `${epoch.term}.${epoch.start}`, linked };
  }

  /** The term of the leader that this node knows. */
  get term(): number {
    return this.#role.epoch.term;
  }

  /** Where this node listens, with the real port. */
  get address(): string | undefined {
    return this.#address;
  }

  /** Opens the listener, or begins to dial. */
  async start(): Promise<void> {
    const { listen, leader } = this.#host.options;
    if (listen !== undefined) this.#address = await this.#peers.listen(listen);
    if (leader === undefined) return;
    this.#joining = deferred();
    this.#joining.promise.catch(() => {}); // join() throws it; without one, close() has come first
    this.#peers.dial(leader);
  }

  /** Resolves when this node holds the registry. @throws {BusError} `NO_LEADER`, `NAME_TAKEN`, `HANDSHAKE_REFUSED`. */
  async join(): Promise<void> {
    const joining = this.#joining;
    if (joining === undefined) return;
    const { clock, joinTimeout } = this.#host.options;
    const timer = clock.timer(joinTimeout, () => {
      const problem = this.#lastProblem;
      const why = problem === undefined ? '' : `: ${problem.message}`;
      const code = problem?.code === 'NAME_TAKEN' ? 'NAME_TAKEN' : 'NO_LEADER';
      joining.reject(
        new BusError(code, `the leader could not be joined within ${joinTimeout} ms${why}`, { cause: problem }),
      );
    });
    try {
      await joining.promise;
    } finally {
      timer.cancel();
      this.#joining = undefined;
    }
  }

  /**
   * Tells the cluster what this node registers. Resolves when every member that is not suspect has applied it, or one of
   * them has not for as long as a silent node is given.
   */
  async announce(
    add: readonly SubscriptionEntry[],
    remove: readonly string[],
    durables: readonly DurableEntry[] = [],
  ): Promise<void> {
    for (const entry of durables) this.#registry.applyDurable(entry);
    const change = { add, remove, durables };
    const version = this.#part.change(change);
    for (const mailbox of remove) this.#inboxes.forget(mailbox);
    const applied = this.#sync.wait(version);
    if (!this.#role.announce(version, change)) this.#sync.reached(version);
    const { down } = this.#host.options.liveness;
    if (await this.#withinTime(down, applied)) return;
    this.#host.log.warn(
      { version },
      `a member has not applied a change of this node for ${down} ms: going on without it`,
    );
  }

  /** Tells the leader what this node can do, or what has become of its instances: now, or when it is back. */
  tell(said: Pick<PartChange, 'about' | 'instances'>): void {
    const change = { add: [], remove: [], durables: [], ...said };
    this.#role.announce(this.#part.change(change), change);
  }

  /** Nobody needs to hear of an instance any more. */
  forget(report: { readonly id: string; readonly instance: number }): void {
    this.#part.forget(report);
  }

  /** Asks another node. @throws {BusError} `NO_LEADER`, `NODE_UNREACHABLE`, `TIMEOUT`, or what it answers. */
  async request(target: string, method: string, params: unknown, timeout: number): Promise<unknown> {
    if (this.#closing) throw new BusError('CLOSED', 'this node has closed');
    const link = this.#role.way(target);
    if (link === undefined) {
      if (this.#role.linked) throw new BusError('NODE_UNREACHABLE', `there is no link to a node '${target}'`);
      throw new BusError('NO_LEADER', `'${method}' of node '${target}' goes through the leader, which is away`);
    }
    return this.#requests.ask(link, target, method, params, timeout);
  }

  /** Resolves when everything that was published has been confirmed by other nodes or given up. @throws {BusError} `TIMEOUT`. */
  async flushed(timeout: number): Promise<void> {
    const waiting = [...this.#routes].filter((route) => route.unconfirmed > 0);
    if (await this.#within(timeout, waiting)) return;
    throw new BusError('TIMEOUT', `messages to other nodes were not confirmed within ${timeout} ms`);
  }

  /** Says goodbye, after what can still be confirmed has been: at most `timeout` milliseconds. */
  async leave(timeout: number): Promise<void> {
    const waiting = [...this.#routes].filter((route) => route.unconfirmed > 0 && route.reachable);
    if (timeout > 0) await this.#within(timeout, waiting);
    await this.#withinTime(Math.min(timeout, longestAnswer), this.#requests.answered());
    for (const link of this.#links.values()) link.send({ type: 'leave' });
  }

  /** @returns whether the routes had nothing unconfirmed in time. */
  async #within(timeout: number, routes: readonly Pick<RemoteRoute, 'flushed'>[]): Promise<boolean> {
    if (routes.length === 0) return true;
    return this.#withinTime(timeout, Promise.all(routes.map((route) => route.flushed())));
  }

  /** @returns whether something was done in time. */
  async #withinTime(timeout: number, done: Promise<unknown>): Promise<boolean> {
    const late = deferred<boolean>();
    const timer = this.#host.options.clock.timer(timeout, () => late.resolve(false));
    const inTime = await Promise.race([done.then(() => true), late.promise]);
    timer.cancel();
    return inTime;
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.#joining?.reject(new BusError('CLOSED', 'the bus was closed while it joined'));
    await this.#peers.close();
    this.#role.close();
    for (const route of this.#routes) route.close();
    this.#inboxes.close();
    this.#requests.close();
    this.#sync.reached(Number.POSITIVE_INFINITY);
  }

  /** What is known of durable subscriptions. */
  get registry(): Pick<Registry, 'durable' | 'durableEntry' | 'durables' | 'applyDurable' | 'get' | 'members'> {
    return this.#registry;
  }

  /** Whether every durable subscription is known that anybody in reach knows. */
  get settled(): boolean {
    return this.#role.settled;
  }

  /** The link over which a node is reached now. */
  path(node: string): Link | undefined {
    return this.#role.path(node);
  }

  members(): MemberStatus[] {
    const { options, incarnation } = this.#host;
    const { node } = options;
    const { leaderNode } = this.#role;
    const subscriptions = this.#part.entries.length;
    const list: MemberStatus[] = [
      { node, incarnation, leader: node === leaderNode, state: 'alive', reachable: true, subscriptions },
    ];
    for (const member of this.#registry.members) {
      if (member.node === node) continue;
      list.push({
        node: member.node,
        incarnation: member.incarnation,
        leader: member.node === leaderNode,
        state: member.state,
        reachable: this.#role.path(member.node) !== undefined,
        subscriptions: member.subscriptions.size,
      });
    }
    return list;
  }

  links(): LinkStatus[] {
    return [...this.#links.values()].map(({ node, session, streams }) => ({
      node,
      remote: session.remote,
      sent: session.bytes.sent,
      received: session.bytes.received,
      streams,
    }));
  }

  // Links

  #opened(session: Session, epoch: Epoch): void {
    const link = new Link(session, {
      clock: this.#host.options.clock,
      receiver: (on, frame) => this.#switchboard.receiver(on, frame),
      slow: ({ node }, waiting) => this.#host.events.emit({ type: 'link.slow', node, waiting }),
    });
    this.#links.set(session, link);
    this.#lanes.set(link, new Lane());
    this.#role.opened(session, link, epoch);
  }

  #closed(session: Session, reason: BusError): void {
    const link = this.#links.get(session);
    if (link === undefined) return;
    this.#links.delete(session);
    this.#lanes.delete(link);
    link.close();
    this.#requests.lost(link);
    if (!this.#closing) this.#role.closed(session, link, session.silence, reason);
  }

  #unreachable(reason: BusError): void {
    this.#lastProblem = reason;
    const final = reason.code === 'HANDSHAKE_REFUSED' || reason.code === 'PROTOCOL_ERROR';
    const { log } = this.#host;
    if (this.#joining !== undefined && final) this.#joining.reject(reason);
    // A node with a store starts from the registry that it knew last.
    else if (this.#joining !== undefined && this.#host.starts > 1 && reason.code === 'NODE_UNREACHABLE')
      this.#joining.resolve();
    else if (final || reason.code === 'NAME_TAKEN')
      log.warn({ err: reason }, 'the leader refuses this node; trying again');
    else log.debug({ err: reason }, 'the leader cannot be reached; trying again');
  }

  #onHeld(): void {
    this.#joining?.resolve();
    for (const { node } of this.#registry.members) this.#routes.relink(node);
  }
}
