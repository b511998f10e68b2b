import type { DurableMailbox } from '../../actors/durable-mailbox.ts';
import type { Fence } from '../../actors/fences.ts';
import type { MailboxConsumer } from '../../actors/mailbox-consumer.ts';
import type { Slot } from '../../actors/slot.ts';
import type { Timer } from '../../core/clock.ts';
import { BusError } from '../../core/errors.ts';
import { flow } from '../../wire/flow.ts';
import type { ControlFrame } from '../../wire/frame.ts';
import { type DataWriter, Parcel } from '../../wire/pack.ts';
import type { Link, Sender } from '../streams/link.ts';

/** Which consumer of another node it is. */
export interface ConsumerRoute {
  /** The home of the mailbox, and what the ids of its messages start with. */
  readonly source: string;
  readonly origin: string;
  /** The consumer's node and its life. */
  readonly node: string;
  readonly incarnation: string;
  readonly consumer: string;
  /** How long the consumer gives an attempt, in milliseconds. */
  readonly timeout: number;
  /** The number of its first delivery, above all that the consumer has seen. */
  readonly from: number;
  /** Whose place it takes. */
  readonly fence?: Fence | undefined;
}

/** What a consumer wants. */
export interface Wanted {
  /** How many deliveries it may hold; 0 for none. */
  readonly credit: number;
  /** The next one is to be the newest that waits. */
  readonly newest: boolean;
}

interface Out {
  readonly slot: Slot;
  readonly parcel: Parcel;
}

/**
 * A consumer on another node, at the home of its mailbox. It holds at most its credit. When its link goes, what it holds
 * comes back: messages without a key at once; those with one when the consumer says that it has let go of them, when its
 * node is down, or when the time of the attempt is over, because its handler may still run.
 */
export class ConsumerLink implements Sender, MailboxConsumer {
  stream = 0;
  queued = false;
  held = 0;
  settling = 0;
  flying = 0;
  suspects = 0;
  readonly route: ConsumerRoute;
  readonly #mailbox: DurableMailbox;
  readonly #ended: () => void;
  /** By delivery number, which counts up. */
  readonly #out = new Map<number, Out>();
  #credit: number;
  #newest = false;
  #next: number;
  #cursor: number;
  #link: Link | undefined;
  #timer: Timer | undefined;
  #open = true;
  /** The consumer has its stream. */
  #confirmed = false;
  /** The link that it is to move to. */
  #towards: Link | undefined;
  /** Its stream on the link that it has moved away from. */
  #former: Former | undefined;

  constructor(mailbox: DurableMailbox, route: ConsumerRoute, wanted: Wanted, ended: () => void) {
    this.#mailbox = mailbox;
    this.route = route;
    this.#credit = wanted.credit;
    this.#newest = wanted.newest;
    this.#ended = ended;
    this.#next = this.#cursor = route.from;
  }

  get mailbox(): DurableMailbox {
    return this.#mailbox;
  }

  get credit(): number {
    return this.#open ? this.#credit : 0;
  }

  /** It wants more, less, or something else from now on. */
  ask({ credit, newest }: Wanted): void {
    this.#credit = credit;
    this.#newest = newest;
    this.ready();
  }

  /** The number of the next delivery. */
  get next(): number {
    return this.#next;
  }

  get open(): boolean {
    return this.#open;
  }

  get fence(): Fence | undefined {
    return this.route.fence;
  }

  /** Opens its stream. */
  start(link: Link): void {
    if (!this.#open) return; // it went before it had begun
    if (!link.open) {
      this.end();
      return;
    }
    this.#link = link;
    link.attach(this);
    this.#mailbox.attach(this);
  }

  /** Another link leads to the consumer now: its stream goes on over that one, and nothing is handed out anew. */
  move(link: Link): void {
    if (this.#link === undefined || this.#link === link || link.incarnation !== this.route.incarnation) return;
    this.#towards = link;
    if (!this.#confirmed) return; // it may hear of another link before it hears of its stream
    this.#former?.shut();
    this.#former = new Former(this.#link, this);
    this.#link.succeed(this, this.#former);
    this.#link = link;
    link.attach(this);
    link.notify(this);
  }

  /** The delivery of a number; undefined when it is settled or was taken away. */
  slot(number: number): Slot | undefined {
    return this.#open ? this.#out.get(number)?.slot : undefined;
  }

  /** A delivery is settled. */
  done(number: number): void {
    this.#out.delete(number);
    this.ready();
  }

  /** A delivery, of whatever stream, comes back. @param cut whether its handler had begun. @returns whether it was out. */
  letGo(number: number, cut: boolean): boolean {
    const out = this.#out.get(number);
    if (out === undefined) return false;
    this.#out.delete(number);
    this.#mailbox.giveBack(out.slot, cut);
    if (this.#open) this.ready();
    else if (this.#out.size === 0) this.#finish();
    return true;
  }

  ready(): void {
    if (this.#open && this.#link !== undefined && (this.held < this.credit || this.#cursor < this.#next)) {
      this.#link.notify(this);
    }
  }

  /** The consumer has gone, or comes anew. @param busy the deliveries whose handlers still run there. */
  end(busy: ReadonlySet<number> = new Set()): void {
    if (this.#open) {
      this.#open = false;
      const link = this.#link;
      this.#link = undefined;
      link?.detach(this);
      this.#former?.shut();
    }
    this.#giveBack((number) => !busy.has(number));
  }

  revoked(): void {
    this.end();
  }

  removed(): void {
    this.#link?.detach(this);
    this.#former?.shut();
    this.#link = undefined;
    this.#open = false;
    this.#out.clear();
    this.#finish();
  }

  // Sender

  opening(): Omit<ControlFrame & { type: 'open' }, 'type' | 'stream'> {
    const { source, origin, node, incarnation, consumer } = this.route;
    const from = this.#next;
    const moved = this.#former ? { moved: true } : {};
    return { target: node, incarnation, mailbox: this.#mailbox.id, source, origin, from, consumer, ...moved };
  }

  fill(writer: DataWriter): boolean {
    while (!writer.full) {
      if (this.#cursor < this.#next) {
        const again = this.#out.get(this.#cursor);
        writer.add(this.stream, this.#cursor++, again?.parcel, again?.slot.attempt);
        continue;
      }
      if (this.#newest && this.held < this.credit) this.#mailbox.supersede();
      const slot = this.#mailbox.take(this);
      if (slot === undefined) return false;
      slot.message.leavesAt = this.#mailbox.clock.now();
      const parcel = Parcel.delivery(slot.message);
      this.#out.set(this.#next, { slot, parcel });
      writer.add(this.stream, this.#next, parcel, slot.attempt);
      this.#cursor = ++this.#next;
    }
    return this.#cursor < this.#next || (this.held < this.credit && this.#mailbox.hasMore);
  }

  flow(kind: number, number: number, _allow: number): void {
    switch (kind) {
      case flow.confirm:
        this.#confirmed = true;
        if (this.#towards?.open) this.move(this.#towards);
        return;
      case flow.ack: {
        const slot = this.slot(number);
        if (slot === undefined) return;
        this.#out.delete(number);
        this.#mailbox.ack(slot);
        return;
      }
      case flow.again:
      case flow.resend:
        this.#cursor = Math.max(this.route.from, Math.min(this.#cursor, number));
        this.#link?.notify(this);
        return;
      case flow.unlinked:
        this.#link?.detach(this);
        this.unlinked();
        return;
      default:
    }
  }

  unlinked(): void {
    this.#link = undefined;
    this.queued = false;
    if (!this.#open) return;
    this.#open = false;
    this.#former?.shut(); // its opening may still be under way there
    this.#giveBack((_number, slot) => slot.message.key === undefined);
  }

  /** Gives back what `which` names; the rest when the time of its attempt is over. */
  #giveBack(which: (number: number, slot: Slot) => boolean): void {
    // The last first: each goes before what was given back already.
    for (const [number, { slot }] of [...this.#out].reverse()) {
      if (!which(number, slot)) continue;
      this.#out.delete(number);
      this.#mailbox.giveBack(slot, true);
    }
    if (this.#out.size === 0) this.#finish();
    else this.#timer ??= this.#mailbox.clock.timer(this.route.timeout, () => this.end()).unref();
  }

  #finish(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#mailbox.detach(this);
    this.#ended();
  }
}

/** What is left of a consumer's stream on a link that it has moved away from: acks may be under way there. */
class Former implements Sender {
  stream = 0;
  queued = false;
  readonly #link: Link;
  readonly #consumer: ConsumerLink;

  constructor(link: Link, consumer: ConsumerLink) {
    this.#link = link;
    this.#consumer = consumer;
  }

  opening(): never {
    throw new BusError('INTERNAL', 'what has moved away opens no stream');
  }

  fill(): boolean {
    return false;
  }

  flow(kind: number, number: number): void {
    if (kind === flow.ack) this.#consumer.flow(kind, number, 0);
    else if (kind === flow.unlinked) this.shut();
  }

  shut(): void {
    this.#link.detach(this);
  }

  unlinked(): void {}
}
