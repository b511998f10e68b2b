import type { SubscriptionStats } from '../../actors/subscriber-options.ts';
import { checkKnown, checkNumber, checkObject } from '../../core/checks.ts';
import type { SubscriptionState } from '../../core/lifecycle.ts';
import type { Pattern } from '../../routing/pattern.ts';

/** How long to wait, in milliseconds. */
export interface WaitOptions {
  /** @default 30_000 */
  timeout?: number;
}

/** What `bus.unsubscribe()` takes beside the name. */
export interface UnsubscribeOptions extends WaitOptions {
  /** The node whose subscription it is; a durable one is found wherever it is. @default this one */
  node?: string;
  /** Removes a durable subscription although messages wait in it: they are gone then. @default false */
  discard?: boolean;
  /**
   * The home of a durable subscription will not return: what other nodes keep for it becomes dead letters there.
   * @default false
   */
  lost?: boolean;
}

/** What stands behind a subscription. */
export interface SubscriptionDriver {
  readonly name: string;
  readonly state: SubscriptionState;
  readonly closed: Promise<void>;
  pause(): void;
  resume(): void;
  stats(): SubscriptionStats;
  drain(timeout: number): Promise<void>;
}

/** What `subscribe()` resolves to. */
export class Subscription implements AsyncDisposable {
  readonly #subscriber: SubscriptionDriver;
  readonly #pattern: Pattern;
  readonly #end: (timeout: number) => Promise<void>;

  /** @internal */
  constructor(subscriber: SubscriptionDriver, pattern: Pattern, end: (timeout: number) => Promise<void>) {
    this.#subscriber = subscriber;
    this.#pattern = pattern;
    this.#end = end;
  }

  /** Unique within the node; of a durable one `<service>/<name>`, unique within the cluster. */
  get name(): string {
    return this.#subscriber.name;
  }

  /** The pattern as it was written. */
  get pattern(): string {
    return this.#pattern.text;
  }

  /** Resolves when it has ended, for whatever reason: its own `close()`, `unsubscribe()`, or the end of the bus. */
  get closed(): Promise<void> {
    return this.#subscriber.closed;
  }

  get state(): SubscriptionState {
    return this.#subscriber.state;
  }

  /** Hands out no more messages; what is running goes on, and the mailbox still takes what comes. */
  pause(): void {
    this.#subscriber.pause();
  }

  /** Goes on after a pause or a quarantine. */
  resume(): void {
    this.#subscriber.resume();
  }

  stats(): SubscriptionStats {
    return this.#subscriber.stats();
  }

  /**
   * Resolves when nothing waits and nothing runs, retries included; of a durable subscription, when every settlement is
   * stored as well. @throws {BusError} `TIMEOUT`. */
  async drain(options: WaitOptions = {}): Promise<void> {
    await this.#subscriber.drain(waitOf('drain()', options));
  }

  /**
   * Ends the subscription: takes nothing more, waits for running handlers, and aborts those that take longer than
   * `timeout`. What still waits is dropped, counted; of a durable subscription it stays in its mailbox, for whoever attaches
   * next. Twice is harmless.
   */
  async close(options: WaitOptions = {}): Promise<void> {
    await this.#end(waitOf('close()', options));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** The time to wait that was asked for, or 30 seconds. @throws {BusError} `OPTION_INVALID`. */
export function waitOf(what: string, options: WaitOptions): number {
  checkObject(what, options);
  checkKnown(what, options, ['timeout']);
  return checkNumber(`${what}: timeout`, options.timeout, 30_000, { min: 0, max: 86_400_000 });
}
