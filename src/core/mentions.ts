/** What was told of whom, so that nobody is told of more than once a minute; bounded. */
export class Mentions {
  /** Those that were told of last at the end. */
  readonly #told = new Map<string, { readonly at: number; suppressed: number }>();
  readonly #most: number;
  /** How much was never told, because there were too many to remember; whoever tells of it sets it back. */
  untold = 0;

  /** @param most how many are remembered. */
  constructor(most: number) {
    this.#most = most;
  }

  /**
   * Something is to be told of somebody.
   *
   * @param now the time, in milliseconds.
   * @returns how often it was not told since the last time; undefined when it is not to be told now either.
   */
  add(whom: string, now: number): number | undefined {
    const known = this.#told.get(whom);
    if (known !== undefined && now - known.at < period) {
      known.suppressed++;
      return undefined;
    }
    if (known === undefined && !this.#hasRoom(now)) {
      this.untold++;
      return undefined;
    }
    this.#told.delete(whom);
    this.#told.set(whom, { at: now, suppressed: 0 });
    return known?.suppressed ?? 0;
  }

  /** Forgets whoever was told of longest ago, unless that was within the last minute. */
  #hasRoom(now: number): boolean {
    if (this.#told.size < this.#most) return true;
    const [oldest] = this.#told;
    if (oldest === undefined || now - oldest[1].at < period) return false;
    this.untold += oldest[1].suppressed;
    return this.#told.delete(oldest[0]);
  }
}

/** In milliseconds. */
const period = 60_000;
