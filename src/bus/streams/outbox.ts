import type { ErrorCode } from '../../core/errors.ts';
import { Ring } from '../../core/ring.ts';
import { flow, refusals } from '../../wire/flow.ts';
import type { ControlFrame } from '../../wire/frame.ts';
import type { DataWriter, Parcel } from '../../wire/pack.ts';
import type { Link, Sender } from './link.ts';

/** How much of an outbox may be unconfirmed; as much again may wait for room. */
export const outboxWindow = { messages: 8192, bytes: 4 * 1024 * 1024 };
/** How many messages may be sent before the home has said how many it takes. */
export const firstAllowance = 1024;

/** What an outbox needs of its surroundings. */
export interface OutboxHost {
  /** The link over which the home is reached now. */
  path(): Link | undefined;
  /** Messages that nobody waited for were lost. */
  dropped(count: number, reason: 'refused' | 'unreachable'): void;
}

/** Who waits for a message to be confirmed. */
export interface Confirmation {
  /** The home has taken it. */
  taken(entry: OutboxEntry): void;
  /** The home has refused it. */
  refused(entry: OutboxEntry, code: ErrorCode): void;
  /** The home will not be reached. */
  unreachable(entry: OutboxEntry): void;
}

/** One message in an outbox. */
export class OutboxEntry {
  /** Undefined when it was given up. */
  parcel: Parcel | undefined;
  /** Undefined when nobody waits, or nobody waits any more. */
  waiter: Confirmation | undefined;
  /** Nobody ever waited for it: when it is lost, that is told as an event. */
  readonly emitted: boolean;
  refused: ErrorCode | undefined = undefined;
  /** 0 until it has entered the window. */
  number = 0;

  constructor(parcel: Parcel, waiter: Confirmation | undefined) {
    this.parcel = parcel;
    this.waiter = waiter;
    this.emitted = waiter === undefined;
  }
}

/** Which mailbox an outbox leads to, and where it comes from. */
export interface OutboxRoute {
  readonly target: string;
  readonly incarnation: string;
  readonly mailbox: string;
  readonly source: string;
  readonly origin: string;
}

/**
 * A publisher's numbered queue towards one mailbox on another node. What has not been confirmed is kept and sent again,
 * by number, whenever the link to the mailbox's home has been replaced; the home takes each number once, in order.
 */
export class Outbox implements Sender {
  stream = 0;
  queued = false;
  readonly #route: OutboxRoute;
  readonly #host: OutboxHost;
  readonly #window = new Ring<OutboxEntry>();
  readonly #waiting = new Ring<OutboxEntry>();
  #waitingBytes = 0;
  #link: Link | undefined;
  /** The number of the window's head. */
  #first: number;
  /** The number to be sent next. */
  #cursor: number;
  /** The highest number that the home takes. */
  #allow: number;
  #bytes = 0;
  #onEmpty: (() => void)[] = [];

  /** @param from the first number; above all that this node has used towards this mailbox. */
  constructor(route: OutboxRoute, host: OutboxHost, from: number) {
    this.#route = route;
    this.#host = host;
    this.#first = this.#cursor = from;
    this.#allow = from - 1 + firstAllowance;
  }

  /** How many messages are not confirmed yet. */
  get unconfirmed(): number {
    return this.#window.size + this.#waiting.size;
  }

  /** The number that the next message gets. */
  get next(): number {
    return this.#first + this.#window.size;
  }

  get hasRoom(): boolean {
    return this.#waiting.size === 0 && this.#fits;
  }

  /** Whether the home would take the next message at once. */
  get flows(): boolean {
    return this.hasRoom && this.next <= this.#allow;
  }

  /** Takes a message, or lets it wait for room behind those that wait already. @returns undefined when too many wait. */
  enter(parcel: Parcel, waiter: Confirmation | undefined): OutboxEntry | undefined {
    const entry = new OutboxEntry(parcel, waiter);
    if (this.hasRoom) {
      this.#push(entry, parcel);
      return entry;
    }
    if (this.#waiting.size >= outboxWindow.messages || this.#waitingBytes >= outboxWindow.bytes) return undefined;
    this.#waitingBytes += parcel.size;
    this.#waiting.push(entry);
    return entry;
  }

  /** Calls `fn` once when everything has been confirmed or given up. */
  whenEmpty(fn: () => void): void {
    if (this.unconfirmed === 0) fn();
    else this.#onEmpty.push(fn);
  }

  /** Nobody waits for this message any more: unless it was sent already, it will not be. */
  abandon(entry: OutboxEntry): void {
    entry.waiter = undefined;
    if (entry.parcel === undefined || (entry.number !== 0 && entry.number < this.#cursor)) return;
    if (entry.number === 0) this.#waitingBytes -= entry.parcel.size;
    else this.#bytes -= entry.parcel.size;
    entry.parcel = undefined;
  }

  /** The home can be reached, over a new link or for the first time: sends what is not confirmed, again. */
  relink(): void {
    this.#link?.detach(this);
    this.#link = undefined;
    if (this.#window.size > 0) this.#attach();
  }

  /** Gives up everything that waits: the home has not been reachable for too long, or is gone. */
  giveUp(): void {
    let emitted = 0;
    const entries = [...this.#window, ...this.#waiting];
    this.#first += this.#window.size;
    this.#cursor = this.#first;
    this.#window.clear();
    this.#waiting.clear();
    this.#bytes = this.#waitingBytes = 0;
    for (const entry of entries) {
      if (entry.waiter !== undefined) entry.waiter.unreachable(entry);
      else if (entry.emitted) emitted++;
    }
    if (emitted > 0) this.#host.dropped(emitted, 'unreachable');
    this.#checkEmpty();
  }

  close(): void {
    this.#link?.detach(this);
    this.#link = undefined;
    this.giveUp();
  }

  // Sender

  opening(): Omit<ControlFrame & { type: 'open' }, 'type' | 'stream'> {
    return { ...this.#route, from: this.#first };
  }

  fill(writer: DataWriter): boolean {
    const end = Math.min(this.next - 1, this.#allow);
    while (this.#cursor <= end && !writer.full) {
      writer.add(this.stream, this.#cursor, this.#window.at(this.#cursor - this.#first)?.parcel);
      this.#cursor++;
    }
    return this.#cursor <= end;
  }

  flow(kind: number, number: number, allow: number): void {
    switch (kind) {
      case flow.confirm:
        this.#confirm(number);
        this.#allow = Math.max(allow, number);
        break;
      case flow.resend:
        this.#confirm(number - 1);
        this.#cursor = Math.max(this.#first, number);
        this.#allow = Math.max(allow, number - 1);
        break;
      case flow.again:
        this.#cursor = Math.min(this.#cursor, Math.max(this.#first, number));
        break;
      case flow.refuse: {
        const entry = this.#window.at(number - this.#first);
        if (entry !== undefined) entry.refused = refusals[allow] ?? 'MAILBOX_FULL';
        return;
      }
      default:
        this.#link?.detach(this);
        this.unlinked();
        return;
    }
    this.#admit();
    if (this.#cursor < this.next && this.#cursor <= this.#allow) this.#link?.notify(this);
    this.#checkEmpty();
  }

  unlinked(): void {
    this.#link = undefined;
    this.queued = false;
  }

  #push(entry: OutboxEntry, parcel: Parcel): void {
    entry.number = this.next;
    this.#window.push(entry);
    this.#bytes += parcel.size;
    if (this.#link === undefined) this.#attach();
    else if (this.#cursor <= this.#allow) this.#link.notify(this);
  }

  #attach(): void {
    const link = this.#host.path();
    if (link === undefined) return;
    this.#link = link;
    this.#cursor = this.#first;
    this.#allow = this.#first - 1 + firstAllowance;
    link.attach(this);
    link.notify(this);
  }

  #confirm(number: number): void {
    let dropped = 0;
    while (this.#first <= number) {
      const entry = this.#window.shift();
      if (entry === undefined) break;
      this.#first++;
      const { parcel, waiter, refused, emitted } = entry;
      if (parcel !== undefined) this.#bytes -= parcel.size;
      if (waiter !== undefined) {
        if (refused === undefined) waiter.taken(entry);
        else waiter.refused(entry, refused);
      } else if (refused !== undefined && emitted) dropped++;
    }
    if (this.#cursor < this.#first) this.#cursor = this.#first;
    if (dropped > 0) this.#host.dropped(dropped, 'refused');
  }

  #admit(): void {
    for (let first = this.#waiting.peek(); first !== undefined && this.#fits; first = this.#waiting.peek()) {
      this.#waiting.shift();
      if (first.parcel === undefined) continue; // given up while it waited
      this.#waitingBytes -= first.parcel.size;
      this.#push(first, first.parcel);
    }
  }

  #checkEmpty(): void {
    if (this.#onEmpty.length === 0 || this.unconfirmed > 0) return;
    const waiting = this.#onEmpty;
    this.#onEmpty = [];
    for (const fn of waiting) fn();
  }

  get #fits(): boolean {
    return this.#window.size < outboxWindow.messages && this.#bytes < outboxWindow.bytes;
  }
}
