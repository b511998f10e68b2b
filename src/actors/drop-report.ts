import type { Clock } from '../core/clock.ts';
import type { DropReason, EventHub, ExpiryReason } from '../core/events.ts';

type Reason = DropReason | ExpiryReason;

/** Counts what a subscription drops, and reports it once a turn of the event loop: a flood of drops is one event. */
export class DropReport {
  readonly #about: { readonly name: string; readonly node: string; readonly clock: Clock; readonly events: EventHub };
  readonly #counts = new Map<Reason, number>();
  #dropped = 0;
  #expired = 0;

  constructor(about: {
    readonly name: string;
    readonly node: string;
    readonly clock: Clock;
    readonly events: EventHub;
  }) {
    this.#about = about;
  }

  /** How many were dropped since the beginning. */
  get total(): number {
    return this.#dropped;
  }

  /** How many expired since the beginning. */
  get expired(): number {
    return this.#expired;
  }

  add(reason: Reason, count: number): void {
    if (this.#counts.size === 0) this.#about.clock.immediate(this.flush);
    this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + count);
    if (isExpiry(reason)) this.#expired += count;
    else this.#dropped += count;
  }

  /** Reports what has been counted since the last time. */
  readonly flush = (): void => {
    const { name, node, events } = this.#about;
    for (const [reason, count] of this.#counts) {
      if (isExpiry(reason)) events.emit({ type: 'message.expired', subscription: name, node, count, reason });
      else events.emit({ type: 'message.dropped', subscription: name, node, count, reason });
    }
    this.#counts.clear();
  };
}

function isExpiry(reason: Reason): reason is ExpiryReason {
  return reason === 'expired' || reason === 'age';
}
