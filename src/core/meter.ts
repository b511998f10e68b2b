/** Counts what happens and tells how often, over the last whole second and what has passed of this one. */
export class Meter {
  #total = 0;
  #second = 0;
  #current = 0;
  #previous = 0;

  /** How many since the beginning. */
  get total(): number {
    return this.#total;
  }

  /** @param now monotonic milliseconds. */
  mark(count: number, now: number): void {
    this.#roll(Math.floor(now / 1000));
    this.#total += count;
    this.#current += count;
  }

  /** How many a second, at `now`. */
  rate(now: number): number {
    this.#roll(Math.floor(now / 1000));
    const part = (now % 1000) / 1000;
    return Math.round(this.#previous * (1 - part) + this.#current);
  }

  #roll(second: number): void {
    if (second === this.#second) return;
    this.#previous = second === this.#second + 1 ? this.#current : 0;
    this.#current = 0;
    this.#second = second;
  }
}
