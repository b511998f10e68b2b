import { type CharSet, contains } from './charset.ts';

/**
 * The code units sorted into classes that none of some sets tells apart, so that a transition is computed once for
 * all digits and not once for each.
 */
export class Alphabet {
  /** How many classes there are. */
  readonly size: number;
  readonly #bounds: Uint32Array;
  readonly #ascii = new Uint16Array(128);

  constructor(sets: Iterable<CharSet>) {
    const bounds = new Set<number>();
    for (const set of sets) {
      for (let i = 0; i < set.length; i += 2) {
        bounds.add(set[i] as number);
        bounds.add((set[i + 1] as number) + 1);
      }
    }
    bounds.delete(0);
    this.#bounds = Uint32Array.from(bounds).sort();
    this.size = this.#bounds.length + 1;
    for (let unit = 0; unit < 128; unit++) this.#ascii[unit] = this.#search(unit);
  }

  /** The class of a code unit. */
  classOf(unit: number): number {
    return unit < 128 ? (this.#ascii[unit] as number) : this.#search(unit);
  }

  /** 1 for each class that lies within the set. */
  classesIn(set: CharSet): Uint8Array {
    const within = new Uint8Array(this.size);
    for (let i = 0; i < this.size; i++) {
      if (contains(set, i === 0 ? 0 : (this.#bounds[i - 1] as number))) within[i] = 1;
    }
    return within;
  }

  /** How many bounds are not above the unit. */
  #search(unit: number): number {
    let low = 0;
    let high = this.#bounds.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#bounds[middle] as number) <= unit) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
