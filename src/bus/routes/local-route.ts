import type { RoomWaiter } from '../../actors/room.ts';
import type { Subscriber } from '../../actors/subscriber.ts';
import type { ErrorCode } from '../../core/errors.ts';
import type { Message } from '../../core/message.ts';
import type { RetryPolicy } from '../../core/retry.ts';
import type { Pattern } from '../../routing/pattern.ts';
import { type GroupMember, standings } from './group-route.ts';
import type { Listener, Ticket } from './publication.ts';

/** The way to a mailbox of this node. */
export class LocalRoute implements GroupMember {
  readonly subscription: string;
  readonly node: string;
  readonly pattern: Pattern;
  readonly durable = undefined;
  readonly retry: Readonly<RetryPolicy>;
  readonly reachable = true;
  readonly subscriber: Subscriber;
  readonly group: string | undefined;
  readonly local = true;
  readonly mailbox: string;

  constructor(subscriber: Subscriber, pattern: Pattern, group: string | undefined) {
    this.subscriber = subscriber;
    this.group = group;
    this.mailbox = subscriber.mailboxId;
    this.subscription = subscriber.name;
    this.node = subscriber.options.node;
    this.pattern = pattern;
    this.retry = subscriber.options.retry;
  }

  standing({ size }: Message): number {
    const { subscriber } = this;
    if (subscriber.state === 'closing' || subscriber.state === 'closed') return standings.gone;
    return subscriber.active && subscriber.mailbox.fits(size) ? standings.free : standings.busy;
  }

  hasRoom(message: Message): boolean {
    const { subscriber } = this;
    if (subscriber.hasRoom(message) || subscriber.state === 'closing' || subscriber.state === 'closed') return true;
    subscriber.refuse();
    return false;
  }

  emit(message: Message): boolean {
    const { subscriber } = this;
    if (subscriber.offer(message) !== 'full') return true;
    if (subscriber.options.limits.overflow === 'block') subscriber.refuse(); // offer() counts the other one
    return false;
  }

  accept(message: Message): boolean {
    return this.subscriber.offer(message) === 'accepted';
  }

  publish(message: Message, publication: Listener): void {
    const { subscriber } = this;
    if (subscriber.state === 'closing' || subscriber.state === 'closed') {
      publication.receipt.matched--;
      return;
    }
    if (subscriber.options.limits.overflow !== 'block') {
      publication.failed(this, 'MAILBOX_FULL');
      return;
    }
    const ticket = new RoomTicket(this, message, publication);
    if (!subscriber.wait(ticket)) publication.failed(this, 'MAILBOX_FULL');
    else publication.expect(ticket);
  }
}

/** A message that waits for room in a mailbox of this node. */
class RoomTicket implements Ticket, RoomWaiter {
  readonly route: LocalRoute;
  readonly size: number;
  readonly distant = false;
  #message: Message | undefined;
  readonly #publication: Listener;

  constructor(route: LocalRoute, message: Message, publication: Listener) {
    this.route = route;
    this.size = message.size;
    this.#message = message;
    this.#publication = publication;
  }

  admit(): void {
    if (this.#message === undefined) return;
    this.route.subscriber.admit(this.#message);
    this.#publication.taken(this);
  }

  closed(): void {
    if (this.#message !== undefined) this.#publication.failed(this.route, 'CLOSED', this);
  }

  abandon(): ErrorCode {
    this.#message = undefined;
    this.route.subscriber.refuse();
    this.route.subscriber.mailbox.stopWaiting(this);
    return 'TIMEOUT';
  }
}
