import { backoff, type RetryPolicy } from './retry.ts';

/** When failures are taken for an outage of what the handler needs, and not for faults of the messages. */
export interface OutagePolicy {
  /** So many failures in a row, without a success in between. @default 10 */
  failures: number;
  /** Of at least so many different messages. @default 3 */
  messages: number;
  /** For how long a failure during the outage does not count as an attempt, in milliseconds. @default 300_000 */
  grace: number;
}

export const defaultOutage: Readonly<OutagePolicy> = Object.freeze({ failures: 10, messages: 3, grace: 300_000 });

/** The wait before a probe is never shorter and never longer, whatever the retry policy, in milliseconds. */
const bounds = { min: 10, max: 30_000 };

/**
 * Tells an outage of a handler's surroundings from messages that fail by themselves. After so many failures in a row, of
 * so many messages, the subscription *probes*: one message at a time is tried, after waits that grow as the retry
 * policy's do. What fails spends no attempt, until the grace is over. Any success ends it.
 *
 * A machine without a clock: times are monotonic milliseconds that are handed in, `dice` a random number in [0, 1), and a
 * message is known by its sequence.
 */
export class Outage {
  readonly #policy: Readonly<OutagePolicy>;
  readonly #retry: Readonly<RetryPolicy>;
  #failures = 0;
  /** When the first failure of the row was. */
  #since = 0;
  /** The different messages of the row, until there are enough. */
  readonly #messages = new Set<number>();
  /** When it began to probe. */
  #began: number | undefined;
  /** The probe that runs. */
  #probe: number | undefined;
  /** How many waits there were, and when this one is over. */
  #rounds = 0;
  #due = 0;

  constructor(policy: Readonly<OutagePolicy>, retry: Readonly<RetryPolicy>) {
    this.#policy = policy;
    this.#retry = retry;
  }

  get probing(): boolean {
    return this.#began !== undefined;
  }

  /** How many failures in a row there were. */
  get failures(): number {
    return this.#failures;
  }

  /** When the first of them was. */
  get since(): number {
    return this.#since;
  }

  /** When the next probe may begin: not before the one that runs has ended. */
  get due(): number {
    return this.#probe === undefined ? this.#due : Number.POSITIVE_INFINITY;
  }

  /**
   * Whether the next probe is to be one that has just arrived, rather than one that has been tried before: in turn, so
   * that neither a row of messages that always fail hides that all others would succeed, nor the other way round.
   */
  get fresh(): boolean {
    return this.#rounds % 2 === 1;
  }

  /** Whether a message may be handed out. */
  mayTake(now: number): boolean {
    return this.#began === undefined || now >= this.due;
  }

  /** A message was handed out: while probing it is the probe. */
  took(message: number): void {
    if (this.#began !== undefined) this.#probe = message;
  }

  /**
   * An attempt has failed.
   *
   * @returns whether that counts as an attempt of its message.
   */
  failed(message: number, now: number, dice: number): boolean {
    if (this.#failures++ === 0) this.#since = now;
    if (this.#began === undefined) {
      const { failures, messages } = this.#policy;
      if (this.#messages.size < messages) this.#messages.add(message);
      if (this.#failures < failures || this.#messages.size < messages) return true;
      this.#began = now;
      this.#wait(now, dice);
    } else if (message === this.#probe) {
      this.#wait(now, dice);
    }
    return now - this.#began >= this.#policy.grace;
  }

  /** An attempt has ended without saying anything about the surroundings: the next probe need not wait. */
  released(message: number): void {
    if (message === this.#probe) this.#probe = undefined;
  }

  /** A message was handled. */
  succeeded(): void {
    this.#failures = this.#rounds = 0;
    this.#messages.clear();
    this.#began = this.#probe = undefined;
  }

  #wait(now: number, dice: number): void {
    this.#probe = undefined;
    const wait = backoff(this.#retry, ++this.#rounds, dice);
    this.#due = now + Math.min(bounds.max, Math.max(bounds.min, wait));
  }
}
