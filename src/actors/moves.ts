import type { Batch } from '../storage/commits.ts';

/** Point records to be written with the next commit: kept until they are, so that a commit that failed loses none. */
export class Moves {
  #waiting = new Map<string, Uint8Array | undefined>();
  #flying = new Map<string, Uint8Array | undefined>();

  get empty(): boolean {
    return this.#waiting.size === 0 && this.#flying.size === 0;
  }

  put(key: string, value: Uint8Array): void {
    this.#waiting.set(key, value);
  }

  del(key: string): void {
    this.#waiting.set(key, undefined);
  }

  collect(batch: Batch): void {
    if (this.#waiting.size === 0) return;
    const moves = this.#waiting;
    this.#waiting = this.#flying;
    this.#waiting.clear();
    this.#flying = moves;
    for (const [key, value] of moves) {
      if (value === undefined) batch.del(key);
      else batch.put(key, value);
    }
  }

  committed(): void {
    if (this.#flying.size > 0) this.#flying.clear();
  }

  failed(): void {
    for (const [key, value] of this.#flying) if (!this.#waiting.has(key)) this.#waiting.set(key, value);
    this.#flying.clear();
  }
}
