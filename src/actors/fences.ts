import { BusError } from '../core/errors.ts';

/** Of several consumers that claim to be the same one, the one of the highest generation is. */
export interface Fence {
  /** Whom it claims to be. */
  readonly key: string;
  readonly generation: number;
}

/** Keeps consumers out whose place somebody newer has taken. */
export class Fences {
  readonly #highest = new Map<string, number>();

  /** @throws {BusError} `ABORTED` when there is, or was, a newer one. */
  admit(name: string, { key, generation }: Fence): void {
    const highest = this.#highest.get(key);
    if (highest === undefined || generation >= highest) return;
    throw new BusError(
      'ABORTED',
      `a consumer of '${name}' (${key}, generation ${generation}) comes too late: generation ${highest} has its place`,
    );
  }

  /** From now on nobody older counts. @returns those of the consumers that are. */
  raise<C extends { readonly fence: Fence | undefined }>({ key, generation }: Fence, consumers: Iterable<C>): C[] {
    if (generation <= (this.#highest.get(key) ?? -1)) return [];
    this.#highest.set(key, generation);
    return [...consumers].filter(({ fence }) => fence?.key === key && fence.generation < generation);
  }
}
