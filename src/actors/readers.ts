/** Those who wait until more of a mailbox has been read into memory. */
export class Readers {
  #waiting: (() => void)[] = [];
  #problem: Error | undefined;

  /** Resolves when more has been read, or cannot be. @throws what has kept it from being read. */
  async wait(): Promise<void> {
    await new Promise<void>((done) => this.#waiting.push(done));
    const problem = this.#problem;
    this.#problem = undefined;
    if (problem !== undefined) throw problem;
  }

  /** More has been read, or never will be. */
  release(problem?: Error): void {
    const waiting = this.#waiting;
    if (waiting.length === 0) return;
    this.#problem = problem;
    this.#waiting = [];
    for (const done of waiting) done();
  }
}
