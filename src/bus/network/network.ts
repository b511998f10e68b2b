import { Registry } from '../../cluster/registry.ts';
import { RegistryListeners } from '../../cluster/registry-listeners.ts';
import { BusError } from '../../core/errors.ts';
import { within } from '../../core/within.ts';
import { Peers } from '../../transport/peers.ts';
import type { Refusal, Session } from '../../transport/session.ts';
import type { DurableEntry, Epoch, Hello, PartChange, SubscriptionEntry } from '../../wire/frame.ts';
import { RemoteRoutes } from '../routes/remote-routes.ts';
import { Gate } from '../streams/gate.ts';
import { Inboxes } from '../streams/inboxes.ts';
import type { Link } from '../streams/link.ts';
import { Refusals } from '../streams/refusals.ts';
import { DirectLinks } from './direct-links.ts';
import { Joining } from './joining.ts';
import { LeaderRole } from './leader-role.ts';
import { Links } from './links.ts';
import { MemberRole } from './member-role.ts';
import { type LinkStatus, linkStatus, type MemberStatus, memberStatus } from './member-status.ts';
import type { NetworkHost } from './network-host.ts';
import { OwnPart } from './own-part.ts';
import { Requests } from './requests.ts';
import type { Role } from './role.ts';
import { routesHost } from './routes-host.ts';
import { dialable, Succession } from './succession.ts';
import { Switchboard } from './switchboard.ts';

/** How long a node that closes waits for its answers to others, in milliseconds. */
const longestAnswer = 1000;

/** A node's place in a cluster: its links, what it knows of the others, and the streams of messages between them. */
export class Network {
  readonly #host: NetworkHost;
  readonly #peers: Peers;
  readonly #registry: Registry;
  readonly #succession: Succession;
  #role: Role;
  readonly #routes: RemoteRoutes;
  readonly #inboxes: Inboxes;
  readonly #requests: Requests;
  readonly #switchboard: Switchboard;
  readonly #part: OwnPart;
  readonly #links: Links;
  readonly #joining: Joining;
  readonly #direct: DirectLinks;
  /** What was refused to others since the start. */
  readonly refusals: Refusals;
  /** Holds other nodes to the rules, where there are any. */
  readonly gate: Gate | undefined;
  #address: string | undefined;
  #freshNumber = 1;
  #closing = false;

  constructor(host: NetworkHost) {
    this.#host = host;
    const { options, incarnation, log } = host;
    const { clock, node, cluster, secret, secrets, limits, liveness, redial, transport } = options;
    this.#part = new OwnPart({ clock, log, down: liveness.down, role: () => this.#role });
    this.refusals = new Refusals(clock, log);
    this.gate = options.access && new Gate(options.access, clock, host.events, this.refusals.counts);
    this.#inboxes = new Inboxes(clock, options.sharing === 'home', this.gate);
    this.#requests = new Requests(clock, node);
    this.#joining = new Joining(clock, log, host.starts > 1);
    this.#routes = new RemoteRoutes(
      routesHost(host, {
        path: (target) => this.path(target),
        wanted: (target) => this.#direct.want(target),
        freshNumber: () => this.#freshNumber,
        usedNumbers: (below) => {
          this.#freshNumber = Math.max(this.#freshNumber, below);
        },
        retire: (target, origin) => this.#inboxes.retire(target, origin),
        durableChanged: (name) => this.#role.durableChanged(name),
      }),
    );
    this.#registry = new Registry(new RegistryListeners([this.#routes, ...host.listeners]));
    this.#succession = new Succession({
      clock,
      node,
      configured: options.leader,
      registry: this.#registry,
      pause: liveness.suspect,
      greet: (address) => this.#peers.greet(address),
    });
    this.#role = options.role === 'leader' ? this.#asLeader(host.term) : this.#asMember({ term: host.term, start: 0 });
    this.#direct = new DirectLinks({
      clock,
      delay: redial.delay,
      down: liveness.down,
      member: (target) => this.#registry.get(target),
      dials: (target) => this.#address !== undefined && !this.#role.leads && target !== this.#role.leaderNode,
      dial: (address, target, failed) => this.#peers.direct(address, { node: target, failed }),
      reachable: (target) => this.path(target) !== undefined,
      relinked: (target) => this.#routes.relink(target),
      lost: (target) => this.#routes.giveUp(target),
    });
    host.placements.onChange((entry) => {
      this.#role.placementChanged(entry.name);
      this.#part.settle(entry, node, host.incarnation);
    });
    this.#switchboard = new Switchboard({
      node,
      incarnation,
      role: () => this.#role,
      requests: this.#requests,
      inboxes: this.#inboxes,
      gate: this.gate,
      handle: host.handle,
      lane: (link) => this.#links.lane(link),
      subscriber: (mailbox) => host.subscriber(mailbox),
      mailbox: (id) => host.mailbox(id),
      consumer: (id) => host.consumer(id),
      refused: (kind, remote, reason) => this.refusals.add(kind, remote, reason),
    });
    this.#links = new Links({
      clock,
      receiver: (on, frame) => this.#switchboard.receiver(on, frame),
      refused: ({ session: { remote } }, reason) => this.refusals.add('streams', remote, reason),
      slow: ({ node: target }, waiting) => host.events.emit({ type: 'link.slow', node: target, waiting }),
    });
    this.#peers = new Peers({
      clock,
      log,
      transport,
      identity: { cluster, node, incarnation, secret, secrets, maxFrame: limits.frame },
      liveness,
      redial,
      limits,
      epoch: () => this.#role.epoch,
      registryVersion: () => this.#role.version,
      greeting: () => this.#greeting(),
      admit: (hello) => this.#admit(hello),
      opened: (session, epoch) => this.#opened(session, epoch),
      frame: (session, body) => {
        const link = this.#links.get(session);
        if (link !== undefined) this.#switchboard.take(session, link, body);
      },
      idle: (session) => this.#links.get(session)?.idle(),
      writable: (session) => this.#links.get(session)?.writable(),
      closed: (session, reason) => this.#closed(session, reason),
      unreachable: (reason, hint) => this.#unreachable(reason, hint),
      refused: (kind, remote, reason) => this.refusals.add(kind, remote, reason),
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
    const { listen, role } = this.#host.options;
    if (listen !== undefined) this.#address = await this.#peers.listen(listen);
    if (role === 'leader') {
      if (this.term > 0) this.#succession.announce();
      return;
    }
    this.#joining.begin();
    this.#peers.dial(this.#succession.next);
  }

  /** Resolves when this node holds the registry. @throws {BusError} `NO_LEADER`, `NAME_TAKEN`, `HANDSHAKE_REFUSED`. */
  async join(): Promise<void> {
    await this.#joining.wait(this.#host.options.joinTimeout);
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
    if (this.#closing) return; // nobody is told any more, so nobody has to be waited for
    for (const entry of durables) this.#registry.applyDurable(entry);
    for (const mailbox of remove) this.#inboxes.forget(mailbox);
    await this.#part.announce({ add, remove, durables });
  }

  /** Tells the leader what this node can do, or what has become of its instances: now, or when it is back. */
  tell(said: Pick<PartChange, 'about' | 'instances'>): void {
    this.#part.tell({ add: [], remove: [], durables: [], ...said });
  }

  /** Asks another node. @throws {BusError} `NO_LEADER`, `NODE_UNREACHABLE`, `TIMEOUT`, or what it answers. */
  async request(target: string, method: string, params: unknown, timeout: number): Promise<unknown> {
    if (this.#closing) throw new BusError('CLOSED', 'this node has closed');
    const link = this.#direct.get(target) ?? this.#role.way(target);
    this.#direct.want(target);
    if (link === undefined) {
      if (this.#role.linked) throw new BusError('NODE_UNREACHABLE', `there is no link to a node '${target}'`);
      throw new BusError('NO_LEADER', `'${method}' of node '${target}' goes through the leader, which is away`);
    }
    return this.#requests.ask(link, target, method, params, timeout);
  }

  /** Resolves when everything that was published has been confirmed by other nodes or given up. @throws {BusError} `TIMEOUT`. */
  async flushed(timeout: number): Promise<void> {
    if (await this.#routes.flushed(timeout, () => true)) return;
    throw new BusError('TIMEOUT', `messages to other nodes were not confirmed within ${timeout} ms`);
  }

  /** Says goodbye, after what can still be confirmed has been: at most `timeout` milliseconds. */
  async leave(timeout: number): Promise<void> {
    if (timeout > 0) await this.#routes.flushed(timeout, (route) => route.reachable || route.patient);
    await within(this.#host.options.clock, Math.min(timeout, longestAnswer), this.#requests.answered());
    for (const link of this.#links) link.send({ type: 'leave' });
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.#direct.close();
    this.#joining.abandon(new BusError('CLOSED', 'the bus was closed while it joined'));
    await this.#peers.close();
    this.#role.close();
    this.#succession.close();
    for (const route of this.#routes) route.close();
    this.#inboxes.close();
    this.#requests.close();
    this.#part.synced();
  }

  /** What is known of durable subscriptions. */
  get registry(): Pick<
    Registry,
    'durable' | 'durableEntry' | 'names' | 'durables' | 'applyDurable' | 'get' | 'members'
  > {
    return this.#registry;
  }

  /** Whether every durable subscription is known that anybody in reach knows. */
  get settled(): boolean {
    return this.#role.settled;
  }

  /** The link over which a node is reached now. */
  path(node: string): Link | undefined {
    return this.#direct.get(node) ?? this.#role.path(node);
  }

  members(): MemberStatus[] {
    const { options, incarnation } = this.#host;
    const own = { node: options.node, incarnation, subscriptions: this.#part.entries.length };
    const path = (node: string): Link | undefined => this.path(node);
    return memberStatus(own, this.#registry.members, { leaderNode: this.#role.leaderNode, path });
  }

  links(): LinkStatus[] {
    return [...this.#links].map(linkStatus);
  }

  // Leading and following

  /** Whether this node leads. */
  get leads(): boolean {
    return this.#role.leads;
  }

  /**
   * This node leads from now on, under a higher term than any that it has heard of. @throws {BusError} `OPTION_INVALID` when
   * it does not listen.
   */
  lead(): void {
    if (this.#role.leads) return;
    const { log, options } = this.#host;
    if (this.#address === undefined) {
      throw new BusError('OPTION_INVALID', `node '${options.node}' does not listen: give it the option 'listen'`);
    }
    const before = this.#role;
    const { term } = before.epoch;
    this.#peers.stopDialling();
    before.close();
    this.#role = this.#asLeader(term + 1);
    this.#peers.drop(new BusError('NODE_UNREACHABLE', `node '${options.node}' leads from now on`));
    this.#joining.done();
    log.warn({ term: term + 1 }, 'this node leads from now on');
    this.#host.leading({ term: term + 1, leads: true, address: this.#address });
    this.#part.synced();
    this.#part.retell();
    this.#succession.announce();
  }

  /** Another node leads, under a higher term. */
  follow(leader: string | undefined, term: number): void {
    if (!this.#role.leads || leader === undefined || leader === this.#address) return;
    const { log, options } = this.#host;
    const before = this.#role;
    before.close();
    this.#succession.close();
    this.#role = this.#asMember({ term, start: 0 });
    log.warn({ leader, term }, 'another node leads from now on: this one follows it');
    this.#host.leading({ term, leads: false, address: leader });
    this.#peers.drop(new BusError('NODE_UNREACHABLE', `node '${options.node}' leads no more`));
    for (const member of [...this.#registry.members]) {
      const state = member.node === options.node ? 'left' : 'suspect';
      this.#registry.apply({ ...member, state, add: [], remove: [] });
    }
    this.#part.synced();
    this.#succession.hint(leader);
    this.#peers.dial(this.#succession.next);
  }

  #asLeader(term: number): Role {
    const { options, incarnation, placements, told, settled } = this.#host;
    return new LeaderRole({
      options,
      incarnation,
      term,
      registry: this.#registry,
      gate: this.gate,
      placements,
      synced: (version) => this.#part.synced(version),
      told: (member, said) => told(member, said),
      settled: () => settled(),
      deposed: (leader, by) => this.#host.options.clock.immediate(() => this.follow(leader, by)),
    });
  }

  #asMember(heard: Epoch): Role {
    const { options, events, placements } = this.#host;
    return new MemberRole({
      options,
      gate: this.gate,
      events,
      registry: this.#registry,
      placements,
      part: this.#part,
      heard,
      leaderAddress: () => this.#succession.leader,
      promoted: () => {
        if (this.#address === undefined) return false;
        this.lead();
        return true;
      },
      synced: (version) => this.#part.synced(version),
      denied: (ids) => this.#part.denied(ids),
      held: () => this.#onHeld(),
      giveUp: () => {
        this.#routes.giveUp();
        this.#host.forsaken();
      },
    });
  }

  #greeting(): Pick<Hello, 'address' | 'leader' | 'promote'> {
    const { promote } = this.#host.options;
    const address = dialable(this.#address);
    const leader = this.#role.leads ? address : this.#succession.leader;
    return { ...(address && { address }), ...(leader && { leader }), ...(promote && { promote }) };
  }

  #admit(hello: Hello): Refusal | undefined {
    if (hello.direct !== undefined) return this.#direct.admit(hello);
    const verdict = this.#role.admit(hello);
    return verdict === 'again' ? this.#admit(hello) : verdict;
  }

  // Links

  #opened(session: Session, epoch: Epoch): void {
    if (!this.#role.leads && !session.direct) this.#succession.found(session.peer.address);
    const link = this.#links.opened(session);
    if (session.direct) this.#direct.opened(link);
    else this.#role.opened(session, link, epoch);
  }

  #closed(session: Session, reason: BusError): void {
    const link = this.#links.closed(session);
    if (link === undefined) return;
    this.#requests.lost(link);
    if (this.#closing) return;
    if (session.direct) this.#direct.closed(link, session.silence);
    else this.#role.closed(session, link, session.silence, reason);
  }

  #unreachable(reason: BusError, hint: string | undefined): void {
    this.#succession.hint(hint);
    this.#joining.failed(reason);
  }

  #onHeld(): void {
    this.#joining.done();
    for (const { node } of this.#registry.members) this.#routes.relink(node);
  }
}
