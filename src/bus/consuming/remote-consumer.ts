import { Delivery, failureKind, failureRecord, NotBegun, type Staged } from '../../actors/delivery.ts';
import type { FilterChain } from '../../actors/filters.ts';
import { Worker, type WorkerOptions } from '../../actors/worker.ts';
import { BusError, type ErrorCode, toError } from '../../core/errors.ts';
import { Meter } from '../../core/meter.ts';
import { Ring } from '../../core/ring.ts';
import { flow } from '../../wire/flow.ts';
import type { Parcel } from '../../wire/pack.ts';
import type { Link, Receiver } from '../streams/link.ts';
import { encodeStaged, type StagedRecord } from '../streams/staged.ts';

/** How a delivery ended, other than by being handled. */
export interface Settlement {
  readonly consumer: string;
  readonly number: number;
  readonly outcome: 'ack' | 'error' | 'permanent' | 'payload' | 'filtered' | 'back' | 'unseen';
  /** Of a permanent failure: the payload does not fit the consumer's schema. */
  readonly unfit?: boolean;
  readonly error?: { readonly name: string; readonly message: string };
  readonly staged?: readonly StagedRecord[];
}

/** What a consumer of another node's mailbox is told at its start. */
export interface RemoteConsumerOptions extends WorkerOptions {
  readonly consumer: string;
  readonly filters: FilterChain;
  /** Tells the home of the mailbox how a delivery ended. @throws {BusError} */
  settle(settlement: Settlement): Promise<void>;
  /** How many deliveries may have arrived and not begun. */
  most(): number;
  /** How many deliveries it may hold has changed. */
  credit(credit: number): void;
  /** Its stream has ended. */
  ended(): void;
  /** It has closed. */
  closed(): void;
}

/** One attached handler of a durable mailbox on another node. */
export class RemoteConsumer extends Worker implements Receiver {
  readonly #options: RemoteConsumerOptions;
  readonly #meter = new Meter();
  readonly #arrived = new Ring<Delivery>();
  /** Those whose handlers have not returned. */
  readonly #inHand = new Set<Delivery>();
  #link: Link | undefined;
  #stream = 0;
  #expect = 1;
  /** What a stream must begin with: those that were asked for before may still be on their way over other links. */
  #from = 0;
  /** Counts its streams: what belongs to an earlier one is not told under a later one. */
  #streams = 0;
  #rewinding = false;
  #handled = 0;
  #failed = 0;
  #filtered = 0;
  /** Settlements that the home has not answered. */
  #settling = 0;

  constructor(options: RemoteConsumerOptions) {
    super(options);
    this.#options = options;
  }

  get linked(): boolean {
    return this.#link !== undefined;
  }

  get concurrency(): number {
    return this.runner.concurrency;
  }

  set concurrency(concurrency: number) {
    this.runner.concurrency = concurrency;
    this.#options.credit(concurrency);
  }

  get numbers(): {
    running: number;
    abandoned: number;
    handled: number;
    failed: number;
    filtered: number;
    rate: number;
  } {
    this.#meter.mark(this.#handled - this.#meter.total, this.clock.monotonic());
    return {
      running: this.runner.running,
      abandoned: this.runner.abandoned,
      handled: this.#handled,
      failed: this.#failed,
      filtered: this.#filtered,
      rate: this.#meter.rate(this.clock.monotonic()),
    };
  }

  /** Whether nothing that it was given is left. */
  get empty(): boolean {
    return this.#arrived.size === 0 && this.runner.running === 0 && this.#settling === 0;
  }

  /** How many have arrived and not begun. */
  protected get arrived(): number {
    return this.#arrived.size;
  }

  /** The numbers of the deliveries whose handlers run, for the home to wait with those of a key. */
  get busy(): number[] {
    return [...this.#inHand].map(({ sequence }) => sequence);
  }

  /** The number of the next delivery. */
  get next(): number {
    return this.#expect;
  }

  /** Another stream is asked for. @returns the lowest number that it may begin with, above where any before it began. */
  begin(): number {
    this.#expect = this.#from = Math.max(this.#expect, this.#from + 1);
    return this.#expect;
  }

  /**
   * The home has opened its stream.
   *
   * @param moved the present one goes on over another link, and so does everything that came by it.
   * @returns false when there is none that could go on, or it is one of before, which came late.
   */
  open(link: Link, stream: number, from: number, moved: boolean): boolean {
    if (moved) {
      if (this.#link === undefined || from < this.#from - 1) return false;
      this.#link.tell(flow.unlinked, this.#stream, 0, 0); // behind the last ack that goes that way
    }
    if (!moved && from < this.#from) return false;
    this.#link = link;
    this.#stream = stream;
    this.#rewinding = moved;
    if (moved) {
      // What was under way on the other link may come, or not.
      link.tell(flow.again, stream, this.#expect, 0);
      return true;
    }
    this.#streams++;
    this.#expect = Math.max(this.#expect, from);
    this.#from = from + 1;
    link.tell(flow.confirm, stream, this.#expect - 1, 0);
    return true;
  }

  // Receiver

  receive(number: number, parcel: Parcel | undefined, attempt: number): void {
    if (number !== this.#expect) {
      if (number < this.#expect || this.#rewinding) return;
      this.#rewinding = true;
      this.#link?.tell(flow.again, this.#stream, this.#expect, 0);
      return;
    }
    this.#rewinding = false;
    this.#expect++;
    // No home gives out more than the credit; one that does keeps what is let pass here.
    if (parcel === undefined || this.#arrived.size >= this.#options.most()) return;
    try {
      const message = parcel.open('', '', this.clock.now(), true);
      message.detach();
      this.#arrived.push(new Delivery(message, this, number, Math.max(1, attempt), undefined));
    } catch (error) {
      this.#tell({ consumer: this.#options.consumer, number, outcome: 'payload', error: failureOf(error) });
    }
  }

  settle(): void {
    this.ready();
  }

  /** The stream has ended: the link has gone. What has not begun is forgotten, what runs is aborted; the home gives it out again. */
  ended(link: Link, stream: number): void {
    if (link !== this.#link || stream !== this.#stream) return;
    this.#link = undefined;
    this.#arrived.clear();
    this.runner.cut();
    this.#options.ended();
  }

  // Worker

  get hasMore(): boolean {
    return this.#arrived.size > 0;
  }

  take(): Delivery | undefined {
    for (;;) {
      const delivery = this.#arrived.shift();
      if (delivery === undefined) return undefined;
      if (this.#passes(delivery)) {
        this.#inHand.add(delivery);
        return delivery;
      }
      this.#filtered++;
      this.#tell({ consumer: this.#options.consumer, number: delivery.sequence, outcome: 'filtered' });
    }
  }

  acked(delivery: Delivery): void {
    const { staged, sequence: number } = delivery;
    if (staged === undefined) {
      this.#inHand.delete(delivery);
      this.runner.release(delivery);
      this.#handled++;
      this.#link?.tell(flow.ack, this.#stream, number, 0);
      if (this.closing) this.checkClosing();
      return;
    }
    this.runner.watch(delivery);
    this.#step(delivery, staged).catch(this.runner.fault);
  }

  failed(delivery: Delivery, thrown: unknown): void {
    if (thrown instanceof NotBegun) {
      this.unseen(delivery);
      return;
    }
    this.#inHand.delete(delivery);
    this.runner.release(delivery);
    this.#failed++;
    const kind = failureKind(delivery, thrown);
    const { consumer } = this.#options;
    const about = { consumer, number: delivery.sequence, error: failureOf(thrown) };
    // An older home knows no unfit payloads: to it they are permanent failures.
    this.#tell(kind === 'invalid' ? { ...about, outcome: 'permanent', unfit: true } : { ...about, outcome: kind });
    if (this.closing) this.checkClosing();
  }

  /** A handler that was cut off has returned. */
  override returned(delivery: Delivery): void {
    if (!this.#inHand.delete(delivery) || delivery.state !== 'returned') return;
    // The home waits for it with those of its key.
    if (delivery.message.key !== undefined) this.#letGo(delivery);
  }

  /** A delivery goes back as if it had never been handed out: nobody has seen it. */
  protected unseen(delivery: Delivery): void {
    this.#inHand.delete(delivery);
    this.runner.release(delivery);
    this.#tell({ consumer: this.#options.consumer, number: delivery.sequence, outcome: 'unseen' });
    if (this.closing) this.checkClosing();
  }

  /** So do those that have not begun, but for the first few. The last goes first, so that each comes back in its place. */
  protected keep(count: number): void {
    while (this.#arrived.size > count) {
      const { sequence: number } = this.#arrived.pop() as Delivery; // size > 0
      this.#tell({ consumer: this.#options.consumer, number, outcome: 'unseen' });
    }
  }

  protected get idle(): boolean {
    return this.runner.running === 0 && this.#settling === 0;
  }

  protected stopTaking(): void {
    this.#arrived.clear(); // the home gives them to somebody else
  }

  protected finished(): void {
    this.#options.closed();
  }

  protected aborted(delivery: Delivery): void {
    this.#tell({ consumer: this.#options.consumer, number: delivery.sequence, outcome: 'back' });
  }

  async #step(delivery: Delivery, staged: readonly Staged[]): Promise<void> {
    const { consumer, settle } = this.#options;
    this.#settling++;
    try {
      await settle({ consumer, number: delivery.sequence, outcome: 'ack', staged: staged.map(encodeStaged) });
      if (delivery.confirmStaged()) {
        this.#inHand.delete(delivery);
        this.runner.release(delivery);
        this.#handled++;
      }
    } catch (error) {
      if (delivery.state !== 'confirming') this.#inHand.delete(delivery); // it was cut off meanwhile
      delivery.refuseStaged(error);
    } finally {
      this.#settling--;
      this.runner.next();
      if (this.closing) this.checkClosing();
    }
  }

  #tell(settlement: Settlement): void {
    if (this.#link === undefined) return; // the home has taken it back
    this.#settling++;
    this.#settled(settlement, this.#streams)
      .finally(() => {
        this.#settling--;
        if (this.closing) this.checkClosing();
      })
      .catch(this.runner.fault);
  }

  /** Tells the home until it has heard: otherwise the delivery would stay out for ever. */
  async #settled(settlement: Settlement, stream: number): Promise<void> {
    while (this.#link !== undefined && this.#streams === stream) {
      try {
        await this.#options.settle(settlement);
        return;
      } catch (err) {
        this.log.debug({ err, number: settlement.number }, 'a settlement was not taken');
        if (!(err instanceof BusError) || !unheard.has(err.code) || this.state === 'closed') return;
      }
      await new Promise<void>((done) => void this.clock.timer(tellAgain, done).unref());
    }
  }

  /** A handler of an earlier stream has returned. */
  #letGo(delivery: Delivery): void {
    const { consumer, settle } = this.#options;
    // When the home cannot be reached it learns of it at the next attachment.
    settle({ consumer, number: delivery.sequence, outcome: 'back' }).catch((err: unknown) => {
      this.log.debug({ err, number: delivery.sequence }, 'the home was not told that a handler has returned');
    });
  }

  #passes({ message }: Delivery): boolean {
    const { filters } = this.#options;
    if (filters.predicates.length === 0) return true;
    try {
      return filters.passes(message);
    } catch (err) {
      this.log.warn({ err, message: message.id }, 'a filter threw');
      return true;
    }
  }
}

/** After which failures the home may not have heard of a settlement. */
const unheard: ReadonlySet<ErrorCode> = new Set(['TIMEOUT', 'MAILBOX_FULL', 'NODE_UNREACHABLE', 'NO_LEADER']);
/** How long to wait then, in milliseconds. */
const tellAgain = 500;

function failureOf(thrown: unknown): { name: string; message: string } {
  const { name, message } = failureRecord(toError(thrown), 0);
  return { name, message };
}
