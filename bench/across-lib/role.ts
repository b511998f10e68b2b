/** What is sent across processes. */
export type Kind = 'bytes' | 'object';

/** The process that subscribes. */
export interface Consumer {
  /** Where the producer finds it. */
  readonly address: string;
  close(): Promise<unknown>;
}

/** The process that sends. */
export interface Producer {
  /** @returns how often it had to wait for room. */
  send(kind: Kind, count: number): Promise<number>;
  /** One message to the other process and its answer. */
  roundTrip(): Promise<unknown>;
  close(): Promise<unknown>;
}

/** Counts what arrives, and when the first and the last of a round did. */
export class Arrivals {
  #count = 0;
  #expected = 0;
  #first = 0;
  #last = 0;
  #done: (() => void) | undefined;

  expect(count: number): void {
    this.#count = 0;
    this.#expected = count;
  }

  /** Reads the clock only where it matters. */
  add(): void {
    this.#count++;
    if (this.#count === 1) this.#first = performance.now();
    if (this.#count < this.#expected) return;
    this.#last = performance.now();
    this.#done?.();
  }

  /**
   * Resolves when all that is expected has arrived. Sleeps until then: a process that turned its event loop all the time
   * would take a core from the others.
   *
   * @throws after 20 seconds.
   */
  async complete(): Promise<void> {
    if (this.#count >= this.#expected) return;
    let timer: NodeJS.Timeout | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        this.#done = resolve;
        timer = setTimeout(() => reject(new Error(`only ${this.#count} of ${this.#expected} have arrived`)), 20_000);
      });
    } finally {
      clearTimeout(timer);
      this.#done = undefined;
    }
  }

  /** Messages a second, from the first to the last. @throws when one has come twice. */
  get rate(): number {
    if (this.#count !== this.#expected) throw new Error(`${this.#count} instead of ${this.#expected} have arrived`);
    return ((this.#count - 1) * 1_000) / (this.#last - this.#first);
  }
}
