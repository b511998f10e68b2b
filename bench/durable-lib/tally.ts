/** Counts what has been acked. */
export class Tally {
  #count = 0;
  #expected = Number.POSITIVE_INFINITY;
  #done: (() => void) | undefined;

  get count(): number {
    return this.#count;
  }

  expect(count: number): void {
    this.#count = 0;
    this.#expected = count;
  }

  add(count: number): void {
    this.#count += count;
    if (this.#count >= this.#expected) this.#done?.();
  }

  /** Sleeps until all that is expected has come. @throws after `timeout` milliseconds; when more has come. */
  async complete(timeout = 50_000): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    if (this.#count < this.#expected) {
      await new Promise<void>((resolve, reject) => {
        this.#done = resolve;
        timer = setTimeout(() => reject(new Error(`only ${this.#count} of ${this.#expected} were acked`)), timeout);
      }).finally(() => clearTimeout(timer));
      this.#done = undefined;
    }
    if (this.#count !== this.#expected) throw new Error(`${this.#count} instead of ${this.#expected} were acked`);
  }
}
