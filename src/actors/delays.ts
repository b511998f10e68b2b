import type { Clock, Timer } from '../core/clock.ts';
import { Heap } from '../core/heap.ts';
import type { Delivery } from './delivery.ts';

/** A message that waits until it is due. */
export interface Delayed {
  /** By the clock that never jumps back. */
  readonly due: number;
  readonly delivery: Delivery;
  /** It has never run: its key is not busy on its account. */
  readonly fresh: boolean;
}

/** What delays need of their mailbox. */
export interface DelaysHost {
  readonly clock: Clock;
  due(delayed: Delayed): void;
  /** Everything that is due has been told of. */
  looked(): void;
}

/** The messages of a memory mailbox that are not due yet, in the order in which they will be, and one timer for them. */
export class Delays {
  readonly #host: DelaysHost;
  #heap = new Heap<Delayed>(sooner);
  #timer: Timer | undefined;
  #timerDue = Number.POSITIVE_INFINITY;
  /** How far the clock that never jumps back is ahead of the other. */
  #drift = 0;

  constructor(host: DelaysHost) {
    this.#host = host;
  }

  add(delayed: Delayed): void {
    this.#heap.push(delayed);
    this.arm(delayed.due);
  }

  /** Takes out the one that would be due first. */
  shift(): Delayed | undefined {
    return this.#heap.pop();
  }

  /** Keeps those that `wanted` names. */
  keep(wanted: (delivery: Delivery) => boolean): void {
    const heap = new Heap<Delayed>(sooner);
    for (const delayed of this.#heap) if (wanted(delayed.delivery)) heap.push(delayed);
    this.#heap = heap;
  }

  /** A time in milliseconds since the epoch, by the clock that never jumps back. */
  monotonic(time: number): number {
    if (time === Number.POSITIVE_INFINITY) return time;
    const { clock } = this.#host;
    const drift = clock.monotonic() - clock.now();
    // The two differ by a fraction of a millisecond from one reading to the next. What is due at the same time must be due
    // in its order, so the same difference is taken until somebody has set the clock.
    if (Math.abs(drift - this.#drift) > 1) this.#drift = drift;
    return time + this.#drift;
  }

  /** Looks at what is due at a time, at the latest. */
  arm(due: number): void {
    if (due >= this.#timerDue) return;
    this.#timer?.cancel();
    this.#timerDue = due;
    this.#timer = this.#host.clock.timer(Math.max(0, Math.ceil(due - this.#host.clock.monotonic())), this.#look);
  }

  clear(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#heap.clear();
  }

  *[Symbol.iterator](): Generator<Delivery> {
    for (const { delivery } of this.#heap) yield delivery;
  }

  readonly #look = (): void => {
    this.#timer = undefined;
    this.#timerDue = Number.POSITIVE_INFINITY;
    const now = this.#host.clock.monotonic();
    for (let first = this.#heap.peek(); first !== undefined; first = this.#heap.peek()) {
      if (first.due > now) {
        this.arm(first.due);
        break;
      }
      this.#heap.pop();
      this.#host.due(first);
    }
    this.#host.looked();
  };
}

function sooner(a: Delayed, b: Delayed): number {
  return a.due - b.due || a.delivery.sequence - b.delivery.sequence;
}
