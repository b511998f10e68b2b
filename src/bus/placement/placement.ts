import type { PlacementTable } from '../../cluster/placement-table.ts';
import type { Capabilities, PlacementEntry } from '../../wire/placement-entry.ts';
import { type WaitOptions, waitOf } from '../consuming/subscription.ts';

/** One instance of a placement. */
export interface InstanceInfo {
  instance: number;
  node: string;
  generation: number;
  /** `stopping`: it stops, and starts elsewhere when it has. */
  state: 'starting' | 'running' | 'failed' | 'stopping';
  /** Why it failed. */
  error?: string;
}

/** A placement as this node knows it. */
export interface PlacementInfo {
  name: string;
  kind: string;
  /** As it was written; none where it takes no messages. */
  pattern?: string;
  /** Its durable subscription, as `<service>/<name>`. */
  subscription?: string;
  singleton: boolean;
  /** How many are wanted. */
  instances: InstanceInfo[];
  wanted: number;
}

/** A node as placing sees it. */
export interface NodeInfo {
  node: string;
  state: 'alive' | 'suspect';
  leaving: boolean;
  kinds: string[];
  capabilities: Capabilities;
}

/** Why an instance can run on a node, or not. */
export interface NodeVerdict {
  node: string;
  fits: boolean;
  /** Why not. */
  reason?: string;
}

/** What a placement's handle needs of the bus. */
export interface PlacementDriver {
  readonly table: PlacementTable;
  tell(name: string, value: unknown, timeout: number): Promise<void>;
  stop(name: string, timeout: number): Promise<void>;
}

/** A handler actor that runs somewhere in the cluster: what `spawn()` resolves to. It goes on without this. */
export class Placement {
  readonly name: string;
  readonly #driver: PlacementDriver;

  /** @internal */
  constructor(driver: PlacementDriver, name: string) {
    this.#driver = driver;
    this.name = name;
  }

  /** As this node knows it; undefined when it has been stopped. */
  get info(): PlacementInfo | undefined {
    const entry = this.#driver.table.get(this.name);
    return entry === undefined ? undefined : infoOf(entry);
  }

  /**
   * Hands a value to `onTell` of every instance, and of those that start later, also after a move or a restart: the value
   * that was told last. Resolves when all that run have taken it.
   *
   * @param value at most 64 KiB, encoded.
   * @throws {BusError} `NOT_FOUND`, `NO_LEADER`, `TIMEOUT`, `PAYLOAD_INVALID`, `PAYLOAD_TOO_LARGE`.
   */
  async tell(value: unknown, options: WaitOptions = {}): Promise<void> {
    await this.#driver.tell(this.name, value, waitOf('tell()', options));
  }

  /**
   * Ends it everywhere: its instances finish what they handle. A durable subscription stays, with what waits in it. Twice is
   * harmless.
   *
   * @throws {BusError} `NO_LEADER`, `TIMEOUT` when an instance has not stopped in time: it does later.
   */
  async stop(options: WaitOptions = {}): Promise<void> {
    await this.#driver.stop(this.name, waitOf('stop()', options));
  }
}

/** A placement for people. */
export function infoOf({ name, spec, assigned }: PlacementEntry): PlacementInfo {
  const { kind, pattern, durable, singleton, instances } = spec;
  return {
    name,
    kind,
    ...(pattern !== undefined && { pattern: pattern.source }),
    ...(durable !== undefined && { subscription: durable }),
    singleton,
    wanted: instances,
    instances: assigned.map(({ instance, node, generation, state, error }) => ({
      instance,
      node,
      generation,
      state,
      ...(error !== undefined && { error }),
    })),
  };
}
