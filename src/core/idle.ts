import { type Deferred, deferred } from './async.ts';
import type { Clock } from './clock.ts';
import { BusError } from './errors.ts';

/** Those who wait until something has become idle, each with a time of its own. */
export class IdleWaiters {
  readonly #clock: Clock;
  /** Undefined when nobody waits. */
  #waiting: Set<Deferred<void>> | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#waiting === undefined ? 0 : this.#waiting.size;
  }

  /** @param problem says, when the time is up, what was still going on. @throws {BusError} `TIMEOUT`. */
  async wait(timeout: number, problem: () => string): Promise<void> {
    const idle = deferred<void>();
    this.#waiting ??= new Set();
    this.#waiting.add(idle);
    const timer = this.#clock.timer(timeout, () => idle.reject(new BusError('TIMEOUT', problem())));
    try {
      await idle.promise;
    } finally {
      timer.cancel();
      this.#waiting?.delete(idle);
    }
  }

  /** It is idle now. */
  release(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    this.#waiting = undefined;
    for (const idle of waiting) idle.resolve();
  }
}
