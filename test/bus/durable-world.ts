import type { Bus } from '../../src/bus/bus.ts';
import type { BusOptions } from '../../src/bus/options/options.ts';
import type { SubscriptionOptions } from '../../src/bus/options/subscription-options.ts';
import type { BusEvent, EventOf, EventType } from '../../src/core/events.ts';
import type { Message } from '../../src/core/message.ts';
import { TestCluster, type TestClusterOptions } from '../../src/testing/cluster.ts';
import { Disk, FaultySource } from '../../src/testing/disk.ts';

/** A node of a cluster that can be killed and started again over the same disk. */
export interface Life {
  readonly bus: Bus;
  readonly source: FaultySource | undefined;
  readonly events: BusEvent[];
}

/** A cluster whose nodes have disks, on a virtual clock. The first node that is started leads. */
export class DurableWorld extends TestCluster {
  readonly disks = new Map<string, Disk>();
  readonly lives = new Map<string, Life>();
  readonly #leader: string;
  readonly #storeDelay: number;

  constructor(options: TestClusterOptions & { leader?: string; storeDelay?: number } = {}) {
    super(options);
    this.#leader = options.leader ?? 'lead';
    this.#storeDelay = options.storeDelay ?? 0;
  }

  /** Starts a node, with a disk unless `stored` is false. */
  async start(node: string, { stored = true, ...options }: BusOptions & { stored?: boolean } = {}): Promise<Bus> {
    let source: FaultySource | undefined;
    if (stored) {
      const disk = this.disks.get(node) ?? new Disk();
      this.disks.set(node, disk);
      source = new FaultySource(disk, this.clock, this.#storeDelay);
    }
    const given = { service: 'test', ...options };
    const bus = node === this.#leader ? await this.leader(node, given, source) : await this.leaf(node, given, source);
    const events: BusEvent[] = [];
    bus.on('*', (event) => events.push(event));
    this.lives.set(node, { bus, source, events });
    return bus;
  }

  bus(node: string): Bus {
    return this.#life(node).bus;
  }

  source(node: string): FaultySource {
    return this.#life(node).source as FaultySource;
  }

  seen<K extends EventType>(node: string, type: K): EventOf<K>[] {
    return this.#life(node).events.filter((event): event is EventOf<K> => event.type === type);
  }

  /** Ends the process of a node: what its store has taken stays. */
  async die(node: string): Promise<void> {
    const { bus, source } = this.#life(node);
    if (source !== undefined) source.dead = true;
    this.lives.delete(node);
    await this.kill(
      bus,
      [this.#leader, ...this.lives.keys()].filter((other) => other !== node),
    );
  }

  /** Lets time pass until something holds. */
  async when(holds: () => boolean, most = 60_000): Promise<void> {
    for (let t = 0; !holds(); t += 10) {
      if (t > most) throw new Error(`it did not come within ${most} ms (seed ${this.clock.seed})`);
      await this.clock.advance(10);
    }
  }

  cut(node: string): void {
    this.network.cut(this.#leader, node);
  }

  heal(node: string): void {
    this.network.heal(this.#leader, node);
  }

  #life(node: string): Life {
    const life = this.lives.get(node);
    if (life === undefined) throw new Error(`'${node}' is not running`);
    return life;
  }

  /** Subscribes durably. */
  durable(
    node: string,
    name: string,
    handler: ((message: Message, attempt: number) => unknown) | null,
    options: SubscriptionOptions & { pattern?: string } = {},
  ) {
    const { pattern = 't', ...rest } = options;
    const given = { name, durable: true, ...rest } as SubscriptionOptions;
    return this.until(
      this.bus(node).subscribe(
        pattern,
        handler === null ? null : (message, { attempt }) => handler(message, attempt) as undefined,
        given,
      ),
    );
  }
}
