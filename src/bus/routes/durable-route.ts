import type { DurableMailbox } from '../../actors/durable-mailbox.ts';
import type { RoomWaiter } from '../../actors/room.ts';
import { BusError, type ErrorCode, type Receipt } from '../../core/errors.ts';
import type { Message } from '../../core/message.ts';
import type { RetryPolicy } from '../../core/retry.ts';
import type { Pattern } from '../../routing/pattern.ts';
import type { Commitment } from '../../storage/commits.ts';
import { storeOwn } from '../../storage/segment.ts';
import { type Publication, receiptOf, type Ticket } from './publication.ts';
import type { DeadlineKeeper, DurableTarget, Route } from './route.ts';
import { Waiting } from './waiting.ts';

/** The way to a durable mailbox of this node. */
export class DurableRoute implements Route, DurableTarget {
  readonly subscription: string;
  readonly node: string;
  readonly pattern: Pattern;
  readonly mailbox: DurableMailbox;
  readonly reachable = true;

  constructor(mailbox: DurableMailbox, pattern: Pattern) {
    this.mailbox = mailbox;
    this.subscription = mailbox.name;
    this.node = mailbox.options.node;
    this.pattern = pattern;
  }

  get retry(): Readonly<RetryPolicy> {
    return this.mailbox.policy.retry;
  }

  hasRoom(message: Message): boolean {
    if (this.mailbox.closed || this.mailbox.hasRoom(message.size)) return true;
    this.mailbox.tally.refused++;
    return false;
  }

  emit(message: Message): boolean {
    const { mailbox } = this;
    if (mailbox.options.commits.error !== undefined) return false;
    if (mailbox.offer(message, undefined) !== 'full') return true;
    if (mailbox.limits.overflow === 'block') mailbox.tally.refused++; // offer() counts the other one
    return false;
  }

  accept(_message: Message): boolean {
    return false;
  }

  publishAlone(message: Message, timeout: number, deadlines: DeadlineKeeper): Promise<Receipt> | undefined {
    const { mailbox } = this;
    if (mailbox.closed || !mailbox.hasRoom(message.size)) return undefined;
    storeOwn(message);
    const storing = new Storing(this, message, timeout);
    // Its own policy may have dealt with it: then it is matched, and stored nowhere.
    if (mailbox.offer(message, storing) !== 'accepted') return Promise.resolve(receiptOf(message, 1));
    deadlines.await(storing, timeout);
    return storing.result;
  }

  publish(message: Message, publication: Publication): void {
    const { mailbox } = this;
    const { error } = mailbox.options.commits;
    if (error !== undefined) {
      publication.failed(this, error.code);
      return;
    }
    const ticket = new DurableTicket(this, message, publication);
    switch (mailbox.offer(message, ticket)) {
      case 'accepted':
        publication.expect(ticket);
        return;
      case 'closed':
        publication.receipt.matched--;
        return;
      case 'full':
        if (mailbox.limits.overflow === 'block' && mailbox.wait(ticket)) publication.expect(ticket);
        else publication.failed(this, 'MAILBOX_FULL');
        return;
      default:
        // Its own policy has dealt with it.
        return;
    }
  }

  get durable(): DurableTarget {
    return this;
  }

  refuses(message: Message): BusError | undefined {
    const { mailbox } = this;
    const { messages, bytes, overflow } = mailbox.limits;
    if (mailbox.closed) return undefined;
    const { error } = mailbox.options.commits;
    if (error !== undefined) return error;
    // Twice the limit: what a step puts out must not wait for what itself is to settle.
    const full = mailbox.size >= 2 * messages || (mailbox.size > 0 && mailbox.bytes + message.size > 2 * bytes);
    if (!full || overflow === 'drop-oldest' || overflow === 'drop-newest') return undefined;
    return new BusError('MAILBOX_FULL', `the mailbox of '${mailbox.name}' holds twice what it may`);
  }

  stage(message: Message, commitment: Commitment | undefined): void {
    const { mailbox } = this;
    if (mailbox.closed) return;
    if (mailbox.hasRoom(message.size)) mailbox.offer(message, commitment);
    else mailbox.force(message, commitment);
  }

  has(message: Message): boolean {
    return this.mailbox.journal.knows(message.id);
  }
}

/** A message that is stored in one mailbox of this node, and waits for nothing else. */
class Storing extends Waiting implements Commitment {
  committed(synced: boolean): void {
    this.done(synced ? 'fsync' : 'os', 1);
  }

  failed(error: BusError): void {
    this.end(error.code);
  }
}

/** A message that waits for its commit; or for room, and then for its commit. */
class DurableTicket implements Ticket, Commitment, RoomWaiter {
  readonly route: DurableRoute;
  readonly size: number;
  readonly distant = false;
  #message: Message | undefined;
  readonly #publication: Publication;

  constructor(route: DurableRoute, message: Message, publication: Publication) {
    this.route = route;
    this.size = message.size;
    this.#message = message;
    this.#publication = publication;
  }

  committed(synced: boolean): void {
    this.#publication.stored(synced ? 'fsync' : 'os', this);
  }

  failed(error: BusError): void {
    this.#publication.failed(this.route, error.code, this);
  }

  admit(): void {
    const message = this.#message;
    if (message === undefined) return;
    this.#message = undefined;
    const { error } = this.route.mailbox.options.commits;
    if (error === undefined) this.route.mailbox.force(message, this);
    else this.failed(error);
  }

  closed(): void {
    this.#publication.failed(this.route, 'CLOSED', this);
  }

  abandon(): ErrorCode {
    if (this.#message !== undefined) {
      this.#message = undefined;
      this.route.mailbox.stopWaiting(this);
    }
    return 'TIMEOUT';
  }
}
