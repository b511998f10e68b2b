import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Bus, MailboxLimits, Subscription, SubscriptionStats } from '../../src/index.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Bytes of memory that are in use, once everything that can go is gone. */
export function inUse(): number {
  for (let i = 0; i < 3; i++) collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Seconds of the processor that this process has taken. */
export function cpuTime(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** How many messages the mailbox of the slow one holds. */
export const held = 200;

/** What a pair of consumers has done. */
export interface Done {
  readonly fast: SubscriptionStats;
  readonly slow: SubscriptionStats | undefined;
  /** How full the mailbox of the slow one was at most. */
  readonly most: number;
  readonly memory: number;
  /** Seconds of the processor that its process has taken. */
  readonly cpu: number;
}

/** One consumer at full speed, and beside it perhaps one that handles a message a second. */
export class Pair {
  readonly #fast: Subscription;
  readonly #slow: Subscription | undefined;
  #most = 0;
  readonly #watch: NodeJS.Timeout;

  private constructor(fast: Subscription, slow: Subscription | undefined) {
    this.#fast = fast;
    this.#slow = slow;
    this.#watch = setInterval(() => {
      this.#most = Math.max(this.#most, slow?.stats().waiting ?? 0);
    }, 20);
  }

  /** @param overflow of the slow one; undefined for none. */
  static async of(bus: Bus, overflow: MailboxLimits['overflow'] | undefined): Promise<Pair> {
    const fast = await bus.subscribe('fast', () => {}, { name: 'fast' });
    if (overflow === undefined) return new Pair(fast, undefined);
    const second = (): Promise<void> => new Promise((done) => void setTimeout(done, 1000));
    const limits = { messages: held, overflow };
    return new Pair(fast, await bus.subscribe('slow', second, { name: 'slow', limits }));
  }

  /** @param memory whether to look at that as well, which takes a while. */
  done(memory: boolean): Done {
    return {
      fast: this.#fast.stats(),
      slow: this.#slow?.stats(),
      most: this.#most,
      memory: memory ? inUse() : 0,
      cpu: cpuTime(),
    };
  }

  async close(): Promise<void> {
    clearInterval(this.#watch);
    await this.#fast.close({ timeout: 0 });
    await this.#slow?.close({ timeout: 0 });
  }
}
