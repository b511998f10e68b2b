import { BusError, describe, isPermanent, isUnfit, PermanentError, toError } from '../core/errors.ts';
import { checkExtension } from '../core/extension.ts';
import type { DeliveryState } from '../core/lifecycle.ts';
import type { Logger } from '../core/log.ts';
import type { Message } from '../core/message.ts';
import { checkPayload, type Destination, nameOf, type PayloadFor } from '../routing/typed-topic.ts';

/** What a handler gets beside its message. */
export interface Context {
  /** Which attempt this is, from 1. */
  readonly attempt: number;
  /** The subscription's name. */
  readonly subscription: string;
  /** Aborted when the attempt's time is up or the bus closes. Made only when read. */
  readonly signal: AbortSignal;
  /** A logger that bears node, subscription, message id, topic and attempt. */
  readonly log: Logger;
  /**
   * Stages a message that is published when the handler has succeeded, and dropped when it fails. The delivery is
   * settled after the receipts of all that it staged.
   *
   * @throws {BusError} `TOPIC_INVALID`, `PAYLOAD_INVALID`, `PAYLOAD_TOO_LARGE`, `OPTION_INVALID`; `CLOSED` once settled.
   */
  publish<D extends Destination>(topic: D, payload: PayloadFor<D>, options?: StagedOptions): Promise<void>;
  /** Gives this attempt `ms` milliseconds from now instead of what is left of its timeout. */
  extend(ms: number): void;
  /** Sends the message to the dead letters at once, without another attempt, whatever the handler does afterwards. */
  term(reason?: string): void;
}

/** What a staged message can be given. */
export interface StagedOptions {
  id?: string;
  key?: string;
  headers?: Record<string, string>;
  ttl?: number;
  delay?: number;
  deliverAt?: Date | number;
}

/** What identifies one attempt: an acknowledgement that names another is refused. */
export interface Token {
  /** The mailbox's id, new at each creation. */
  readonly mailbox: string;
  /** The incarnation of the node that holds the mailbox. */
  readonly incarnation: string;
  /** The message's place in the mailbox. */
  readonly sequence: number;
  /** From 1. */
  readonly attempt: number;
}

/**
 * Thrown in place of a handler that was not called: the message goes back to where it was, and the attempt does not count.
 * Whoever throws it has paused the subscription, or closes it: the message would come again at once.
 */
export class NotBegun extends BusError {}

/** What is remembered of a message that has failed before. */
export interface History {
  readonly firstError: FailureRecord;
}

/** A failure as it is stored: an `Error` itself does not travel. */
export interface FailureRecord {
  readonly name: string;
  readonly message: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/** A message staged by a handler, ready to be routed. */
export type Staged = Message;

/** What a delivery needs of the subscriber that owns it. */
export interface DeliveryOwner {
  readonly name: string;
  readonly mailboxId: string;
  readonly incarnation: string;
  readonly log: Logger;
  acked(delivery: Delivery): void;
  failed(delivery: Delivery, error: unknown): void;
  extended(delivery: Delivery, ms: number): void;
  prepare(topic: string, payload: unknown, options: StagedOptions | undefined): Staged;
}

/**
 * One attempt to hand one message to one consumer. It settles exactly once; each settling method tells whether it was
 * the first. It is its own context, so a message costs one object beside itself however often it fails to need more.
 */
export class Delivery implements Context {
  readonly message: Message;
  readonly attempt: number;
  /** The place in the mailbox. */
  readonly sequence: number;
  /** */
  readonly owner: DeliveryOwner;
  /** */
  readonly history: History | undefined;
  /** The next one that waits for the same key. */
  next: Delivery | undefined = undefined;
  /** When it arrived, in milliseconds since the epoch, where its mailbox limits the time that messages may wait. */
  arrivedAt = 0;
  /** The place of a durable mailbox that it was taken from. */
  slot: object | undefined = undefined;
  /** The deadline of an attempt that did not end at once. */
  running: object | undefined = undefined;
  /** */
  staged: Staged[] | undefined = undefined;
  #state: DeliveryState = 'waiting';
  #controller: AbortController | undefined = undefined;

  /** */
  constructor(message: Message, owner: DeliveryOwner, sequence: number, attempt: number, history: History | undefined) {
    this.message = message;
    this.owner = owner;
    this.sequence = sequence;
    this.attempt = attempt;
    this.history = history;
  }

  get state(): DeliveryState {
    return this.#state;
  }

  get subscription(): string {
    return this.owner.name;
  }

  get token(): Token {
    const { mailboxId, incarnation } = this.owner;
    return { mailbox: mailboxId, incarnation, sequence: this.sequence, attempt: this.attempt };
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#state === 'timedOut' || this.#state === 'returned') this.#controller.abort(this.#abortReason());
    }
    return this.#controller.signal;
  }

  get log(): Logger {
    const { id, topic } = this.message;
    return this.owner.log.child({ message: id, topic, attempt: this.attempt });
  }

  async publish(to: Destination, payload: unknown, options?: StagedOptions): Promise<void> {
    const checking = checkPayload(to, payload);
    if (checking !== undefined) await checking; // otherwise it is staged before this returns
    if (this.#state !== 'running') {
      throw new BusError('CLOSED', `this delivery is ${this.#state}: what it stages now would be lost`);
    }
    const staged = this.owner.prepare(nameOf(to), payload, options);
    if (this.staged === undefined) this.staged = [staged];
    else if (this.staged.length < maxStaged) this.staged.push(staged);
    else throw new BusError('OPTION_INVALID', `one handler call stages at most ${maxStaged} messages`);
  }

  extend(ms: number): void {
    checkExtension(ms);
    if (this.#state === 'running') this.owner.extended(this, ms);
  }

  term(reason?: string): void {
    this.nack(new PermanentError(reason ?? 'the handler called term()'));
  }

  /** Settles as handled. @returns whether this was the first settlement. */
  ack(): boolean {
    if (this.#state !== 'running') return false;
    this.#state = this.staged === undefined ? 'acked' : 'confirming';
    this.owner.acked(this);
    return true;
  }

  /** Settles as failed: to be tried again, or given up when `error` is a {@link PermanentError}. @returns as `ack`. */
  nack(error: unknown): boolean {
    if (this.#state !== 'running') return false;
    this.#state = isPermanent(error) ? 'termed' : 'nacked';
    this.owner.failed(this, error);
    return true;
  }

  /** */
  begin(): void {
    this.#state = 'running';
  }

  /** Everything that it staged has its receipt. @returns whether it was still waiting for that. */
  confirmStaged(): boolean {
    if (this.#state !== 'confirming') return false;
    this.#state = 'acked';
    return true;
  }

  /** Something that it staged was not taken: the attempt has failed. */
  refuseStaged(error: unknown): void {
    if (this.#state !== 'confirming') return;
    this.#state = 'nacked';
    this.owner.failed(this, error);
  }

  /** Ends an attempt from outside. @returns whether it was still running. */
  cut(state: 'timedOut' | 'returned'): boolean {
    if (this.#state !== 'running' && this.#state !== 'confirming') return false;
    this.#state = state;
    this.#controller?.abort(this.#abortReason());
    return true;
  }

  /** It leaves the mailbox without having run. */
  drop(): void {
    this.#state = 'dropped';
  }

  #abortReason(): BusError {
    return this.#state === 'timedOut'
      ? new BusError('TIMEOUT', `attempt ${this.attempt} of ${this.message.id} took too long`)
      : new BusError(
          'ABORTED',
          `attempt ${this.attempt} of ${this.message.id} was cut off because its subscription closes`,
        );
  }
}

/** How many messages one handler call may stage. */
const maxStaged = 1000;

/** How an attempt failed: what may be tried again, what not, and what cannot be handled by anybody. */
export type FailureKind = 'error' | 'permanent' | 'payload' | 'invalid';

export function failureKind(delivery: Delivery, thrown: unknown): FailureKind {
  if (delivery.message.undecodable) return 'payload';
  if (delivery.state !== 'termed') return 'error';
  return isUnfit(thrown) ? 'invalid' : 'permanent';
}

/** A failure as it is stored. */
export function failureRecord(thrown: unknown, at: number): FailureRecord {
  const error = toError(thrown);
  return { name: textOf(() => error.name, 'Error'), message: textOf(() => error.message, ''), at };
}

/** A text that may be no text, or may not want to be read. */
function textOf(read: () => unknown, otherwise: string): string {
  try {
    const value = read();
    return typeof value === 'string' ? value : describe(value);
  } catch {
    return otherwise;
  }
}
