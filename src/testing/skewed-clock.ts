import type { Clock, Timer } from '../core/clock.ts';

/** A clock whose calendar is wrong: durations are as they should be. */
export class SkewedClock implements Clock {
  readonly #clock: Clock;
  readonly #skew: () => number;

  /** @param skew by how much `now()` is wrong at the moment, in milliseconds. */
  constructor(clock: Clock, skew: () => number) {
    this.#clock = clock;
    this.#skew = skew;
  }

  now(): number {
    return this.#clock.now() + this.#skew();
  }

  monotonic(): number {
    return this.#clock.monotonic();
  }

  timer(ms: number, fn: () => void): Timer {
    return this.#clock.timer(ms, fn);
  }

  immediate(fn: () => void): void {
    this.#clock.immediate(fn);
  }

  random(): number {
    return this.#clock.random();
  }

  randomBytes(length: number): Uint8Array {
    return this.#clock.randomBytes(length);
  }
}
