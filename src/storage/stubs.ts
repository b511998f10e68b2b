import type { Batch } from './commits.ts';
import type { Segment } from './loaded.ts';
import { type Stub, segmentKey } from './recovery.ts';
import { packStub } from './segment.ts';

/** How many stubs go at a time. */
const atOnce = 64;

/** The stubs of a journal that stand on the disk: what is kept, for a while, of segments whose messages have all left. */
export class Stubs {
  readonly #id: string;
  #stubs: Stub[];

  constructor(id: string, stubs: readonly Stub[]) {
    this.#id = id;
    this.#stubs = [...stubs];
  }

  /** One has been found. */
  add(first: number, time: number): void {
    this.#stubs.push({ first, time });
  }

  /** Puts a stub into the place of a segment. */
  write(batch: Batch, segment: Segment): void {
    const { first, time, ids, watermarks } = segment;
    batch.put(segmentKey(this.#id, first), packStub(segment, ids, watermarks));
    this.#stubs.push({ first, time });
  }

  /**
   * Removes those before the head whose ids need not be remembered any more.
   *
   * @param since what is older need not.
   * @param few whether it is worth while for a few.
   * @returns whether there were any.
   */
  clean(batch: Batch, head: number, since: number, few: boolean): boolean {
    const old = this.#stubs.filter(({ first, time }) => time < since && first < head);
    if (old.length === 0 || (old.length < atOnce && !few)) return false;
    for (const { first } of old) batch.del(segmentKey(this.#id, first));
    const removed = new Set(old);
    this.#stubs = this.#stubs.filter((stub) => !removed.has(stub));
    return true;
  }
}
