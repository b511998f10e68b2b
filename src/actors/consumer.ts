import { type BusError, toError } from '../core/errors.ts';
import { Delivery, failureKind, NotBegun, type Staged } from './delivery.ts';
import type { DurableMailbox } from './durable-mailbox.ts';
import type { Fence } from './fences.ts';
import type { FilterChain } from './filters.ts';
import type { MailboxConsumer } from './mailbox-consumer.ts';
import type { Slot } from './slot.ts';
import { Worker, type WorkerOptions } from './worker.ts';

/** What a handler has staged, on its way. */
export interface StepOutput {
  /** The commit that holds the settlement has been written. */
  committed(): void;
  /** Whether it was is not known. */
  failed(): void;
}

/**
 * Gives what a handler has staged to its mailboxes, so that it is written in the same commit as the settlement.
 *
 * @throws {BusError} when a mailbox does not take it: then none has.
 */
export type Step = (messages: readonly Staged[]) => StepOutput;

/** What the consumer of a durable mailbox is told at its start. */
export interface ConsumerOptions extends WorkerOptions {
  /** How many deliveries it may hold whose settlement is not written. */
  readonly credit: number;
  readonly filters: FilterChain;
  readonly step: Step;
  /** Whose place it takes. */
  readonly fence?: Fence | undefined;
}

/** One attached handler of a durable mailbox, on the mailbox's home. */
export class Consumer extends Worker implements MailboxConsumer {
  readonly mailbox: DurableMailbox;
  readonly credit: number;
  readonly fence: Fence | undefined;
  held = 0;
  settling = 0;
  flying = 0;
  suspects = 0;
  readonly #options: ConsumerOptions;
  #handled = 0;
  #failed = 0;

  constructor(mailbox: DurableMailbox, options: ConsumerOptions) {
    super(options);
    this.mailbox = mailbox;
    this.#options = options;
    this.credit = options.credit;
    this.fence = options.fence;
  }

  get handled(): number {
    return this.#handled;
  }

  get failures(): number {
    return this.#failed;
  }

  get running(): number {
    return this.runner.running;
  }

  get abandoned(): number {
    return this.runner.abandoned;
  }

  get concurrency(): number {
    return this.runner.concurrency;
  }

  set concurrency(concurrency: number) {
    this.runner.concurrency = concurrency;
  }

  get hasMore(): boolean {
    return this.held < this.credit && this.mailbox.hasMore;
  }

  take(): Delivery | undefined {
    for (;;) {
      const slot = this.mailbox.take(this);
      if (slot === undefined) return undefined;
      const delivery = new Delivery(slot.message, this, slot.sequence, slot.attempt, slot.history);
      delivery.slot = slot;
      if (this.#options.filters.predicates.length === 0 || this.#passes(delivery)) return delivery;
      this.mailbox.tally.filtered++;
      this.mailbox.ack(slot, false);
    }
  }

  override turn(): void {
    super.turn();
    this.mailbox.tally.measure();
  }

  acked(delivery: Delivery): void {
    if (delivery.staged === undefined) {
      this.runner.release(delivery);
      if (this.mailbox.ack(slotOf(delivery))) this.#handled++;
      if (this.closing) this.checkClosing();
      return;
    }
    const { staged } = delivery;
    if (!this.mailbox.holds(slotOf(delivery))) {
      // It was given back: what it has staged goes with it.
      delivery.confirmStaged();
      this.runner.release(delivery);
      if (this.closing) this.checkClosing();
      return;
    }
    this.runner.watch(delivery);
    let output: StepOutput;
    try {
      output = this.#options.step(staged);
    } catch (error) {
      delivery.refuseStaged(error);
      return;
    }
    this.mailbox.ack(slotOf(delivery));
    this.mailbox.journal.whenCommitted({
      committed: () => {
        output.committed();
        this.#stepped(delivery);
      },
      failed: (error) => {
        output.failed();
        this.#notStepped(delivery, error);
      },
    });
  }

  failed(delivery: Delivery, thrown: unknown): void {
    if (thrown instanceof NotBegun) {
      this.unseen(delivery);
      return;
    }
    this.runner.release(delivery);
    this.#failed++;
    this.mailbox.fail(slotOf(delivery), toError(thrown), failureKind(delivery, thrown));
    if (this.closing) this.checkClosing();
  }

  /** A delivery goes back as if it had never been handed out: nobody has seen it. */
  protected unseen(delivery: Delivery): void {
    this.runner.release(delivery);
    this.mailbox.giveBack(slotOf(delivery), false);
    if (this.closing) this.checkClosing();
  }

  revoked(): void {
    void this.close(0); // which gives everything back before it returns
  }

  /** The mailbox is removed. */
  removed(): void {
    void this.close(0);
  }

  protected get idle(): boolean {
    return this.runner.running === 0;
  }

  protected stopTaking(): void {}

  protected aborted(delivery: Delivery): void {
    this.mailbox.giveBack(slotOf(delivery), true);
  }

  protected finished(): void {
    this.mailbox.detach(this);
  }

  #stepped(delivery: Delivery): void {
    if (!delivery.confirmStaged()) return;
    this.runner.release(delivery);
    this.#handled++;
    this.runner.next();
    if (this.closing) this.checkClosing();
  }

  /** The commit failed: what it was to write is written when the store is back. */
  #notStepped(delivery: Delivery, error: BusError): void {
    this.log.warn({ err: error, message: delivery.message.id }, 'a step is written again when the store is back');
    this.#stepped(delivery);
  }

  #passes({ message }: Delivery): boolean {
    try {
      return this.#options.filters.passes(message);
    } catch (err) {
      // It cannot say no: the handler may find out what is wrong with the message.
      this.log.warn({ err, message: message.id }, 'a filter threw');
      return true;
    }
  }
}

function slotOf(delivery: Delivery): Slot {
  return delivery.slot as Slot; // take() has set it
}
