/** One library within a process. */
export interface Contestant {
  /** Sends `count` messages, and resolves when all of them have been handled. */
  run(count: number): Promise<void>;
  close(): Promise<unknown>;
}
