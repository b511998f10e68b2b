import { Consumer } from '../../actors/consumer.ts';
import type { Delivery } from '../../actors/delivery.ts';
import type { DurableMailbox } from '../../actors/durable-mailbox.ts';
import { FilterChain } from '../../actors/filters.ts';
import type { Handler } from '../../actors/subscriber-options.ts';
import { superseding } from '../../actors/sweep.ts';
import { type Front, type PullSource, type PullWorker, unasked } from '../consuming/receiving.ts';
import type { Durables } from './durables.ts';

/** The least credit of a consumer that is pulled from: settlements that are being written count as well. */
const leastCredit = 256;

/** A consumer that can be asked for the newest message. */
class PullingConsumer extends Consumer {
  newest = false;

  override take(): Delivery | undefined {
    if (this.newest) this.mailbox.supersede();
    return super.take();
  }

  override failed(delivery: Delivery, thrown: unknown): void {
    if (thrown === unasked) this.unseen(delivery);
    else super.failed(delivery, thrown);
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

  async open(handler: Handler): Promise<PullWorker> {
    const options = { concurrency: 0, credit: leastCredit, timeout: this.timeout, filters: new FilterChain() };
    const consumer = await this.#durables.consume(this.#mailbox, handler, options, PullingConsumer);
    return new LocalWorker(this.#mailbox, consumer as PullingConsumer); // it was made as one
  }

  async supersede(): Promise<void> {
    await this.#mailbox.sweep(superseding(this.#mailbox.clock));
  }

  async front(): Promise<Front | null> {
    const found = await frontOf(this.#mailbox);
    if (found === undefined) return null;
    const { slot, fresh } = found;
    return { message: slot.message, attempt: slot.attempt, fresh };
  }
}

/** The message that would be handed out next. That it was shown is written before it is: what is fresh is so only once. */
export async function frontOf(mailbox: DurableMailbox): Promise<ReturnType<DurableMailbox['front']>> {
  let found = mailbox.front();
  while (found === undefined && mailbox.journal.reading) {
    await mailbox.read();
    found = mailbox.front();
  }
  if (found?.fresh === true) {
    await new Promise<void>((resolve, reject) =>
      mailbox.journal.whenCommitted({ committed: () => resolve(), failed: reject }),
    );
  }
  return found;
}

class LocalWorker implements PullWorker {
  readonly #mailbox: DurableMailbox;
  readonly #consumer: PullingConsumer;

  constructor(mailbox: DurableMailbox, consumer: PullingConsumer) {
    this.#mailbox = mailbox;
    this.#consumer = consumer;
  }

  ask(demand: number, newest: boolean): void {
    const consumer: { credit: number } = this.#consumer;
    consumer.credit = Math.max(leastCredit, 2 * demand);
    this.#consumer.newest = newest;
    this.#consumer.concurrency = demand;
  }

  get closed(): Promise<void> {
    return this.#consumer.closed;
  }

  exhausted(waits: () => boolean): Promise<void> {
    return this.#mailbox.exhausted(this.#consumer, () => waits() && this.#consumer.active);
  }

  close(timeout: number): Promise<void> {
    return this.#consumer.close(timeout);
  }
}
