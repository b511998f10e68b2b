import type { ErrorCode } from '../../core/errors.ts';
import type { Message } from '../../core/message.ts';
import type { RetryPolicy } from '../../core/retry.ts';
import type { Pattern } from '../../routing/pattern.ts';
import type { SubscriptionEntry } from '../../wire/frame.ts';
import { Parcel } from '../../wire/pack.ts';
import type { Link } from '../streams/link.ts';
import { type Confirmation, Outbox, type OutboxEntry } from '../streams/outbox.ts';
import { type GroupMember, standings } from './group-route.ts';
import type { Listener, Ticket } from './publication.ts';

/** What a remote route needs of its surroundings. */
export interface RemoteHost {
  /** This node. */
  readonly node: string;
  /** What the ids of this node's messages start with. */
  readonly origin: string;
  /** The link over which a node is reached now. */
  path(node: string): Link | undefined;
  /** There is something to send to a node. */
  wanted(node: string): void;
  /** The lowest number that no outbox of this node has used. */
  freshNumber(): number;
  usedNumbers(below: number): void;
  dropped(subscription: string, node: string, count: number, reason: 'refused' | 'unreachable'): void;
}

// One message goes to many routes one after the other: its encoded form is kept for the next of them.
let lastMessage: Message | undefined;
let lastParcel: Parcel | undefined;

/** @param origin this node's: what others have numbered, and a handler here has staged, bears its whole id. */
function parcelOf(message: Message, origin: string): Parcel {
  if (lastMessage === message && lastParcel !== undefined) return lastParcel;
  lastMessage = message;
  lastParcel = Parcel.of(message, origin);
  return lastParcel;
}

/** The way to a mailbox of another node. */
export class RemoteRoute implements GroupMember {
  readonly subscription: string;
  readonly node: string;
  readonly pattern: Pattern;
  readonly durable = undefined;
  readonly patient = false;
  readonly retry: Readonly<RetryPolicy>;
  readonly #host: RemoteHost;
  readonly #incarnation: string;
  readonly group: string | undefined;
  readonly local = false;
  readonly mailbox: string;
  #outbox: Outbox | undefined;

  constructor(
    host: RemoteHost,
    member: { node: string; incarnation: string },
    entry: SubscriptionEntry,
    pattern: Pattern,
  ) {
    this.#host = host;
    this.subscription = entry.name;
    this.node = member.node;
    this.pattern = pattern;
    this.retry = entry.retry;
    this.#incarnation = member.incarnation;
    this.group = entry.group;
    this.mailbox = entry.id;
  }

  get reachable(): boolean {
    return this.#host.path(this.node) !== undefined;
  }

  /** How many messages the home has not confirmed. */
  get unconfirmed(): number {
    return this.#outbox === undefined ? 0 : this.#outbox.unconfirmed;
  }

  standing(): number {
    if (!this.reachable) return standings.away;
    return this.#outbox === undefined || this.#outbox.flows ? standings.free : standings.busy;
  }

  hasRoom(_message: Message): boolean {
    return this.#outbox === undefined || this.#outbox.hasRoom;
  }

  emit(message: Message): boolean {
    const outbox = this.#open();
    if (!outbox.hasRoom) return false;
    outbox.enter(parcelOf(message, this.#host.origin), undefined);
    return true;
  }

  accept(_message: Message): boolean {
    return false;
  }

  publish(message: Message, publication: Listener): void {
    if (!this.reachable) {
      publication.unreachable(this);
      return;
    }
    const outbox = this.#open();
    const ticket = new RemoteTicket(this, outbox, publication);
    const entry = outbox.enter(parcelOf(message, this.#host.origin), ticket);
    if (entry === undefined) {
      publication.failed(this, 'MAILBOX_FULL');
      return;
    }
    ticket.entry = entry;
    publication.expect(ticket);
  }

  /** Resolves when the home has confirmed everything, or what it has not was given up. */
  flushed(): Promise<void> {
    return new Promise((done) => {
      if (this.#outbox === undefined) done();
      else this.#outbox.whenEmpty(done);
    });
  }

  /** The node can be reached over a new link. */
  relink(): void {
    this.#outbox?.relink();
  }

  /** The node has not been reachable for too long. */
  giveUp(): void {
    this.#outbox?.giveUp();
  }

  /** The subscription is gone. */
  close(): void {
    const outbox = this.#outbox;
    if (outbox === undefined) return;
    this.#outbox = undefined;
    outbox.close();
    this.#host.usedNumbers(outbox.next);
  }

  #open(): Outbox {
    if (this.#outbox !== undefined) return this.#outbox;
    const { node, origin } = this.#host;
    this.#outbox = new Outbox(
      { target: this.node, incarnation: this.#incarnation, mailbox: this.mailbox, source: node, origin },
      {
        path: () => {
          this.#host.wanted(this.node);
          return this.#host.path(this.node);
        },
        dropped: (count, reason) => this.#host.dropped(this.subscription, this.node, count, reason),
      },
      this.#host.freshNumber(),
    );
    return this.#outbox;
  }
}

/** A message that waits to be confirmed by the home of a mailbox. */
class RemoteTicket implements Ticket, Confirmation {
  readonly route: RemoteRoute;
  entry: OutboxEntry | undefined = undefined;
  readonly #outbox: Outbox;
  readonly #publication: Listener;

  constructor(route: RemoteRoute, outbox: Outbox, publication: Listener) {
    this.route = route;
    this.#outbox = outbox;
    this.#publication = publication;
  }

  taken(): void {
    this.#publication.taken(this);
  }

  refused(_entry: OutboxEntry, code: ErrorCode): void {
    if (code === 'NOT_FOUND') this.#publication.gone(this.route, this);
    else this.#publication.failed(this.route, code, this);
  }

  unreachable(): void {
    this.#publication.unreachable(this.route, this);
  }

  abandon(): ErrorCode {
    if (this.entry !== undefined) this.#outbox.abandon(this.entry);
    return this.route.reachable ? 'TIMEOUT' : 'NODE_UNREACHABLE';
  }
}
