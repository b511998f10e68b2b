import { type Clock, systemClock, type Timer } from './clock.ts';
import { Heap } from './heap.ts';

interface Pending {
  due: number;
  order: number;
  run: (() => void) | undefined;
}

/**
 * A clock that moves only when told to, with seeded dice: the same seed and the same calls give the same run.
 * Timers and immediates that fall due together run in the order in which they were set.
 */
export class VirtualClock implements Clock {
  readonly seed: number;
  readonly #timers = new Heap<Pending>((a, b) => a.due - b.due || a.order - b.order);
  #immediates: (() => void)[] = [];
  #time = 0;
  #order = 0;
  #state: number;
  readonly #epoch: number;

  /**
   * @param seed any integer; print it with a failure.
   * @param epoch what `now()` says at the start, in milliseconds since 1970. @default 2026-01-01
   */
  constructor(seed = 1, epoch = 1_767_225_600_000) {
    this.seed = seed;
    this.#state = seed >>> 0;
    this.#epoch = epoch;
  }

  now(): number {
    return Math.floor(this.#epoch + this.#time);
  }

  monotonic(): number {
    return this.#time;
  }

  timer(ms: number, fn: () => void): Timer {
    const pending: Pending = { due: this.#time + Math.max(ms, 0), order: this.#order++, run: fn };
    this.#timers.push(pending);
    const timer: Timer = {
      cancel: () => {
        pending.run = undefined;
      },
      unref: () => timer,
    };
    return timer;
  }

  immediate(fn: () => void): void {
    this.#immediates.push(fn);
  }

  /** mulberry32: one multiplication a draw, a period of 2^32, good enough to choose schedules. */
  random(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }

  randomBytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => Math.floor(this.random() * 256));
  }

  /** How many timers are pending. */
  get pendingTimers(): number {
    let count = 0;
    for (const pending of this.#timers) if (pending.run !== undefined) count++;
    return count;
  }

  /** Runs what is due now, and what that sets off, without moving the time. Promises settle in between. */
  async settle(): Promise<void> {
    for (let idle = 0; idle < 3; ) {
      await flushMicrotasks();
      const batch = this.#immediates;
      this.#immediates = [];
      for (const fn of batch) fn();
      const ran = this.#runDue();
      idle = batch.length > 0 || ran ? 0 : idle + 1;
    }
  }

  /** Moves the time forward by `ms`, stopping at every timer on the way. */
  async advance(ms: number): Promise<void> {
    const end = this.#time + ms;
    await this.settle();
    for (let next = this.#timers.peek(); next !== undefined && next.due <= end; next = this.#timers.peek()) {
      this.#time = Math.max(this.#time, next.due);
      this.#runDue();
      await this.settle();
    }
    this.#time = end;
  }

  /** Moves on to the next timer, runs it and what that sets off. @returns false, and no time has passed, when there is none. */
  async step(): Promise<boolean> {
    do {
      await this.settle();
      await promisesRun(); // long chains of them may set off more
    } while (this.#immediates.length > 0);
    for (let next = this.#timers.peek(); next !== undefined; next = this.#timers.peek()) {
      if (next.run === undefined) {
        this.#timers.pop(); // it was cancelled
        continue;
      }
      this.#time = Math.max(this.#time, next.due);
      this.#runDue();
      await this.settle();
      return true;
    }
    return false;
  }

  #runDue(): boolean {
    let ran = false;
    for (let next = this.#timers.peek(); next !== undefined && next.due <= this.#time; next = this.#timers.peek()) {
      this.#timers.pop();
      const run = next.run;
      next.run = undefined;
      if (run !== undefined) {
        run();
        ran = true;
      }
    }
    return ran;
  }
}

/** Lets promises that are settled run their reactions, several levels deep. */
async function flushMicrotasks(): Promise<void> {
  for (let i = 0; i < 16; i++) await null;
}

/** Lets promises that are settled run their reactions, however deep: Node runs them all before its next turn. */
function promisesRun(): Promise<void> {
  return new Promise((done) => systemClock.immediate(done));
}
