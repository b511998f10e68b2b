import type { PlacementSpec } from '../wire/placement-entry.ts';
import type { Member } from './registry.ts';

/** A life of a node. */
export interface Life {
  readonly node: string;
  readonly incarnation: string;
}

/** Which nodes have gone, and since when that is known: from that it follows when what was given to them is lost. */
export class Departures {
  /** After how long a silent node is down, in milliseconds. */
  readonly #down: number;
  readonly #gone = new Map<string, { readonly incarnation: string; at: number }>();
  /** Since when this node leads: of those who had gone before nothing is known. */
  #since = 0;

  constructor(down: number) {
    this.#down = down;
  }

  lead(now: number): void {
    this.#since = now;
    this.#gone.clear();
  }

  back({ node, incarnation }: Life): void {
    if (this.#gone.get(node)?.incarnation === incarnation) this.#gone.delete(node);
  }

  left({ node, incarnation }: Life, how: 'down' | 'left', now: number): void {
    this.#gone.set(node, { incarnation, at: how === 'left' ? Number.NEGATIVE_INFINITY : now });
  }

  /** Whoever is away will not return: an operator says so. */
  lose(): void {
    for (const gone of this.#gone.values()) gone.at = Number.NEGATIVE_INFINITY;
    this.#since = Number.NEGATIVE_INFINITY;
  }

  /**
   * When what was given to a life of a node is lost, on the monotonic clock; infinite while that is there.
   *
   * @param present the node of that name that is a member now, if one is.
   */
  lostAt({ node, incarnation }: Life, spec: PlacementSpec | undefined, present: Member | undefined): number {
    if (present?.incarnation === incarnation) return Number.POSITIVE_INFINITY;
    if (present !== undefined) return Number.NEGATIVE_INFINITY; // its process was started anew
    const gone = this.#gone.get(node);
    const since = gone?.incarnation === incarnation ? gone.at : this.#since + this.#down;
    if (spec?.singleton !== true || since === Number.NEGATIVE_INFINITY) return since;
    // By then it has stopped itself: it has not heard the leader for longer than `down`.
    return spec.failover === 'auto' ? since + this.#down / 3 : Number.POSITIVE_INFINITY;
  }
}
