import type { Consumer } from '../../actors/consumer.ts';
import type { DurableMailbox } from '../../actors/durable-mailbox.ts';
import type { SubscriptionStats } from '../../actors/subscriber-options.ts';
import { deferred } from '../../core/async.ts';
import type { SubscriptionState } from '../../core/lifecycle.ts';
import type { SubscriptionDriver } from './subscription.ts';

/** The numbers of a durable mailbox with those of one of its consumers. */
export function mailboxStats(mailbox: DurableMailbox, consumer?: Consumer): SubscriptionStats {
  const { handled, failed, dead, dropped, expired, filtered, refused, rate } = mailbox.tally;
  return {
    waiting: mailbox.size - mailbox.running,
    bytes: mailbox.bytes,
    running: mailbox.running,
    abandoned: consumer?.abandoned ?? 0,
    handled,
    failed,
    dead,
    dropped,
    expired,
    filtered,
    refused,
    rate,
    probing: mailbox.probing,
  };
}

/** A durable subscription at its home: with a consumer, or only collecting. */
export class DurableAttachment implements SubscriptionDriver {
  readonly mailbox: DurableMailbox;
  readonly consumer: Consumer | undefined;
  readonly #detached = deferred<void>();
  #closed = false;

  constructor(mailbox: DurableMailbox, consumer: Consumer | undefined) {
    this.mailbox = mailbox;
    this.consumer = consumer;
    if (consumer !== undefined) void consumer.closed.then(() => this.#end());
  }

  get name(): string {
    return this.mailbox.name;
  }

  get state(): SubscriptionState {
    return this.consumer?.state ?? (this.#closed ? 'closed' : 'active');
  }

  get closed(): Promise<void> {
    return this.#detached.promise;
  }

  pause(): void {
    this.consumer?.pause();
  }

  resume(): void {
    this.consumer?.resume();
  }

  stats(): SubscriptionStats {
    return mailboxStats(this.mailbox, this.consumer);
  }

  drain(timeout: number): Promise<void> {
    return this.mailbox.drain(timeout);
  }

  /** Detaches: the mailbox stays. */
  async close(timeout: number): Promise<void> {
    await this.consumer?.close(timeout);
    this.#end();
  }

  #end(): void {
    this.#closed = true;
    this.#detached.resolve();
  }
}
