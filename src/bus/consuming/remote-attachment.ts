import type { Fence } from '../../actors/fences.ts';
import type { SubscriptionStats } from '../../actors/subscriber-options.ts';
import { deferred } from '../../core/async.ts';
import type { Clock } from '../../core/clock.ts';
import { BusError, type ErrorCode } from '../../core/errors.ts';
import type { SubscriptionState } from '../../core/lifecycle.ts';
import type { Logger } from '../../core/log.ts';
import type { DurableEntry } from '../../wire/frame.ts';
import type { Wanted } from './consumer-link.ts';
import type { Asking } from './patience.ts';
import type { RemoteConsumer } from './remote-consumer.ts';
import type { SubscriptionDriver } from './subscription.ts';

/** What an attachment to a mailbox of another node needs of its surroundings. */
export interface RemoteAttachmentHost {
  readonly clock: Clock;
  readonly log: Logger;
  /** Asks the home. @throws {BusError} */
  ask(node: string, method: string, params: unknown, timeout: number): Promise<unknown>;
  reachable(node: string): boolean;
  readonly asking: Asking;
  ended(attachment: RemoteAttachment): void;
}

/** How long the home may take to answer, in milliseconds. */
const answerTime = 10_000;
/** How long to wait after an attempt to attach that failed, in milliseconds. */
const again = 500;
/** Answers of the home that stay the same until somebody does something about them. */
const lasting: ReadonlySet<ErrorCode> = new Set(['MAILBOX_FULL', 'DENIED', 'OPTION_INVALID']);

/** A durable subscription whose home is another node: attached again whenever the home is back. */
export class RemoteAttachment implements SubscriptionDriver {
  readonly entry: DurableEntry;
  readonly id: string;
  readonly #host: RemoteAttachmentHost;
  readonly #timeout: number;
  readonly #fence: Fence | undefined;
  readonly #detached = deferred<void>();
  #consumer: RemoteConsumer | undefined;
  #wanted: Wanted;
  /** The highest credit that was ever wanted. */
  #highest: number;
  /** Of what the home was told last, and whether an answer to that is awaited. */
  #told: Wanted | undefined;
  #telling = false;
  #attaching = false;
  #closed = false;
  /** The answer that was warned of last. */
  #warned: ErrorCode | undefined;

  constructor(
    host: RemoteAttachmentHost,
    entry: DurableEntry,
    id: string,
    credit: number,
    timeout: number,
    fence: Fence | undefined,
  ) {
    this.#host = host;
    this.entry = entry;
    this.id = id;
    this.#wanted = { credit, newest: false };
    this.#highest = credit;
    this.#timeout = timeout;
    this.#fence = fence;
  }

  get name(): string {
    return this.entry.name;
  }

  get state(): SubscriptionState {
    return this.#consumer?.state ?? (this.#closed ? 'closed' : 'active');
  }

  get closed(): Promise<void> {
    return this.#detached.promise;
  }

  get consumer(): RemoteConsumer | undefined {
    return this.#consumer;
  }

  get wanted(): Wanted {
    return this.#wanted;
  }

  /** How many deliveries the home can have sent that have not begun: those of an earlier stream, and of this one. */
  get most(): number {
    return 2 * this.#highest + 1;
  }

  /** How many deliveries are wanted from now on, and which. */
  set wanted(wanted: Wanted) {
    this.#wanted = wanted;
    this.#highest = Math.max(this.#highest, wanted.credit);
    this.#tellWanted();
  }

  /** Whether the home has been asked for deliveries, and has taken that as far as is known. */
  get attached(): boolean {
    return this.#attaching || this.#consumer?.linked === true;
  }

  /** Asks the home something about the consumer. @throws {BusError} */
  ask(method: string, params: object, timeout = answerTime): Promise<unknown> {
    return this.#host.ask(this.entry.home, method, { ...params, consumer: this.id }, timeout);
  }

  /**
   * Resolves when the home has nothing for the consumer now, to its answer, or when that is not waited for any more. In a
   * shared folder the next home is asked, as soon as it has the consumer. @throws {BusError}
   */
  exhausted(waits: () => boolean): Promise<unknown> {
    return this.#host.asking(answerTime, async (left) => {
      if (!waits()) return undefined;
      try {
        return await this.ask('consumer.exhausted', this.#wanted, left);
      } catch (error) {
        if (!(error instanceof BusError) || error.code !== 'NOT_FOUND') throw error;
        throw new BusError('NODE_UNREACHABLE', `'${this.name}' is not attached`, { cause: error });
      }
    });
  }

  /** Attaches for the first time. Resolves when the home has taken it, or cannot be reached for now. */
  async start(consumer: RemoteConsumer): Promise<void> {
    this.#consumer = consumer;
    await this.connect();
  }

  /** The home may have come back. */
  async connect(): Promise<void> {
    const { log, ask, reachable } = this.#host;
    const consumer = this.#consumer;
    const { home, id: mailbox } = this.entry;
    if (this.#attaching || this.#closed || consumer === undefined || consumer.linked || !reachable(home)) return;
    this.#attaching = true;
    try {
      const { busy } = consumer;
      const from = consumer.begin();
      this.#told = this.#wanted;
      const params = {
        mailbox,
        consumer: this.id,
        ...this.#wanted,
        timeout: this.#timeout,
        busy,
        from,
        ...(this.#fence && { fence: this.#fence }),
      };
      await ask(home, 'consumer.attach', params, answerTime);
      this.#warned = undefined;
    } catch (err) {
      this.#attaching = false;
      const code = err instanceof BusError && lasting.has(err.code) ? err.code : undefined;
      const level = code !== undefined && code !== this.#warned ? 'warn' : 'debug';
      this.#warned = code ?? this.#warned;
      log[level]({ err, subscription: this.name, home }, 'the home does not take the consumer yet');
    }
    // Whatever has become of it, it is looked after: a stream that did not open is asked for again. Not before: what has
    // been handed out on the one that is about to open would be handed out anew.
    this.#later(() => {
      this.#attaching = false;
    });
  }

  /** Its stream has ended: most often with its link, whose successor brings it back. Otherwise it is asked for in a while. */
  unlinked(): void {
    this.#later(() => undefined);
  }

  /** Sees a while later whether it has its stream, and asks for one if not. */
  #later(before: () => void): void {
    const look = (): void => {
      before();
      this.connect().catch(() => undefined);
    };
    this.#host.clock.timer(again, look).unref();
  }

  pause(): void {
    this.#consumer?.pause();
  }

  resume(): void {
    this.#consumer?.resume();
  }

  stats(): SubscriptionStats {
    const numbers = this.#consumer?.numbers ?? {
      running: 0,
      abandoned: 0,
      handled: 0,
      failed: 0,
      filtered: 0,
      rate: 0,
    };
    return { waiting: 0, bytes: 0, dead: 0, dropped: 0, expired: 0, refused: 0, probing: false, ...numbers };
  }

  async drain(timeout: number): Promise<void> {
    const { home, name } = this.entry;
    await this.#host.asking(timeout, async (left) => {
      if (!this.#host.reachable(home)) {
        throw new BusError('NODE_UNREACHABLE', `'${name}' cannot be drained: its home '${home}' is away`);
      }
      await this.#host.ask(home, 'mailbox.drain', { name, timeout: left }, left + answerTime);
    });
  }

  /** Detaches: the mailbox stays. */
  async close(timeout: number): Promise<void> {
    await this.#consumer?.close(timeout);
    this.end();
  }

  /** The consumer has closed, or the subscription is removed. */
  end(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#consumer !== undefined) this.#tell('consumer.detach', { consumer: this.id });
    this.#host.ended(this);
    this.#detached.resolve();
  }

  /** One request at a time, however often that changes. */
  #tellWanted(): void {
    const { credit, newest } = this.#wanted;
    const same = this.#told !== undefined && this.#told.credit === credit && this.#told.newest === newest;
    if (same || this.#telling || this.#closed || !this.attached || !this.#host.reachable(this.entry.home)) return;
    this.#told = this.#wanted;
    this.#telling = true;
    this.ask('consumer.credit', this.#wanted)
      .catch((err: unknown) => {
        this.#told = undefined; // it is told with the next attachment, if not before
        this.#host.log.debug({ err, subscription: this.name }, 'the home was not told how many deliveries are wanted');
      })
      .finally(() => {
        this.#telling = false;
        if (this.#told !== undefined) this.#tellWanted();
      })
      .catch(() => undefined);
  }

  #tell(method: string, params: unknown): void {
    const { home } = this.entry;
    if (!this.#host.reachable(home)) return; // the home notices by itself
    this.#host.ask(home, method, params, answerTime).catch((err: unknown) => {
      this.#host.log.debug({ err, subscription: this.name, home }, `'${method}' was not taken`);
    });
  }
}
