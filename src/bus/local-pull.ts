import { Consumer } from '../actors/consumer.ts';
import type { Delivery } from '../actors/delivery.ts';
import type { DurableMailbox } from '../actors/durable-mailbox.ts';
import { FilterChain } from '../actors/filters.ts';
import type { Handler } from '../actors/subscriber-options.ts';
import { superseding } from '../actors/sweep.ts';
import type { Durables } from './durables.ts';
import type { Front, PullSource, PullWorker } from './receiving.ts';

/** The least credit of a consumer that is pulled from: settlements that are being written count as well. */
const leastCredit = 256;
/** How long something under way may keep who waits, in milliseconds. */
const patience = 5000;

/** A consumer that can be asked for the newest message. */
class PullingConsumer extends Consumer {
  newest: () => boolean = () => false;

  override take(): Delivery | undefined {
    if (this.mailbox.hasMore && this.newest()) {
      const sweep = superseding(this.clock);
      this.mailbox.judge(Object.assign(sweep, { to: Number.POSITIVE_INFINITY }));
    }
    return super.take();
  }
}

/** Pulls from a durable mailbox of this node. */
export class LocalPull implements PullSource {
  readonly timeout: number;
  readonly #mailbox: DurableMailbox;
  readonly #durables: Durables;

  constructor(mailbox: DurableMailbox, durables: Durables) {
    this.#mailbox = mailbox;
    this.#durables = durables;
    this.timeout = durables.timeoutOf(mailbox.name);
  }

  get id(): string {
    return this.#mailbox.id;
  }

  get name(): string {
    return this.#mailbox.name;
  }

  async open(handler: Handler, newest: () => boolean): Promise<PullWorker> {
    const options = { concurrency: 0, credit: leastCredit, timeout: this.timeout, filters: new FilterChain() };
    const consumer = await this.#durables.consume(this.#mailbox, handler, options, PullingConsumer);
    (consumer as PullingConsumer).newest = newest; // it was made as one
    return new LocalWorker(this.#mailbox, consumer);
  }

  async supersede(): Promise<void> {
    await this.#mailbox.sweep(superseding(this.#mailbox.clock));
  }

  async front(): Promise<Front | null> {
    const mailbox = this.#mailbox;
    let found = mailbox.front();
    while (found === undefined && mailbox.journal.reading) {
      await mailbox.read();
      found = mailbox.front();
    }
    if (found === undefined) return null;
    const { slot, fresh } = found;
    // That it was shown is written before it is: what is told to be fresh is so only once.
    if (fresh) {
      await new Promise<void>((resolve, reject) =>
        mailbox.journal.whenCommitted({ committed: () => resolve(), failed: reject }),
      );
    }
    return { message: slot.message, attempt: slot.attempt, fresh };
  }
}

class LocalWorker implements PullWorker {
  readonly #mailbox: DurableMailbox;
  readonly #consumer: Consumer;

  constructor(mailbox: DurableMailbox, consumer: Consumer) {
    this.#mailbox = mailbox;
    this.#consumer = consumer;
  }

  get demand(): number {
    return this.#consumer.concurrency;
  }

  set demand(demand: number) {
    const consumer: { credit: number; concurrency: number } = this.#consumer;
    consumer.credit = Math.max(leastCredit, 2 * demand);
    consumer.concurrency = demand;
  }

  get closed(): Promise<void> {
    return this.#consumer.closed;
  }

  async exhausted(waits: () => boolean): Promise<void> {
    const { clock, journal } = this.#mailbox;
    const end = clock.monotonic() + patience;
    while (waits() && this.#consumer.active && this.#mailbox.promises(this.#consumer)) {
      if (clock.monotonic() >= end) return;
      await journal.commits.flushed();
      await new Promise<void>((done) => clock.immediate(done));
    }
  }

  close(timeout: number): Promise<void> {
    return this.#consumer.close(timeout);
  }
}
