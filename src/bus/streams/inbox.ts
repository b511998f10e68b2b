import type { RoomWaiter } from '../../actors/room.ts';
import type { Subscriber } from '../../actors/subscriber.ts';
import { Deadline } from '../../core/deadlines.ts';
import type { Message } from '../../core/message.ts';
import { flow, refusals } from '../../wire/flow.ts';
import type { Parcel } from '../../wire/pack.ts';
import type { Gate } from './gate.ts';
import type { Link, Receiver } from './link.ts';
import { outboxWindow } from './outbox.ts';
import { Paths } from './paths.ts';
import { RefusedNumbers } from './refused-numbers.ts';

const full = refusals.indexOf('MAILBOX_FULL');
const gone = refusals.indexOf('NOT_FOUND');
const denied = refusals.indexOf('DENIED');

/** From how many waiting messages on a payload is copied out of the buffer that it came in. */
const detachFrom = 256;

/**
 * The home's end of one publisher's outbox: takes each number once, in order, into the mailbox. It outlives links, so that
 * what is sent again after a reconnection is known; it is forgotten some time after its publisher has gone.
 */
export class Inbox extends Deadline implements Receiver {
  /** The publisher's node. */
  readonly source: string;
  /** What the ids of the publisher's messages start with. */
  readonly origin: string;
  readonly #subscriber: Subscriber;
  readonly #forget: () => void;
  readonly #waiter: RoomWaiter;
  readonly #paths = new Paths();
  #expect = 1;
  /** The sender has been told where to go on: what comes before that is out of order and is let pass. */
  #rewinding = false;
  #waiting = false;
  readonly #refused = new RefusedNumbers();
  readonly #gate: Gate | undefined;

  constructor(source: string, origin: string, subscriber: Subscriber, gate: Gate | undefined, forget: () => void) {
    super();
    this.source = source;
    this.origin = origin;
    this.#subscriber = subscriber;
    this.#gate = gate;
    this.#forget = forget;
    this.#waiter = {
      size: 0,
      distant: true,
      admit: () => this.#roomAgain(),
      closed: () => {
        this.#waiting = false;
      },
    };
  }

  /** The publisher opens its stream over a link. @param from the lowest number that it still holds. */
  link(link: Link, stream: number, from: number): void {
    this.cancel();
    this.#paths.add(link, stream);
    this.#rewinding = false;
    this.#expect = Math.max(this.#expect, from);
    for (const [number, reason] of this.#refused.from(from)) link.tell(flow.refuse, stream, number, reason);
    if (this.#expect > from) link.tell(flow.confirm, stream, this.#expect - 1, this.#allowed());
  }

  receive(number: number, parcel: Parcel | undefined): void {
    if (number !== this.#expect) {
      if (number > this.#expect && !this.#rewinding) this.#rewind();
      return;
    }
    this.#rewinding = false;
    if (parcel !== undefined && !this.#take(number, parcel)) return;
    this.#expect++;
  }

  /** Whether a link leads to it. */
  get linked(): boolean {
    return this.#paths.some;
  }

  settle(): void {
    this.#paths.tell(flow.confirm, this.#expect - 1, this.#allowed());
  }

  ended(link: Link, stream: number): void {
    this.#paths.remove(link, stream);
  }

  expire(): void {
    this.#forget();
  }

  /** @returns false when there is no room and the sender has to wait. */
  #take(number: number, parcel: Parcel): boolean {
    const subscriber = this.#subscriber;
    if (this.#gate?.publishes(this.source, parcel.topic) === false) {
      this.#refuse(number, denied);
      return true;
    }
    let message: Message;
    try {
      message = parcel.open(this.source, this.origin, subscriber.clock.now());
    } catch {
      // Sent again it would be no better: refusing it keeps the link, over which others send too.
      this.#refuse(number, gone);
      return true;
    }
    const outcome = subscriber.offer(message);
    if (outcome === 'accepted') {
      if (subscriber.mailbox.waiting > detachFrom) message.detach(); // only what stays is worth a copy
      return true;
    }
    if (outcome === 'full' && subscriber.options.limits.overflow === 'block') {
      this.#rewinding = true;
      this.#awaitRoom();
      return false;
    }
    this.#refuse(number, outcome === 'full' ? full : gone);
    return true;
  }

  #refuse(number: number, reason: number): void {
    this.#refused.add(number, reason);
    this.#paths.tell(flow.refuse, number, reason);
  }

  #rewind(): void {
    this.#rewinding = true;
    this.#paths.tell(flow.resend, this.#expect, this.#allowed());
  }

  /** The highest number that may be sent now. When there is no room, the sender hears when there is. */
  #allowed(): number {
    const { room } = this.#subscriber.mailbox;
    if (room === 0) this.#awaitRoom();
    return this.#expect - 1 + Math.min(room, outboxWindow.messages);
  }

  #awaitRoom(): void {
    if (this.#waiting) return;
    this.#waiting = true;
    this.#subscriber.wait(this.#waiter);
  }

  #roomAgain(): void {
    this.#waiting = false;
    if (!this.#paths.some) return;
    if (this.#rewinding) this.#paths.tell(flow.resend, this.#expect, this.#allowed());
    else this.settle();
  }
}
