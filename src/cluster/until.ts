import type { Clock, Timer } from '../core/clock.ts';
import type { BusError } from '../core/errors.ts';

interface Waiter {
  readonly holds: () => boolean;
  readonly resolve: () => void;
  readonly reject: (error: BusError) => void;
  readonly timer: Timer;
}

/** Lets callers wait until something holds; it is looked at whenever something has changed. */
export class Until {
  readonly #clock: Clock;
  readonly #waiters = new Set<Waiter>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @param late makes the error when the time, in milliseconds, is over. */
  wait(holds: () => boolean, timeout: number, late: () => BusError): Promise<void> {
    if (holds()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const timer = this.#clock.timer(Math.max(0, timeout), () => {
        this.#waiters.delete(waiter);
        reject(late());
      });
      const waiter: Waiter = { holds, resolve, reject, timer };
      this.#waiters.add(waiter);
    });
  }

  /** Something has changed. */
  look(): void {
    for (const waiter of [...this.#waiters]) {
      if (!waiter.holds()) continue;
      waiter.timer.cancel();
      this.#waiters.delete(waiter);
      waiter.resolve();
    }
  }

  /** What is waited for will not come. */
  abandon(reason: BusError): void {
    for (const { timer, reject } of this.#waiters) {
      timer.cancel();
      reject(reason);
    }
    this.#waiters.clear();
  }
}
