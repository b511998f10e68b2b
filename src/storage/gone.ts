import type { Gone } from './journal-state.ts';

/** What a part of a journal comes to. */
export interface Amount {
  readonly count: number;
  readonly bytes: number;
}

/** Runs of messages that have left, in a part of a journal that has not been read. */
export class GoneRuns {
  #runs: Gone[];

  constructor(runs: readonly Gone[]) {
    this.#runs = [...runs];
  }

  [Symbol.iterator](): Iterator<Gone> {
    return this.#runs[Symbol.iterator]();
  }

  /** Forgets what lies from a sequence up to but not including another. @param bytes of that, if known. @returns how much. */
  take(from: number, to: number, bytes?: number): Amount {
    let taken = { count: 0, bytes: 0 };
    const rest: Gone[] = [];
    for (const run of this.#runs) {
      const end = run.first + run.count;
      const start = Math.max(from, run.first);
      const stop = Math.min(to, end);
      if (stop <= start) {
        rest.push(run);
        continue;
      }
      const count = stop - start;
      // The bytes of a part are known only to who asks; without that, as if all were of one size.
      const share = Math.round((run.bytes * count) / run.count);
      const part = count === run.count ? run.bytes : Math.min(run.bytes, bytes ?? share);
      taken = { count: taken.count + count, bytes: taken.bytes + part };
      const left = run.bytes - part;
      if (run.first < start) rest.push({ first: run.first, count: start - run.first, bytes: stop < end ? 0 : left });
      if (stop < end) rest.push({ first: stop, count: end - stop, bytes: left });
    }
    this.#runs = rest;
    return taken;
  }
}
