import type { Clock, Timer } from '../core/clock.ts';
import type { EventHub } from '../core/events.ts';
import { Outage, type OutagePolicy } from '../core/outage.ts';
import type { RetryPolicy } from '../core/retry.ts';

/** What a brake needs of its mailbox. */
export interface BrakeHost {
  readonly name: string;
  readonly clock: Clock;
  readonly options: { readonly events: EventHub };
  /** Whether what waits is nowhere but here: the process is to stay for the next probe. */
  readonly fleeting: boolean;
  /** Messages may be handed out again. */
  ready(): void;
}

/** What a mailbox does during an outage; `false` for nothing. */
export type OutageOption = Readonly<OutagePolicy> | false;

/** Holds a mailbox back while everything that is handed out fails, and lets single messages out to see whether it still does. */
export class Brake {
  /** Whether only single messages are handed out. A field, as the next one, because it is asked for each message. */
  probing = false;
  /** Whether a success would say anything. */
  stirred = false;
  readonly #host: BrakeHost;
  #outage: Outage | undefined;
  #timer: Timer | undefined;
  #closed = false;

  constructor(host: BrakeHost, outage: OutageOption, retry: Readonly<RetryPolicy>) {
    this.#host = host;
    this.#outage = outageOf(outage, retry);
  }

  /** Whether a message may be handed out now. */
  get open(): boolean {
    return !this.probing || this.#outage?.mayTake(this.#host.clock.monotonic()) === true;
  }

  /** Whether the next probe is to be one that has just arrived. */
  get fresh(): boolean {
    return this.#outage?.fresh === true;
  }

  /** How long the next probe has to wait, in milliseconds, as far as is known. */
  get wait(): number {
    const due = this.#outage?.due ?? 0;
    return due === Number.POSITIVE_INFINITY ? 0 : Math.max(0, due - this.#host.clock.monotonic());
  }

  /** A message was handed out, while probing. */
  took(sequence: number): void {
    this.#outage?.took(sequence);
  }

  /** An attempt has failed. @returns whether that counts as an attempt of its message. */
  failed(sequence: number): boolean {
    const outage = this.#outage;
    if (outage === undefined || this.#closed) return true;
    const { clock } = this.#host;
    const counts = outage.failed(sequence, clock.monotonic(), clock.random());
    this.stirred = true;
    if (!outage.probing) return counts;
    this.#arm();
    if (!this.probing) {
      this.probing = true;
      const { failures } = outage;
      const since = Math.round(clock.now() - (clock.monotonic() - outage.since));
      this.#host.options.events.emit({
        type: 'subscription.probing',
        subscription: this.#host.name,
        failures,
        since,
      });
    }
    return counts;
  }

  /** An attempt has ended without saying anything about what the handler needs. */
  released(sequence: number): void {
    if (!this.probing) return;
    this.#outage?.released(sequence);
    this.#host.ready();
  }

  /** A message was handled. */
  succeeded(): void {
    const outage = this.#outage;
    if (outage === undefined) return;
    const { probing, failures, since } = outage;
    outage.succeeded();
    this.probing = this.stirred = false;
    if (!probing) return;
    const { name, clock, options } = this.#host;
    this.#timer?.cancel();
    const after = Math.round(clock.monotonic() - since);
    options.events.emit({ type: 'subscription.recovered', subscription: name, failures, after });
    this.#host.ready();
  }

  /** Other options from now on. */
  changed(outage: OutageOption, retry: Readonly<RetryPolicy>): void {
    this.succeeded();
    this.#outage = outageOf(outage, retry);
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  /** Wakes its host when the next probe may begin; while one runs, its end does. */
  #arm(): void {
    this.#timer?.cancel();
    if (this.#closed || this.#outage?.due === Number.POSITIVE_INFINITY) return;
    const timer = this.#host.clock.timer(Math.ceil(this.wait), this.#look);
    this.#timer = this.#host.fleeting ? timer : timer.unref();
  }

  readonly #look = (): void => {
    if (this.open) this.#host.ready();
    else this.#arm(); // a timer may come a fraction of a millisecond early
  };
}

/** Who is to try each message once only is not to try it again for an outage either. */
function outageOf(outage: OutageOption, retry: Readonly<RetryPolicy>): Outage | undefined {
  return outage === false || retry.attempts === 1 ? undefined : new Outage(outage, retry);
}
