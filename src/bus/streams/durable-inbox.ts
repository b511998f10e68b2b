import type { DurableMailbox } from '../../actors/durable-mailbox.ts';
import type { RoomWaiter } from '../../actors/room.ts';
import { Deadline } from '../../core/deadlines.ts';
import type { Message } from '../../core/message.ts';
import { flow, refusals } from '../../wire/flow.ts';
import type { ControlFrame } from '../../wire/frame.ts';
import type { Parcel } from '../../wire/pack.ts';
import type { Gate } from './gate.ts';
import type { Link, Receiver } from './link.ts';
import { outboxWindow } from './outbox.ts';
import { Paths } from './paths.ts';
import { RefusedNumbers } from './refused-numbers.ts';

const full = refusals.indexOf('MAILBOX_FULL');
const gone = refusals.indexOf('NOT_FOUND');
const denied = refusals.indexOf('DENIED');
/** How many bytes of one stream may wait to be written. A publisher's window holds half of that before its last message. */
const mostUnwritten = 2 * outboxWindow.bytes;

/**
 * The end of one publisher's outbox at the home of a durable mailbox: takes each number once, in order, and confirms it
 * when it is on disk. What it has taken is written with the messages, so that a restart forgets nothing.
 */
export class DurableInbox extends Deadline implements Receiver {
  readonly source: string;
  readonly origin: string;
  /** Under which name the mailbox remembers what has been taken. */
  readonly key: string;
  readonly #mailbox: DurableMailbox;
  readonly #forget: () => void;
  readonly #waiter: RoomWaiter;
  readonly #paths = new Paths();
  /** The number that comes next; those below it are written, or about to be. */
  #expect: number;
  #confirmed: number;
  #kept = false;
  /** The highest number that a stream has begun from. */
  #opened = 0;
  #lasting = false;
  #rewinding = false;
  #awaitsRoom = false;
  #awaitsStore = false;
  readonly #refused = new RefusedNumbers();
  readonly #gate: Gate | undefined;
  /** Bytes that were taken since the beginning, and how many of them are written. */
  #taken = 0;
  #written = 0;

  constructor(source: string, origin: string, mailbox: DurableMailbox, gate: Gate | undefined, forget: () => void) {
    super();
    this.source = source;
    this.origin = origin;
    this.key = `${source}/${origin}`;
    this.#mailbox = mailbox;
    this.#gate = gate;
    this.#forget = forget;
    this.#confirmed = mailbox.journal.watermark(this.key);
    this.#expect = this.#confirmed + 1;
    this.#waiter = {
      size: 0,
      distant: true,
      admit: () => {
        this.#awaitsRoom = false;
        this.#goOn();
      },
      closed: () => {
        this.#awaitsRoom = false;
      },
    };
  }

  /** The publisher opens its stream over a link. */
  link(link: Link, open: ControlFrame & { type: 'open' }): void {
    const { stream, from, kept = false, only = false, lasting = false } = open;
    this.cancel();
    this.#lasting = lasting;
    if (only) this.#forgetOthers();
    this.#paths.add(link, stream);
    // A late opening says how it was before: what it holds has its receipts as soon as one of the two says so.
    if (from >= this.#opened) this.#kept = kept || (this.#kept && from === this.#opened);
    this.#opened = Math.max(this.#opened, from);
    this.#rewinding = false;
    if (from > this.#expect) {
      this.#expect = from;
      this.#confirmed = Math.max(this.#confirmed, from - 1);
      this.#mailbox.journal.advance(this.key, from - 1);
    }
    if (this.#awaitsStore) {
      this.#rewinding = true;
      link.tell(flow.stalled, stream, 0, 0);
    }
    for (const [number, reason] of this.#refused.from(from)) link.tell(flow.refuse, stream, number, reason);
    if (this.#confirmed >= from) link.tell(flow.confirm, stream, this.#confirmed, this.#allowed());
  }

  receive(number: number, parcel: Parcel | undefined): void {
    if (number !== this.#expect) {
      if (number > this.#expect && !this.#rewinding) this.#rewind();
      return;
    }
    this.#rewinding = false;
    if (this.#mailbox.options.commits.error !== undefined) {
      this.#rewinding = true;
      this.#awaitStore();
      return;
    }
    if (parcel === undefined) this.#mailbox.journal.advance(this.key, number);
    else if (!this.#take(number, parcel)) return;
    this.#expect++;
  }

  /** Whether a link leads to it. */
  get linked(): boolean {
    return this.#paths.some;
  }

  settle(): void {
    if (this.#mailbox.options.commits.error !== undefined) {
      this.#storeFailed();
      return;
    }
    const number = this.#expect - 1;
    const taken = this.#taken;
    if (number <= this.#confirmed) {
      this.#tell();
      return;
    }
    this.#mailbox.journal.whenCommitted({
      committed: () => {
        this.#confirmed = Math.max(this.#confirmed, number);
        this.#written = Math.max(this.#written, taken);
        this.#tell();
      },
      failed: () => this.#storeFailed(),
    });
  }

  ended(link: Link, stream: number): void {
    this.#paths.remove(link, stream);
  }

  expire(): void {
    if (!this.#lasting) this.#mailbox.journal.forget(this.key);
    this.#forget();
  }

  /** Earlier lives of the publisher have nothing left to send. */
  #forgetOthers(): void {
    const { journal } = this.#mailbox;
    for (const key of [...journal.origins]) {
      if (key !== this.key && key.startsWith(`${this.source}/`)) journal.forget(key);
    }
  }

  /** @returns false when there is no room and the sender has to wait. */
  #take(number: number, parcel: Parcel): boolean {
    const mailbox = this.#mailbox;
    if (this.#gate?.publishes(this.source, parcel.topic) === false) {
      this.#refuse(number, denied);
      return true;
    }
    if (this.#taken - this.#written >= mostUnwritten) {
      this.#refuse(number, full); // it sends beyond its window
      return true;
    }
    let message: Message;
    try {
      message = parcel.open(this.source, this.origin, mailbox.clock.now());
    } catch {
      this.#refuse(number, gone);
      return true;
    }
    message.detach();
    switch (mailbox.offer(message, undefined, this.key, number, this.#kept)) {
      case 'accepted':
        this.#taken += parcel.size;
        return true;
      case 'full':
        if (this.#kept || mailbox.limits.overflow === 'block') {
          this.#rewinding = true;
          this.#awaitRoom();
          return false;
        }
        this.#refuse(number, full);
        return true;
      case 'closed':
        this.#refuse(number, gone);
        return true;
      default:
        // Its own policy has dealt with it.
        mailbox.journal.advance(this.key, number);
        return true;
    }
  }

  #refuse(number: number, reason: number): void {
    this.#refused.add(number, reason);
    this.#mailbox.journal.advance(this.key, number);
    this.#paths.tell(flow.refuse, number, reason);
  }

  #tell(): void {
    this.#paths.tell(flow.confirm, this.#confirmed, this.#allowed());
  }

  #rewind(): void {
    this.#rewinding = true;
    this.#paths.tell(flow.again, this.#expect, this.#allowed());
  }

  /** The highest number that may be sent now. When there is no room, the sender hears when there is. */
  #allowed(): number {
    const { room } = this.#mailbox;
    if (room === 0) this.#awaitRoom();
    return this.#expect - 1 + Math.min(room, outboxWindow.messages);
  }

  #awaitRoom(): void {
    if (this.#awaitsRoom) return;
    this.#awaitsRoom = true;
    this.#mailbox.wait(this.#waiter);
  }

  /** A commit has failed: what was not confirmed comes again, when the store is back. */
  #storeFailed(): void {
    this.#rewinding = true;
    this.#awaitStore();
  }

  #awaitStore(): void {
    if (this.#awaitsStore) return;
    this.#awaitsStore = true;
    this.#paths.tell(flow.stalled, 0, 0);
    this.#mailbox.options.commits.whenOpen(() => {
      this.#awaitsStore = false;
      this.#written = this.#taken; // or lost, and sent again
      this.#confirmed = Math.max(this.#confirmed, this.#mailbox.journal.watermark(this.key));
      this.#expect = this.#confirmed + 1;
      this.#goOn();
    });
  }

  #goOn(): void {
    if (!this.#paths.some || this.#awaitsStore) return;
    if (this.#rewinding) this.#paths.tell(flow.again, this.#expect, this.#allowed());
    this.#tell();
  }
}
