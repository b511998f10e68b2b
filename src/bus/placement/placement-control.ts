import type { Move } from '../../cluster/placement.ts';
import { checkFlag, checkKnown, checkObject } from '../../core/checks.ts';
import { checkName } from '../../core/topic.ts';
import { type WaitOptions, waitOf } from '../consuming/subscription.ts';
import { infoOf, type NodeInfo, Placement, type PlacementInfo } from './placement.ts';
import type { Spawning } from './spawning.ts';

/** What `rebalance()` takes. */
export interface RebalanceOptions extends WaitOptions {
  /** Only the instances of this placement. @default all */
  name?: string;
  /**
   * Nodes that are down will not return: singletons that wait for an operator are placed anew. To be said only of nodes that
   * have really ended: one that lives on would run beside the new one. @default false
   */
  lost?: boolean;
}

/** Whether the bus may still be asked. */
export interface PlacementGate {
  /** @throws {BusError} `CLOSED` unless the bus is running. */
  check(): void;
  /** @throws {BusError} `CLOSED` when it has closed. */
  checkOpen(): void;
}

/** The placements of the cluster. */
export class PlacementControl {
  readonly #spawning: Spawning;
  readonly #gate: PlacementGate;

  /** @internal */
  constructor(spawning: Spawning, gate: PlacementGate) {
    this.#spawning = spawning;
    this.#gate = gate;
  }

  /** All that this node knows of, by name. */
  list(): PlacementInfo[] {
    const entries = [...this.#spawning.table].filter(({ removed }) => !removed);
    return entries.map(infoOf).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** The handle of one; undefined when there is none of that name. */
  get(name: string): Placement | undefined {
    checkName('placement', name);
    return this.#spawning.table.get(name) === undefined ? undefined : new Placement(this.#spawning, name);
  }

  /**
   * Spreads instances evenly, at most 3 moves at a time: a node that has come back, or is new, gets its share by this and by
   * nothing else. Resolves with what was moved, when it has started there.
   *
   * @throws {BusError} `NOT_FOUND`, `NO_LEADER`, `CLOSED`, `TIMEOUT`: then it goes on.
   */
  async rebalance(options: RebalanceOptions = {}): Promise<Move[]> {
    checkObject('rebalance()', options);
    checkKnown('rebalance()', options, ['name', 'lost', 'timeout']);
    this.#gate.check();
    const { name, lost = false, ...rest } = options;
    if (name !== undefined) checkName('placement', name);
    checkFlag('lost', lost);
    return this.#spawning.rebalance(name, lost, waitOf('rebalance()', rest));
  }

  /**
   * Has a node hand over all that runs on it, and take nothing until that is undone or its process is started anew: before
   * an upgrade, say. Resolves when nothing runs there. What fits nowhere else stops, and waits.
   *
   * @param undo whether it may take something again.
   * @throws {BusError} `NODE_UNREACHABLE`, `NO_LEADER`, `CLOSED`, `TIMEOUT`: then it goes on.
   */
  async drain(node: string, options: WaitOptions & { undo?: boolean } = {}): Promise<void> {
    this.#gate.check();
    checkName('node', node);
    checkObject('drain()', options);
    checkKnown('drain()', options, ['undo', 'timeout']);
    const { undo = false, ...rest } = options;
    checkFlag('undo', undo);
    await this.#spawning.drain(node, undo, waitOf('drain()', rest));
  }

  /** Every node with what it can do, as the leader knows it. @throws {BusError} `NO_LEADER`, `TIMEOUT`, `CLOSED`. */
  async nodes(): Promise<NodeInfo[]> {
    this.#gate.checkOpen();
    return this.#spawning.nodes();
  }
}
