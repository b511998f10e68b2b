import type { PlacementSpec } from '../wire/placement-entry.ts';
import { type Candidate, unfit } from './placement.ts';

/** Where instances are to go that could stay where they are, because rebalance() says so. */
export class Wanted {
  readonly #targets = new Map<string, string>();

  get size(): number {
    return this.#targets.size;
  }

  set(key: string, node: string): void {
    this.#targets.set(key, node);
  }

  has(key: string): boolean {
    return this.#targets.has(key);
  }

  forget(key: string): void {
    this.#targets.delete(key);
  }

  clear(): void {
    this.#targets.clear();
  }

  /** Where an instance goes: as was wanted, when that is still possible, or to a node that was found. It has been heeded then. */
  take(key: string, found: string, spec: PlacementSpec, candidates: ReadonlyMap<string, Candidate>): string {
    const wanted = this.#targets.get(key);
    this.#targets.delete(key);
    const candidate = wanted === undefined ? undefined : candidates.get(wanted);
    return candidate?.state === 'alive' && unfit(spec, candidate) === undefined ? candidate.node : found;
  }
}
