import type { DurableMailbox } from '../../actors/durable-mailbox.ts';
import type { Subscriber } from '../../actors/subscriber.ts';
import type { Clock } from '../../core/clock.ts';
import { Deadlines } from '../../core/deadlines.ts';
import type { ControlFrame } from '../../wire/frame.ts';
import { DurableInbox } from './durable-inbox.ts';
import type { Gate } from './gate.ts';
import { Inbox } from './inbox.ts';
import type { Link } from './link.ts';

/** How long the numbers of a publisher are remembered after it has gone, in milliseconds. */
const retireAfter = 120_000;
/** Of how many publishers of earlier lives a mailbox in a shared folder remembers the numbers. */
const mostEarlier = 1024;

/** How many lives of one node are remembered at one mailbox: an honest one has one, and those that it has spools of. */
const mostLives = 256;

/** How many lives of one node a durable mailbox remembers on disk. */
const mostWritten = 1000;

/** The home's ends of all outboxes that lead here. */
export class Inboxes {
  readonly #byKey = new Map<string, Inbox | DurableInbox>();
  /** How many of them are of one node and one mailbox. */
  readonly #lives = new Map<string, number>();
  readonly #retiring: Deadlines;
  /** In a shared folder: the mailboxes whose publishers of earlier lives have been looked at. */
  readonly #looked: Set<string> | undefined;

  readonly #gate: Gate | undefined;

  /**
   * @param shared whether it is a shared folder's bus, to which no publisher comes that has a store.
   * @param gate what publishers may not publish is refused.
   */
  constructor(clock: Clock, shared: boolean, gate: Gate | undefined) {
    this.#gate = gate;
    this.#retiring = new Deadlines(clock, retireAfter);
    this.#looked = shared ? new Set() : undefined;
  }

  get size(): number {
    return this.#byKey.size;
  }

  /**
   * Makes room for one more life of a publisher's node at a mailbox: of those that no link leads to, the oldest is forgotten.
   *
   * @returns false when there is none: the stream is not to be taken.
   */
  hasRoom({ mailbox, source, origin }: ControlFrame & { type: 'open' }): boolean {
    const begin = `${mailbox}/${source}/`;
    if (this.#byKey.has(begin + origin)) return true;
    const lives = this.#lives.get(begin) ?? 0;
    if (lives < mostLives) return true;
    for (const [key, inbox] of this.#byKey) {
      if (inbox.linked || !key.startsWith(begin)) continue;
      inbox.cancel();
      this.#drop(key, begin);
      return true;
    }
    return false;
  }

  /** Whether a durable mailbox remembers a life of a publisher's node, or has room on disk to do so. */
  remembers({ journal }: DurableMailbox, { mailbox, source, origin }: ControlFrame & { type: 'open' }): boolean {
    if (this.#byKey.has(`${mailbox}/${source}/${origin}`)) return true;
    let written = 0;
    for (const key of journal.origins) {
      if (key === `${source}/${origin}`) return true;
      if (key.startsWith(`${source}/`)) written++;
    }
    return written < mostWritten;
  }

  /** A publisher opens its stream to a mailbox of this node. */
  open(link: Link, frame: ControlFrame & { type: 'open' }, subscriber: Subscriber): Inbox {
    const { source, origin, mailbox, stream, from } = frame;
    const key = `${mailbox}/${source}/${origin}`;
    let inbox = this.#byKey.get(key) as Inbox | undefined; // a mailbox is in memory or durable, never both
    if (inbox === undefined) {
      const begin = `${mailbox}/${source}/`;
      inbox = new Inbox(source, origin, subscriber, this.#gate, () => this.#drop(key, begin));
      // One that is opened while its mailbox closes only refuses: nobody would forget it.
      if (subscriber.state !== 'closing' && subscriber.state !== 'closed') this.#keep(key, begin, inbox);
    }
    inbox.link(link, stream, from);
    return inbox;
  }

  /** A publisher opens its stream to a durable mailbox of this node. */
  openDurable(link: Link, frame: ControlFrame & { type: 'open' }, to: DurableMailbox): DurableInbox {
    const { source, origin, mailbox } = frame;
    if (this.#looked?.has(mailbox) === false) this.#expect(mailbox, to);
    const inbox = this.#durable(mailbox, source, origin, to);
    inbox.link(link, frame);
    return inbox;
  }

  /**
   * The publishers of a shared folder come back to its next owner, those that live; nobody will ever say of the others that they
   * have gone.
   */
  #expect(mailbox: string, to: DurableMailbox): void {
    this.#looked?.add(mailbox);
    const earlier = [...to.journal.origins];
    for (const key of earlier.splice(0, Math.max(0, earlier.length - mostEarlier))) to.journal.forget(key);
    for (const key of earlier) {
      const [source = '', origin = ''] = key.split('/');
      this.#retiring.add(this.#durable(mailbox, source, origin, to));
    }
  }

  #durable(mailbox: string, source: string, origin: string, to: DurableMailbox): DurableInbox {
    const key = `${mailbox}/${source}/${origin}`;
    let inbox = this.#byKey.get(key) as DurableInbox | undefined; // a mailbox is in memory or durable, never both
    if (inbox === undefined) {
      const begin = `${mailbox}/${source}/`;
      inbox = new DurableInbox(source, origin, to, this.#gate, () => this.#drop(key, begin));
      this.#keep(key, begin, inbox);
    }
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
      this.#drop(key, `${mailbox}/${inbox.source}/`);
    }
  }

  close(): void {
    this.#retiring.clear();
    this.#byKey.clear();
    this.#lives.clear();
  }

  #keep(key: string, begin: string, inbox: Inbox | DurableInbox): void {
    this.#byKey.set(key, inbox);
    this.#lives.set(begin, (this.#lives.get(begin) ?? 0) + 1);
  }

  #drop(key: string, begin: string): void {
    if (!this.#byKey.delete(key)) return;
    const left = (this.#lives.get(begin) ?? 1) - 1;
    if (left === 0) this.#lives.delete(begin);
    else this.#lives.set(begin, left);
  }
}
