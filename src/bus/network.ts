import type { Subscriber } from '../actors/subscriber.ts';
import { Leader } from '../cluster/leader.ts';
import { Membership } from '../cluster/membership.ts';
import { Part, SyncWaiters } from '../cluster/part.ts';
import { Registry } from '../cluster/registry.ts';
import { type Deferred, deferred } from '../core/async.ts';
import type { Timer } from '../core/clock.ts';
import { BusError } from '../core/errors.ts';
import type { EventHub } from '../core/events.ts';
import { originOf } from '../core/incarnation.ts';
import type { Logger } from '../core/log.ts';
import type { Router } from '../routing/router.ts';
import { Peers } from '../transport/peers.ts';
import type { Session } from '../transport/session.ts';
import {
  type ControlFrame,
  decodeFrame,
  type Epoch,
  frameType,
  type Hello,
  type SubscriptionEntry,
  typeOf,
} from '../wire/frame.ts';
import { flow } from '../wire/pack.ts';
import { Inboxes } from './inboxes.ts';
import { Link, type Receiver } from './link.ts';
import type { ResolvedOptions } from './options.ts';
import { Lane, RelayStream } from './relay.ts';
import { RemoteRoutes } from './remote-routes.ts';
import { type RequestHandler, Requests } from './requests.ts';
import type { Route } from './route.ts';

/** What the network needs of the bus. */
export interface NetworkHost {
  readonly options: ResolvedOptions;
  readonly incarnation: string;
  readonly events: EventHub;
  readonly log: Logger;
  readonly router: Router<Route>;
  subscriber(mailbox: string): Subscriber | undefined;
  readonly handle: RequestHandler;
}

/** A member as `status()` shows it. */
export interface MemberStatus {
  node: string;
  incarnation: string;
  leader: boolean;
  /** This node itself is always alive. */
  state: 'alive' | 'suspect';
  /** Whether this node can reach it now. */
  reachable: boolean;
  subscriptions: number;
}

/** A link as `status()` shows it. */
export interface LinkStatus {
  node: string;
  remote: string;
  sent: number;
  received: number;
  streams: { out: number; in: number };
}

/** A node's place in a cluster: its links, its copy of the registry, and the streams of messages over them. */
export class Network {
  readonly #host: NetworkHost;
  readonly #peers: Peers;
  readonly #registry: Registry;
  readonly #routes: RemoteRoutes;
  readonly #inboxes: Inboxes;
  readonly #requests: Requests;
  readonly #part = new Part();
  readonly #sync = new SyncWaiters();
  readonly #leader: Leader | undefined;
  readonly #membership: Membership | undefined;
  /** By session, so that what a replaced link still says reaches nobody. */
  readonly #links = new Map<Session, Link>();
  readonly #lanes = new Map<Link, Lane>();
  /** On the leader: the links of nodes that have told their part. */
  readonly #joined = new Map<string, Link>();
  readonly #joining = new Map<Session, SubscriptionEntry[]>();
  /** On a member: the link to the leader. */
  #up: Link | undefined;
  #downTimer: Timer | undefined;
  #held: Deferred<void> | undefined;
  #lastProblem: BusError | undefined;
  #leaderNode: string | undefined;
  #address: string | undefined;
  #freshNumber = 1;
  #closing = false;

  constructor(host: NetworkHost) {
    this.#host = host;
    const { options, incarnation, events, log, router } = host;
    const { clock, node, cluster, secret, limits, liveness, redial, transport } = options;
    this.#inboxes = new Inboxes(clock);
    this.#requests = new Requests(clock, node);
    this.#routes = new RemoteRoutes({
      node,
      origin: originOf(incarnation),
      events,
      log,
      router,
      path: (target) => this.#path(target),
      freshNumber: () => this.#freshNumber,
      usedNumbers: (below) => {
        this.#freshNumber = Math.max(this.#freshNumber, below);
      },
      dropped: (subscription, target, count, reason) =>
        events.emit({ type: 'message.dropped', subscription, node: target, count, reason }),
      gone: (target) => this.#inboxes.retire(target),
    });
    this.#registry = new Registry(this.#routes);
    this.#peers = new Peers({
      clock,
      log,
      transport,
      identity: { cluster, node, incarnation, secret, maxFrame: limits.frame },
      liveness,
      redial,
      limits,
      epoch: () => this.epoch,
      registryVersion: () => this.#leader?.version ?? this.#membership?.version ?? 0,
      admit: (hello) => this.#admit(hello),
      opened: (session, epoch) => this.#opened(session, epoch),
      frame: (session, body) => this.#frame(session, body),
      idle: (session) => this.#links.get(session)?.idle(),
      writable: (session) => this.#links.get(session)?.writable(),
      closed: (session, reason) => this.#closed(session, reason),
      unreachable: (reason) => this.#unreachable(reason),
    });
    if (options.role === 'leader') {
      const settle = Math.min(liveness.down, liveness.suspect + 2 * redial.maxDelay);
      this.#leader = new Leader(
        {
          clock,
          registry: this.#registry,
          send: (target, frame) => this.#joined.get(target)?.session.send(frame),
          synced: (version) => this.#sync.reached(version),
        },
        { node, incarnation, down: liveness.down, settle },
      );
      this.#leaderNode = node;
    } else {
      this.#membership = new Membership({
        registry: this.#registry,
        send: (frame) => this.#up?.session.send(frame),
        held: () => this.#onHeld(),
        synced: (version) => this.#sync.reached(version),
      });
    }
  }

  get epoch(): Epoch {
    return this.#leader?.epoch ?? this.#membership?.epoch ?? { term: 0, start: 0 };
  }

  /** The node that leads, as far as this one knows. */
  get leaderNode(): string | undefined {
    return this.#leaderNode;
  }

  /** Where this node listens, with the real port. */
  get address(): string | undefined {
    return this.#address;
  }

  /** Whether the leader can be asked now. */
  get linked(): boolean {
    return this.#leader !== undefined || (this.#up !== undefined && (this.#membership?.version ?? 0) > 0);
  }

  /** Opens the listener, or begins to dial. */
  async start(): Promise<void> {
    const { listen, leader } = this.#host.options;
    if (listen !== undefined) this.#address = await this.#peers.listen(listen);
    if (leader !== undefined) this.#peers.dial(leader);
  }

  /** Resolves when this node holds the registry. @throws {BusError} `NO_LEADER`, `NAME_TAKEN`, `HANDSHAKE_REFUSED`. */
  async join(): Promise<void> {
    if (this.#leader !== undefined) return;
    const { clock, joinTimeout } = this.#host.options;
    const held = deferred<void>();
    this.#held = held;
    const timer = clock.timer(joinTimeout, () => {
      const problem = this.#lastProblem;
      const why = problem === undefined ? '' : `: ${problem.message}`;
      // A name that stays taken is not waited for longer than a dead link could hold it.
      const code = problem?.code === 'NAME_TAKEN' ? 'NAME_TAKEN' : 'NO_LEADER';
      held.reject(
        new BusError(code, `the leader could not be joined within ${joinTimeout} ms${why}`, { cause: problem }),
      );
    });
    try {
      await held.promise;
    } finally {
      timer.cancel();
      this.#held = undefined;
    }
  }

  /** Tells the cluster what this node registers. Resolves when every member that is not suspect has applied it. */
  async announce(add: readonly SubscriptionEntry[], remove: readonly string[]): Promise<void> {
    const version = this.#part.change(add, remove);
    for (const mailbox of remove) this.#inboxes.forget(mailbox);
    if (this.#leader === undefined && this.#up === undefined) return; // told when the leader is back
    const applied = this.#sync.wait(version);
    if (this.#leader !== undefined) this.#leader.own(version, add, remove);
    else this.#membership?.announce(version, add, remove);
    await applied;
  }

  /** Asks another node. @throws {BusError} `NO_LEADER`, `NODE_UNREACHABLE`, `TIMEOUT`, or what it answers. */
  async request(target: string, method: string, params: unknown, timeout: number): Promise<unknown> {
    const link = this.#leader === undefined ? this.#up : this.#joined.get(target);
    if (link === undefined) {
      if (this.#leader === undefined)
        throw new BusError('NO_LEADER', `'${method}' of node '${target}' goes through the leader, which is away`);
      throw new BusError('NODE_UNREACHABLE', `there is no link to a node '${target}'`);
    }
    return this.#requests.ask((frame) => link.session.send(frame), target, method, params, timeout);
  }

  /** Resolves when everything that was published has been confirmed by other nodes or given up. */
  async flushed(): Promise<void> {
    await Promise.all([...this.#routes].filter((route) => route.unconfirmed > 0).map((route) => route.flushed()));
  }

  /** Says goodbye, after what can still be confirmed has been: at most `timeout` milliseconds. */
  async leave(timeout: number): Promise<void> {
    const { clock } = this.#host.options;
    const waiting = [...this.#routes].filter((route) => route.unconfirmed > 0 && route.reachable);
    if (waiting.length > 0 && timeout > 0) {
      const late = deferred<void>();
      const timer = clock.timer(timeout, late.resolve);
      await Promise.race([Promise.all(waiting.map((route) => route.flushed())), late.promise]);
      timer.cancel();
    }
    for (const { session } of this.#links.values()) session.send({ type: 'leave' });
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.#downTimer?.cancel();
    this.#held?.reject(new BusError('CLOSED', 'the bus was closed while it joined'));
    await this.#peers.close();
    this.#leader?.close();
    for (const route of this.#routes) route.close();
    this.#inboxes.close();
    this.#requests.close();
    this.#sync.reached(Number.POSITIVE_INFINITY);
  }

  members(): MemberStatus[] {
    const { options, incarnation } = this.#host;
    const { node } = options;
    const own = this.#part.entries.length;
    const list: MemberStatus[] = [
      { node, incarnation, leader: node === this.#leaderNode, state: 'alive', reachable: true, subscriptions: own },
    ];
    for (const member of this.#registry.members) {
      if (member.node === node) continue;
      list.push({
        node: member.node,
        incarnation: member.incarnation,
        leader: member.node === this.#leaderNode,
        state: member.state,
        reachable: this.#path(member.node) !== undefined,
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

  #path(node: string): Link | undefined {
    if (this.#leader !== undefined) return this.#joined.get(node);
    if (this.#up === undefined || this.#membership?.version === 0) return undefined;
    return this.#registry.get(node)?.state === 'alive' ? this.#up : undefined;
  }

  // Links

  #admit(hello: Hello): { code: 'HANDSHAKE_REFUSED'; detail: string } | undefined {
    const { frame } = this.#host.options.limits;
    if (hello.maxFrame !== frame) {
      return { code: 'HANDSHAKE_REFUSED', detail: `its limits.frame is ${hello.maxFrame}, this cluster's is ${frame}` };
    }
    this.#leader?.outrank(hello.epoch);
    return undefined;
  }

  #opened(session: Session, epoch: Epoch): void {
    const { clock } = this.#host.options;
    const link = new Link(session, {
      clock,
      receiver: (on, frame) => this.#receiver(on, frame),
      slow: ({ node }, waiting) => this.#host.events.emit({ type: 'link.slow', node, waiting }),
    });
    this.#links.set(session, link);
    this.#lanes.set(link, new Lane());
    if (this.#membership === undefined) {
      this.#joining.set(session, []);
      return;
    }
    this.#downTimer?.cancel();
    this.#up = link;
    this.#leaderNode = link.node;
    this.#membership.join(epoch, this.#part);
  }

  #closed(session: Session, reason: BusError): void {
    const link = this.#links.get(session);
    if (link === undefined) return;
    this.#links.delete(session);
    this.#lanes.delete(link);
    this.#joining.delete(session);
    const joined = this.#joined.get(link.node) === link;
    if (joined) this.#joined.delete(link.node);
    if (this.#up === link) this.#up = undefined;
    link.close();
    if (this.#closing) return;
    if (this.#leader !== undefined) {
      if (joined) this.#leader.lost(link.node, session.silence);
    } else {
      this.#lostLeader(link, session.silence, reason);
    }
  }

  #lostLeader(link: Link, silence: number, reason: BusError): void {
    const { clock, liveness } = this.#host.options;
    this.#membership?.lost();
    this.#sync.reached(Number.POSITIVE_INFINITY);
    this.#host.events.emit({ type: 'leader.lost', node: link.node, reason: reason.message });
    const leader = this.#registry.get(link.node);
    if (leader !== undefined) this.#registry.apply({ ...leader, state: 'suspect', add: [], remove: [] });
    this.#downTimer?.cancel();
    this.#downTimer = clock.timer(Math.max(0, liveness.down - silence), () => {
      this.#host.events.emit({ type: 'node.down', node: link.node, incarnation: link.incarnation });
      for (const route of this.#routes) route.giveUp();
    });
  }

  #unreachable(reason: BusError): void {
    this.#lastProblem = reason;
    const final = reason.code === 'HANDSHAKE_REFUSED' || reason.code === 'PROTOCOL_ERROR';
    if (this.#held !== undefined && final) this.#held.reject(reason);
    else if (final || reason.code === 'NAME_TAKEN')
      this.#host.log.warn({ err: reason }, 'the leader refuses this node; trying again');
    else this.#host.log.debug({ err: reason }, 'the leader cannot be reached; trying again');
  }

  #onHeld(): void {
    const { term, start } = this.epoch;
    this.#held?.resolve();
    if (this.#leaderNode !== undefined) {
      this.#host.events.emit({ type: 'leader.found', node: this.#leaderNode, epoch: `${term}.${start}` });
    }
    for (const { node } of this.#registry.members) this.#routes.relink(node);
  }

  // Frames

  #frame(session: Session, body: Uint8Array): void {
    const link = this.#links.get(session);
    if (link === undefined) return;
    const type = typeOf(body);
    if (type === frameType.data) link.data(body);
    else if (type === frameType.flow) link.flow(body);
    else this.#control(session, link, decodeFrame(body));
  }

  #control(session: Session, link: Link, frame: ControlFrame): void {
    switch (frame.type) {
      case 'open':
        link.opened(frame, flow.unlinked);
        return;
      case 'shut':
        link.shut(frame.stream);
        return;
      case 'request':
        this.#request(link, frame);
        return;
      case 'reply':
        if (frame.target === this.#host.options.node) this.#requests.answered(frame);
        else this.#joined.get(frame.target)?.session.send(frame);
        return;
      default:
        if (this.#leader === undefined) this.#membership?.take(frame);
        else this.#lead(this.#leader, session, link, frame);
    }
  }

  #lead(leader: Leader, session: Session, link: Link, frame: ControlFrame): void {
    const { node } = link;
    const joining = this.#joining.get(session);
    if (frame.type === 'join' && joining !== undefined) {
      joining.push(...frame.subscriptions);
      if (frame.more) return;
      this.#joining.delete(session);
      this.#joined.set(node, link);
      leader.join(session.peer, { version: frame.version, subscriptions: joining });
    } else if (frame.type === 'part') leader.part(node, frame);
    else if (frame.type === 'applied') leader.applied(node, frame.version);
    else if (frame.type === 'resync') leader.resync(node);
    else if (frame.type === 'leave') {
      this.#joined.delete(node);
      leader.left(node);
    } else if (frame.type !== 'ping')
      throw new BusError('PROTOCOL_ERROR', `node '${node}' sent a '${frame.type}' to the leader`);
  }

  #request(link: Link, frame: ControlFrame & { type: 'request' }): void {
    const { node } = this.#host.options;
    // The leader vouches for who asks; members believe only the leader.
    const request = this.#leader === undefined ? frame : { ...frame, source: link.node };
    if (request.target !== node) {
      const onward = this.#joined.get(request.target);
      if (onward !== undefined) onward.session.send(request);
      else {
        const message = `there is no link to a node '${request.target}'`;
        link.session.send({
          type: 'reply',
          id: frame.id,
          target: request.source,
          error: { code: 'NODE_UNREACHABLE', message },
        });
      }
      return;
    }
    void this.#requests.answer(request, this.#host.handle).then((reply) => link.session.send(reply));
  }

  /** Who takes in a stream: a mailbox of this node, or on the leader the link to another one. */
  #receiver(link: Link, frame: ControlFrame & { type: 'open' }): Receiver | undefined {
    const { options, incarnation } = this.#host;
    if (this.#leader !== undefined && frame.source !== link.node) {
      throw new BusError('PROTOCOL_ERROR', `node '${link.node}' sends in the name of '${frame.source}'`);
    }
    if (frame.target === options.node) {
      if (frame.incarnation !== incarnation) return undefined;
      const subscriber = this.#host.subscriber(frame.mailbox);
      return subscriber === undefined ? undefined : this.#inboxes.open(link, frame, subscriber);
    }
    const onward = this.#joined.get(frame.target);
    const lane = onward === undefined ? undefined : this.#lanes.get(onward);
    if (onward === undefined || lane === undefined || onward.incarnation !== frame.incarnation) return undefined;
    return new RelayStream(link, onward, lane, frame);
  }
}
