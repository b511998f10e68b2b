import { randomFillSync } from 'node:crypto';

/** A pending call. Cancelling one that ran already is harmless. */
export interface Timer {
  cancel(): void;
  /** Lets the process end although this timer is pending. */
  unref(): this;
}

/**
 * Time and chance, injected everywhere: no other file reads a clock, sets a timer or rolls dice (a test keeps it so).
 * Under a virtual clock the whole bus is deterministic.
 */
export interface Clock {
  /** Milliseconds since the epoch, for what people and other machines read. */
  now(): number;
  /** Milliseconds that never jump back, for durations. */
  monotonic(): number;
  /** Calls `fn` once after `ms` milliseconds. */
  timer(ms: number, fn: () => void): Timer;
  /** Calls `fn` once, after the input that is waiting now has been looked at. */
  immediate(fn: () => void): void;
  /** A number in [0, 1). */
  random(): number;
  /** Fresh random bytes, fit for nonces. */
  randomBytes(length: number): Uint8Array;
}

/** The longest delay that a Node timer takes; a longer one would fire at once. */
const maxDelay = 2_147_483_647;

class SystemTimer implements Timer {
  readonly #handle: NodeJS.Timeout;
  constructor(ms: number, fn: () => void) {
    this.#handle = setTimeout(fn, Math.min(Math.max(ms, 0), maxDelay));
  }
  cancel(): void {
    clearTimeout(this.#handle);
  }
  unref(): this {
    this.#handle.unref();
    return this;
  }
}

/** The machine's clock and entropy. */
export const systemClock: Clock = {
  now: Date.now,
  monotonic: () => performance.now(),
  timer: (ms, fn) => new SystemTimer(ms, fn),
  immediate: setImmediate,
  random: Math.random,
  randomBytes: (length) => randomFillSync(new Uint8Array(length)),
};
