import type { Clock } from '../core/clock.ts';
import type { DropReason, EventHub } from '../core/events.ts';

/** Counts what a subscription drops, and reports it once a turn of the event loop: a flood of drops is one event. */
export class DropReport {
  readonly #about: { readonly name: string; readonly node: string; readonly clock: Clock; readonly events: EventHub };
  readonly #counts = new Map<DropReason, number>();
  #total = 0;

  constructor(about: {
    readonly name: string;
    readonly node: string;
    readonly clock: Clock;
    readonly events: EventHub;
  }) {
    this.#about = about;
  }

  /** How many since the beginning. */
  get total(): number {
    return this.#total;
  }

  add(reason: DropReason, count: number): void {
    if (this.#counts.size === 0) this.#about.clock.immediate(this.flush);
    this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + count);
    this.#total += count;
  }

  /** Reports what has been counted since the last time. */
  readonly flush = (): void => {
    const { name, node, events } = this.#about;
    for (const [reason, count] of this.#counts) {
      events.emit({ type: 'message.dropped', subscription: name, node, count, reason });
    }
    this.#counts.clear();
  };
}
