import { Leader, type LeaderHost } from '../../cluster/leader.ts';
import { BusError } from '../../core/errors.ts';
import type { Refusal, Session } from '../../transport/session.ts';
import type { ControlFrame, DurableEntry, Epoch, Hello, PartChange, SubscriptionEntry } from '../../wire/frame.ts';
import type { PlacementEntry } from '../../wire/placement-entry.ts';
import type { ResolvedOptions } from '../options/options.ts';
import type { Gate } from '../streams/gate.ts';
import type { Link } from '../streams/link.ts';
import { RegistryAllowance, registryLimits } from './registry-allowance.ts';
import type { Role } from './role.ts';

/** What a node has told so far of what it knows. */
interface Told {
  readonly subscriptions: SubscriptionEntry[];
  readonly durables: DurableEntry[];
  readonly placements: PlacementEntry[];
}

/** What the leader's role needs of its network. */
export interface LeaderRoleHost extends Omit<LeaderHost, 'clock' | 'send'> {
  /** Holds members to the rules, where there are any. */
  readonly gate: Gate | undefined;
  /** Under which it leads. */
  readonly term: number;
  /** Another node leads under a higher term. @param leader where that listens, if that is known. */
  deposed(leader: string | undefined, term: number): void;
  readonly options: ResolvedOptions;
  readonly incarnation: string;
}

/** The leader: keeps the registry's original, and reaches every member over its own link. */
export class LeaderRole implements Role {
  readonly leaderNode: string;
  readonly linked = true;
  readonly leads = true;
  readonly #host: LeaderRoleHost;
  readonly #leader: Leader;
  readonly #maxFrame: number;
  /** The links of nodes that have told their part. */
  readonly #joined = new Map<string, Link>();
  /** What nodes that have not told it all have told so far. */
  readonly #joining = new Map<Session, Told>();
  readonly #allowance: RegistryAllowance;

  constructor(host: LeaderRoleHost) {
    const { options, incarnation } = host;
    this.#host = host;
    this.#allowance = new RegistryAllowance(host.registry);
    const { clock, node, liveness, redial, limits } = options;
    this.leaderNode = node;
    this.#maxFrame = limits.frame;
    // Time enough for every member to notice, and to dial twice.
    const settle = Math.min(liveness.down, liveness.suspect + 2 * redial.maxDelay);
    this.#leader = new Leader(
      { ...host, clock, send: (target, frame) => this.#joined.get(target)?.send(frame) },
      { node, incarnation, down: liveness.down, settle, term: host.term },
    );
  }

  get epoch(): Epoch {
    return this.#leader.epoch;
  }

  get version(): number {
    return this.#leader.version;
  }

  get settled(): boolean {
    return this.#leader.settled;
  }

  path(node: string): Link | undefined {
    return this.#joined.get(node);
  }

  way(node: string): Link | undefined {
    return this.#joined.get(node);
  }

  admit(hello: Hello): Refusal | undefined {
    if (hello.maxFrame !== this.#maxFrame) {
      const detail = `its limits.frame is ${hello.maxFrame}, this cluster's is ${this.#maxFrame}`;
      return { code: 'HANDSHAKE_REFUSED', detail };
    }
    if (hello.epoch.term > this.epoch.term) {
      const { leader } = hello;
      if (this.#host.gate?.manages(hello.node, 'leadership') !== false) this.#host.deposed(leader, hello.epoch.term);
      const detail = 'another node leads under a higher term';
      return { code: 'NO_LEADER', detail, ...(leader !== undefined && { leader }) };
    }
    const { registry } = this.#host;
    if (registry.size >= registryLimits.members && registry.get(hello.node) === undefined) {
      return { code: 'HANDSHAKE_REFUSED', detail: `the cluster has ${registryLimits.members} members already` };
    }
    this.#leader.outrank(hello.epoch);
    return undefined;
  }

  opened(session: Session): void {
    this.#joining.set(session, { subscriptions: [], durables: [], placements: [] });
    this.#allowance.begin(session.peer.node);
  }

  closed(session: Session, link: Link, silence: number): void {
    this.#joining.delete(session);
    if (this.#joined.get(link.node) !== link) return;
    this.#joined.delete(link.node);
    this.#leader.lost(link.node, silence);
    this.#allowance.forget(link.node);
  }

  take(session: Session, link: Link, frame: ControlFrame): void {
    const { node } = link;
    switch (frame.type) {
      case 'join':
        this.#join(session, link, frame);
        return;
      case 'part': {
        this.#allowance.names(node, frame.durables);
        const { add, durables } = this.#admitted(link, frame.add.map(known), frame.durables);
        this.#allowance.subscriptions(node, add, frame.remove);
        this.#leader.part(node, { ...frame, add, durables });
        return;
      }
      case 'applied':
        this.#leader.applied(node, frame.version);
        return;
      case 'resync':
        this.#leader.resync(node);
        return;
      case 'leave':
        this.#joined.delete(node);
        this.#leader.left(node);
        return;
      case 'ping':
        return;
      default:
        throw new BusError('PROTOCOL_ERROR', `node '${node}' sent a '${frame.type}' to the leader`);
    }
  }

  announce(version: number, change: PartChange): boolean {
    this.#leader.own(version, change);
    return true;
  }

  durableChanged(name: string): void {
    this.#leader.durableChanged(name);
  }

  placementChanged(name: string): void {
    this.#leader.placementChanged(name);
  }

  vouch(link: Link, source: string): string {
    if (source === link.node) return source;
    throw new BusError('PROTOCOL_ERROR', `node '${link.node}' speaks in the name of '${source}'`);
  }

  close(): void {
    this.#leader.close();
  }

  /** What counts of what a member tells; it hears of the rest before the version is known to everybody. */
  #admitted(
    link: Link,
    add: readonly SubscriptionEntry[],
    durables: readonly DurableEntry[],
    placements: readonly PlacementEntry[] = [],
  ): Pick<PartChange, 'add' | 'durables'> & { readonly placements: readonly PlacementEntry[] } {
    const { gate, registry, placements: table } = this.#host;
    if (gate === undefined) return { add, durables, placements };
    const { denied, ...admitted } = gate.admit(
      link.node,
      { add, durables, placements },
      { durable: (name) => registry.durableEntry(name), placement: (name) => table.entry(name) },
    );
    if (denied.length > 0) link.send({ type: 'synced', version: 0, denied });
    return admitted;
  }

  #join(session: Session, link: Link, frame: ControlFrame & { type: 'join' }): void {
    const told = this.#joining.get(session);
    if (told === undefined) throw new BusError('PROTOCOL_ERROR', `node '${link.node}' joined twice`);
    const { subscriptions, durables, placements = [] } = frame;
    const admitted = this.#admitted(link, subscriptions.map(known), durables, placements);
    this.#allowance.subscriptions(link.node, admitted.add, []);
    for (const entry of admitted.add) told.subscriptions.push(entry);
    told.durables.push(...admitted.durables);
    told.placements.push(...admitted.placements);
    this.#allowance.names(link.node, frame.durables, told.placements);
    if (frame.more) return;
    this.#joining.delete(session);
    this.#joined.set(link.node, link);
    const { version, about, instances } = frame;
    this.#leader.join(session.peer, { version, ...told, ...(about && { about }), ...(instances && { instances }) });
  }
}

/** Only what every member must know: what else a frame holds would count against the frames to all of them. */
function known({ id, name, pattern: { kind, source, flags }, group, retry }: SubscriptionEntry): SubscriptionEntry {
  const { attempts, delay, factor, maxDelay, jitter } = retry;
  return {
    id,
    name,
    pattern: { kind, source, flags },
    ...(group !== undefined && { group }),
    retry: { attempts, delay, factor, maxDelay, jitter },
  };
}
