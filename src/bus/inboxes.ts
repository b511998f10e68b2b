import type { DurableMailbox } from '../actors/durable-mailbox.ts';
import type { Subscriber } from '../actors/subscriber.ts';
import type { Clock } from '../core/clock.ts';
import { Deadlines } from '../core/deadlines.ts';
import type { ControlFrame } from '../wire/frame.ts';
import { DurableInbox } from './durable-inbox.ts';
import { Inbox } from './inbox.ts';
import type { Link } from './link.ts';

/** How long the numbers of a publisher are remembered after it has gone, in milliseconds. */
const retireAfter = 120_000;

/** The home's ends of all outboxes that lead here. */
export class Inboxes {
  readonly #byKey = new Map<string, Inbox | DurableInbox>();
  readonly #retiring: Deadlines;

  constructor(clock: Clock) {
    this.#retiring = new Deadlines(clock, retireAfter);
  }

  get size(): number {
    return this.#byKey.size;
  }

  /** A publisher opens its stream to a mailbox of this node. */
  open(link: Link, frame: ControlFrame & { type: 'open' }, subscriber: Subscriber): Inbox {
    const { source, origin, mailbox, stream, from } = frame;
    const key = `${mailbox}/${source}/${origin}`;
    let inbox = this.#byKey.get(key) as Inbox | undefined; // a mailbox is in memory or durable, never both
    if (inbox === undefined) {
      inbox = new Inbox(source, origin, subscriber, () => this.#byKey.delete(key));
      // One that is opened while its mailbox closes only refuses: nobody would forget it.
      if (subscriber.state !== 'closing' && subscriber.state !== 'closed') this.#byKey.set(key, inbox);
    }
    inbox.link(link, stream, from);
    return inbox;
  }

  /** A publisher opens its stream to a durable mailbox of this node. */
  openDurable(link: Link, frame: ControlFrame & { type: 'open' }, to: DurableMailbox): DurableInbox {
    const { source, origin, mailbox } = frame;
    const key = `${mailbox}/${source}/${origin}`;
    let inbox = this.#byKey.get(key) as DurableInbox | undefined; // as above
    if (inbox === undefined) {
      inbox = new DurableInbox(source, origin, to, () => this.#byKey.delete(key));
      this.#byKey.set(key, inbox);
    }
    inbox.link(link, frame);
    return inbox;
  }

  /**
   * A node has gone: its numbers are forgotten after a while, unless it comes back before.
   *
   * @param origin that of the life that has ended; the streams of the next one may be here already.
   */
  retire(node: string, origin: string): void {
    for (const inbox of this.#byKey.values()) {
      if (inbox.source === node && inbox.origin === origin) this.#retiring.add(inbox);
    }
  }

  /** A mailbox has gone. */
  forget(mailbox: string): void {
    for (const [key, inbox] of this.#byKey) {
      if (!key.startsWith(`${mailbox}/`)) continue;
      inbox.cancel();
      this.#byKey.delete(key);
    }
  }

  close(): void {
    this.#retiring.clear();
    this.#byKey.clear();
  }
}
