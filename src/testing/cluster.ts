import type { StoreSource } from '../actors/admin.ts';
import { createVirtualRuntime } from '../actors/virtual-runtime.ts';
import { Bus } from '../bus/bus.ts';
import type { BusOptions } from '../bus/options/options.ts';
import { silentLogger } from '../core/log.ts';
import { VirtualClock } from '../core/virtual-clock.ts';
import { MemoryNetwork, type MemoryNetworkOptions } from '../transport/memory.ts';
import { SkewedClock } from './skewed-clock.ts';

/** What {@link TestCluster} takes. */
export interface TestClusterOptions {
  /** Decides every draw: the same seed gives the same run. @default 1 */
  seed?: number;
  /** How long bytes travel between nodes, in milliseconds. @default 1 */
  delay?: MemoryNetworkOptions['delay'];
}

/**
 * A cluster within one process, on a virtual clock and a network in memory: what takes a minute outside takes a moment
 * here, and every run with the same seed is the same. Hosts are named like their nodes.
 *
 * @example
 * const cluster = new TestCluster();
 * const lead = await cluster.leader('lead');
 * const leaf = await cluster.leaf('leaf');
 * cluster.network.cut('lead', 'leaf');
 * await cluster.clock.advance(10_000);
 */
export class TestCluster {
  readonly clock: VirtualClock;
  readonly network: MemoryNetwork;
  /** By how much a node's calendar is wrong, in milliseconds: set it to have its clock jump. */
  readonly skews = new Map<string, number>();
  readonly #nodes = new Set<Bus>();
  readonly #address = 'tcp://10.0.0.1:1900';

  constructor(options: TestClusterOptions = {}) {
    this.clock = new VirtualClock(options.seed ?? 1);
    this.network = new MemoryNetwork({ clock: this.clock, delay: options.delay ?? 1 });
  }

  /** Opens the leader. */
  leader(node = 'lead', options: BusOptions = {}, source?: StoreSource): Promise<Bus> {
    return this.open({ node, leader: true, listen: this.#address, insecure: true, ...options }, source);
  }

  /** Opens a node that joins the leader. */
  leaf(node: string, options: BusOptions = {}, source?: StoreSource): Promise<Bus> {
    return this.open({ node, leader: this.#address, ...options }, source);
  }

  /** Opens a bus on the host that is named like its node. @param source its store, which outlives it. */
  async open(options: BusOptions, source?: StoreSource): Promise<Bus> {
    const { network } = this;
    const clock = new SkewedClock(this.clock, () => this.skews.get(options.node ?? '') ?? 0);
    const parts = {
      clock,
      transport: network.transport(options.node ?? 'host'),
      runtime: (name: string) => createVirtualRuntime({ name, clock: this.clock }),
      ...(source === undefined ? {} : { source }),
    };
    const bus = await this.until(Bus.open({ logger: silentLogger, ...options }, parts));
    this.#nodes.add(bus);
    return bus;
  }

  /** Lets time pass until a promise is settled. @param most gives up after so many milliseconds. @default 60_000 */
  async until<T>(promise: Promise<T>, most = 60_000): Promise<T> {
    let settled = false;
    const done = (): void => {
      settled = true;
    };
    promise.then(done, done);
    const end = this.clock.monotonic() + most;
    await this.clock.settle();
    while (!settled && this.clock.monotonic() < end && (await this.clock.step()));
    if (!settled) throw new Error(`nothing was settled within ${most} virtual milliseconds (seed ${this.clock.seed})`);
    return promise;
  }

  /**
   * Takes a node away as a crash does: it falls silent at once, and its host can be opened again. What it still does
   * reaches nobody.
   */
  crash(bus: Bus, others: readonly Bus[]): void {
    for (const other of others) this.network.reset(bus.node, other.node);
    for (const other of others) this.network.cut(bus.node, other.node);
    this.#nodes.delete(bus);
  }

  /**
   * Ends a node's process: its connections break, and another life of it can be opened. Its store must take nothing more
   * when this is called. @param others the nodes that it may have links to.
   */
  async kill(bus: Bus, others: readonly string[]): Promise<void> {
    const { network, clock } = this;
    this.#nodes.delete(bus);
    for (const other of others) network.cut(bus.node, other);
    for (const other of others) network.reset(bus.node, other);
    await clock.settle();
    bus.close({ timeout: 0 }).catch(() => undefined);
    await clock.advance(5);
    for (const other of others) network.heal(bus.node, other);
  }

  /** Closes every node that is open, the leaves first. */
  async close(): Promise<void> {
    for (const bus of [...this.#nodes].reverse()) await this.until(bus.close({ timeout: 100 }));
  }
}
