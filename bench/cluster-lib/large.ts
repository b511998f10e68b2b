import { Leader } from '../../src/cluster/leader.ts';
import { Membership } from '../../src/cluster/membership.ts';
import { Part } from '../../src/cluster/part.ts';
import { PlacementTable } from '../../src/cluster/placement-table.ts';
import { Registry } from '../../src/cluster/registry.ts';
import { VirtualClock } from '../../src/core/virtual-clock.ts';
import {
  type ControlFrame,
  decodeFrame,
  encodeFrame,
  type Hello,
  type PartChange,
  protocolRange,
  type SubscriptionEntry,
} from '../../src/wire/frame.ts';

const nothing = { joined() {}, changed() {}, gone() {}, added() {}, removed() {}, durable() {} };

/** What has travelled. */
export interface Traffic {
  frames: number;
  bytes: number;
}

/** A subscription as it comes from the wire. */
export function entryOf(node: string, number: number): SubscriptionEntry {
  const id = `${node}-${String(number).padStart(16, '0')}`;
  const source = `orders\\.${node}\\.${number}\\..*`;
  const retry = { attempts: 5, delay: 100, factor: 2, maxDelay: 30_000, jitter: 0.2 };
  return { id, name: `orders-${number}`, pattern: { kind: 'string', source, flags: '' }, retry };
}

/** A member that holds all that the leader tells it. */
interface Watched {
  readonly node: string;
  readonly membership: Membership;
  readonly registry: Registry;
}

/**
 * The real leader with its registry, one real member, and as many others as are wanted, which confirm all that they are sent
 * and keep none of it: a thousand copies do not fit into one process. What travels between them is encoded and decoded.
 */
export class LargeCluster {
  readonly #clock = new VirtualClock();
  readonly #registry = new Registry(nothing);
  readonly #placements = new PlacementTable();
  readonly #leader: Leader;
  readonly #part = new Part();
  /** What waits to be delivered: to a member, or, from one, to the leader. */
  readonly #toMembers: { node: string; frame: Uint8Array | ControlFrame }[] = [];
  readonly #toLeader: { node: string; frame: Uint8Array }[] = [];
  readonly #parts = new Map<string, number>();
  #watched: Watched | undefined;
  /** Whether all frames go over the wire; while the cluster is built, only those of the one member and the joins. */
  #metered = false;
  #synced = 0;
  /** How long the leader has worked, in milliseconds. */
  #worked = 0;
  /** What has travelled on the links of the others, and on that of the one member. */
  #others: Traffic = { frames: 0, bytes: 0 };
  #own: Traffic = { frames: 0, bytes: 0 };

  constructor() {
    this.#leader = new Leader(
      {
        clock: this.#clock,
        registry: this.#registry,
        placements: this.#placements,
        told: () => {},
        settled: () => {},
        send: (node, frame) => this.#send(node, frame),
        synced: () => {
          this.#synced++;
        },
      },
      { node: 'lead', incarnation: 'life-lead', down: 15_000, settle: 7_000, term: 0 },
    );
  }

  /** The leader subscribes, and an earlier life of it is over. */
  async begin(subscriptions: number): Promise<void> {
    const change = { add: entries('lead', subscriptions), remove: [], durables: [] };
    this.#leader.own(this.#part.change(change), change);
    await this.#clock.advance(8_000);
    this.#run();
  }

  /** A node comes that keeps nothing of what it is told. */
  add(node: string, subscriptions: number): void {
    this.#parts.set(node, 1);
    this.#fromMember(node, joining(entries(node, subscriptions)));
    this.#run();
  }

  /** The node comes that keeps all. @returns what travels on its own link and on those of the others. */
  watch(node: string, subscriptions: number): { own: Traffic; others: Traffic } {
    const registry = new Registry(nothing);
    const membership = new Membership({
      registry,
      placements: new PlacementTable(),
      send: (frame) => this.#fromMember(node, frame),
      held: () => {},
      denied: () => {},
      synced: () => {},
    });
    this.#watched = { node, membership, registry };
    return this.#meter(() => {
      const part = { version: 1, entries: entries(node, subscriptions), about: undefined, instances: [] };
      membership.join(this.#leader.epoch, part);
      this.#run();
    });
  }

  /** A node subscribes once more. @returns what travels, and how long the leader has worked, in milliseconds. */
  subscribe(node: string, number: number): { own: Traffic; others: Traffic; worked: number } {
    const version = (this.#parts.get(node) ?? 0) + 1;
    this.#parts.set(node, version);
    const [synced, worked] = [this.#synced, this.#worked];
    const change: PartChange = { add: [entryOf(node, number)], remove: [], durables: [] };
    const traffic = this.#meter(() => {
      this.#fromMember(node, { type: 'part', version, ...change });
      this.#run();
    });
    if (this.#synced !== synced + 1) throw new Error('the subscription is not known to everybody');
    return { ...traffic, worked: this.#worked - worked };
  }

  /** @throws when the one member does not hold what the leader holds. */
  check(): void {
    const count = (registry: Registry, but: string): string => {
      const others = [...registry.members].filter(({ node }) => node !== but);
      return `${others.length} nodes, ${others.reduce((sum, each) => sum + each.subscriptions.size, 0)} subscriptions`;
    };
    if (this.#watched === undefined) throw new Error('nobody watches');
    const { node, registry } = this.#watched;
    const [held, told] = [count(registry, node), count(this.#registry, node)];
    if (held !== told) throw new Error(`the member holds ${held}, the leader ${told}`);
  }

  #meter(work: () => void): { own: Traffic; others: Traffic } {
    this.#own = { frames: 0, bytes: 0 };
    this.#others = { frames: 0, bytes: 0 };
    this.#metered = true;
    work();
    this.#metered = false;
    return { own: this.#own, others: this.#others };
  }

  #count(node: string, bytes: Uint8Array): void {
    const traffic = node === this.#watched?.node ? this.#own : this.#others;
    traffic.frames++;
    traffic.bytes += bytes.length;
  }

  /** The leader sends. */
  #send(node: string, frame: ControlFrame): void {
    if (frame.type === 'synced') this.#synced++;
    if (!this.#metered && node !== this.#watched?.node) {
      this.#toMembers.push({ node, frame });
      return;
    }
    const bytes = encodeFrame(frame);
    this.#count(node, bytes);
    this.#toMembers.push({ node, frame: bytes });
  }

  /** A member sends. */
  #fromMember(node: string, frame: ControlFrame): void {
    const bytes = encodeFrame(frame);
    this.#count(node, bytes);
    this.#toLeader.push({ node, frame: bytes });
  }

  /** Delivers until nothing moves. */
  #run(): void {
    while (this.#toLeader.length + this.#toMembers.length > 0) {
      for (const { node, frame } of this.#toMembers.splice(0)) this.#tell(node, decoded(frame));
      const start = performance.now();
      for (const { node, frame } of this.#toLeader.splice(0)) this.#lead(node, decoded(frame));
      this.#worked += performance.now() - start;
    }
  }

  #tell(node: string, frame: ControlFrame): void {
    if (node === this.#watched?.node) this.#watched.membership.take(frame);
    else if (frame.type === 'snapshot' || frame.type === 'delta')
      this.#fromMember(node, { type: 'applied', version: frame.version });
  }

  #lead(node: string, frame: ControlFrame): void {
    if (frame.type === 'join') {
      if (frame.more) throw new Error('a node has more subscriptions than one frame holds');
      this.#leader.join(helloOf(node), frame);
    } else if (frame.type === 'part') this.#leader.part(node, frame);
    else if (frame.type === 'applied') this.#leader.applied(node, frame.version);
    else throw new Error(`'${node}' has sent a '${frame.type}'`);
  }
}

function entries(node: string, count: number): SubscriptionEntry[] {
  return Array.from({ length: count }, (_, i) => entryOf(node, i));
}

function joining(subscriptions: SubscriptionEntry[]): ControlFrame {
  return { type: 'join', version: 1, more: false, subscriptions, durables: [], placements: [], instances: [] };
}

function helloOf(node: string): Hello {
  const incarnation = `life-${node}`;
  const epoch = { term: 0, start: 0 };
  const nonce = new Uint8Array(16);
  return { type: 'hello', protocol: protocolRange, cluster: 'c', node, incarnation, epoch, maxFrame: 8 << 20, nonce };
}

function decoded(frame: Uint8Array | ControlFrame): ControlFrame {
  return frame instanceof Uint8Array ? decodeFrame(frame.subarray(4)) : frame;
}
