import type { Clock } from '../core/clock.ts';
import type { PlacementEntry, PlacementSpec } from '../wire/placement-entry.ts';
import type { PlacementTable } from './placement-table.ts';
import type { Member } from './registry.ts';

/** What placing needs of its surroundings. */
export interface PlacementsHost {
  readonly clock: Clock;
  readonly table: PlacementTable;
  /** After how long a silent node is down, in milliseconds. */
  readonly down: number;
  /** Every node that there is, this one included. */
  members(): Iterable<Member>;
  /**
   * Resolves when the store of this node, if it has one, holds what was written into the table.
   *
   * @throws {BusError} `STORE_FULL`, `STORE_FAILED`.
   */
  kept(): Promise<void>;
  /** What a leader's term is: its numbers go above those of lower terms. */
  term(): number;
  /** Some instances have no node. Told when that, or why, has changed. */
  pending(entry: PlacementEntry, missing: number, reasons: ReadonlyMap<string, string>): void;
}

/** What is asked for. */
export interface SpawnRequest {
  readonly name: string;
  /** Chosen by who asks: the same request may come again. */
  readonly id: string;
  readonly spec: PlacementSpec;
  /** The life of a node that it ends with. */
  readonly owner?: PlacementEntry['owner'];
  /** Whether it is kept although not all instances fit now. */
  readonly pending: boolean;
}
