import type { Batch } from './commits.ts';
import type { Segment } from './loaded.ts';
import { type Stub, segmentKey } from './recovery.ts';
import { packStubOf } from './segment.ts';

/** How many stubs go at a time. */
const atOnce = 64;

/** The stubs of a journal that stand on the disk: what is kept, for a while, of segments whose messages have all left. */
export class Stubs {
  readonly #id: string;
  /** The first sequence and the time of each in turn: numbers side by side take less than an object each. */
  #stubs: number[] = [];

  constructor(id: string, stubs: readonly Stub[]) {
    this.#id = id;
    for (const { first, time } of stubs) this.add(first, time);
  }

  /** One has been found. */
  add(first: number, time: number): void {
    this.#stubs.push(first, time);
  }

  /** Puts a stub into the place of a segment. */
  write(batch: Batch, segment: Segment): void {
    const { key, first, time, record } = segment;
    batch.put(key, packStubOf(record));
    this.add(first, time);
  }

  /**
   * Removes those before the head whose ids need not be remembered any more.
   *
   * @param since what is older need not.
   * @param few whether it is worth while for a few.
   * @returns whether there were any.
   */
  clean(batch: Batch, head: number, since: number, few: boolean): boolean {
    const stubs = this.#stubs;
    const isOld = (i: number): boolean => (stubs[i + 1] as number) < since && (stubs[i] as number) < head; // pairs
    let old = 0;
    for (let i = 0; i < stubs.length; i += 2) if (isOld(i)) old++;
    if (old === 0 || (old < atOnce && !few)) return false;
    const left: number[] = [];
    for (let i = 0; i < stubs.length; i += 2) {
      const first = stubs[i] as number; // pairs
      if (isOld(i)) batch.del(segmentKey(this.#id, first));
      else left.push(first, stubs[i + 1] as number);
    }
    this.#stubs = left;
    return true;
  }
}
