/** Those who wait until more of a mailbox has been read into memory. */
export class Readers {
  /** Undefined when nobody waits. */
  #waiting: (() => void)[] | undefined;
  #problem: Error | undefined;

  /** Resolves when more has been read, or cannot be. @throws what has kept it from being read. */
  async wait(): Promise<void> {
    await new Promise<void>((done) => {
      this.#waiting ??= [];
      this.#waiting.push(done);
    });
    const problem = this.#problem;
    this.#problem = undefined;
    if (problem !== undefined) throw problem;
  }

  /** More has been read, or never will be. */
  release(problem?: Error): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    this.#problem = problem;
    this.#waiting = undefined;
    for (const done of waiting) done();
  }
}
