import type { Clock } from '../core/clock.ts';
import type { DropReason, EventHub, ExpiryReason } from '../core/events.ts';
import { Meter } from '../core/meter.ts';
import { DropReport } from './drop-report.ts';

/** What a mailbox counts. */
export class Tally {
  readonly #clock: Clock;
  readonly #meter = new Meter();
  readonly #drops: DropReport;
  handled = 0;
  failed = 0;
  dead = 0;
  refused = 0;
  filtered = 0;
  /** Not found where they should have been. */
  lost = 0;
  /** Dropped, although they were to become dead letters, because those were full. */
  unburied = 0;

  constructor(about: {
    readonly name: string;
    readonly node: string;
    readonly clock: Clock;
    readonly events: EventHub;
  }) {
    this.#clock = about.clock;
    this.#drops = new DropReport(about);
  }

  get dropped(): number {
    return this.#drops.total;
  }

  get expired(): number {
    return this.#drops.expired;
  }

  /** Messages have left unhandled: counted, and told once a turn. */
  drop(reason: DropReason | ExpiryReason, count: number): void {
    this.#drops.add(reason, count);
  }

  /** Handled a second. */
  get rate(): number {
    this.measure();
    return this.#meter.rate(this.#clock.monotonic());
  }

  /** To be called now and then, so that the rate is that of the last second. */
  measure(): void {
    this.#meter.mark(this.handled - this.#meter.total, this.#clock.monotonic());
  }

  flush(): void {
    this.#drops.flush();
  }
}
