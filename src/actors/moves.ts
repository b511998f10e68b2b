import type { Batch } from '../storage/commits.ts';

type Records = Map<string, Uint8Array | undefined>;

/** Point records to be written with the next commit: kept until they are, so that a commit that failed loses none. */
export class Moves {
  /** Undefined when empty: every commit asks every mailbox, and most have none. */
  #waiting: Records | undefined;
  #flying: Records | undefined;

  get empty(): boolean {
    return this.#waiting === undefined && this.#flying === undefined;
  }

  put(key: string, value: Uint8Array): void {
    this.#add(key, value);
  }

  del(key: string): void {
    this.#add(key, undefined);
  }

  collect(batch: Batch): void {
    const moves = this.#waiting;
    if (moves === undefined) return;
    this.#waiting = undefined;
    this.#flying = moves;
    for (const [key, value] of moves) {
      if (value === undefined) batch.del(key);
      else batch.put(key, value);
    }
  }

  committed(): void {
    this.#flying = undefined;
  }

  failed(): void {
    const flying = this.#flying;
    if (flying === undefined) return;
    this.#flying = undefined;
    for (const [key, value] of flying) if (this.#waiting?.has(key) !== true) this.#add(key, value);
  }

  #add(key: string, value: Uint8Array | undefined): void {
    this.#waiting ??= new Map();
    this.#waiting.set(key, value);
  }
}
