import type { Clock, Timer } from '../core/clock.ts';
import { Deadline } from '../core/deadlines.ts';
import type { Delivery } from './delivery.ts';

/** What an attempt needs of its subscriber. */
export interface AttemptHost {
  readonly clock: Clock;
  /** The attempt has a deadline of its own now, or no more. */
  track(attempt: Attempt, extended: boolean): void;
  timedOut(delivery: Delivery): void;
}

/** The time limit of a handler that did not return at once. */
export class Attempt extends Deadline {
  readonly delivery: Delivery;
  readonly #host: AttemptHost;
  #timer: Timer | undefined;

  constructor(host: AttemptHost, delivery: Delivery) {
    super();
    this.#host = host;
    this.delivery = delivery;
  }

  /** Leaves the common deadline for one of its own, `ms` milliseconds from now. */
  extend(ms: number): void {
    this.cancel();
    this.#timer?.cancel();
    this.#host.track(this, true);
    this.#timer = this.#host.clock.timer(ms, () => this.expire());
  }

  expire(): void {
    this.#host.timedOut(this.delivery);
  }

  /** The attempt is over. */
  end(): void {
    this.cancel();
    if (this.#timer === undefined) return;
    this.#timer.cancel();
    this.#timer = undefined;
    this.#host.track(this, false);
  }
}
