import { Ring } from '../../core/ring.ts';
import { flow, refusals } from '../../wire/flow.ts';
import type { ControlFrame } from '../../wire/frame.ts';
import type { DataWriter, Parcel } from '../../wire/pack.ts';
import type { Gate } from './gate.ts';
import type { Link, Receiver, Sender } from './link.ts';
import { firstAllowance } from './outbox.ts';

const denied = refusals.indexOf('DENIED');

/** How much may wait for one link on behalf of other nodes. */
export const laneLimits = { messages: 65_536, bytes: 8 * 1024 * 1024 };

/** What waits for one link on behalf of other nodes, in all streams together. */
export class Lane {
  readonly #stalled = new Set<RelayStream>();
  #messages = 0;
  #bytes = 0;

  get full(): boolean {
    return this.#messages >= laneLimits.messages || this.#bytes >= laneLimits.bytes;
  }

  enter(bytes: number): void {
    this.#messages++;
    this.#bytes += bytes;
  }

  leave(bytes: number): void {
    this.#messages--;
    this.#bytes -= bytes;
  }

  /** A stream has discarded something and goes on when the lane is half empty. */
  stall(stream: RelayStream): void {
    this.#stalled.add(stream);
  }

  forget(stream: RelayStream): void {
    this.#stalled.delete(stream);
  }

  /** Lets stalled streams go on when there is room again. */
  release(): void {
    if (this.#stalled.size === 0) return;
    if (this.#messages > laneLimits.messages / 2 || this.#bytes > laneLimits.bytes / 2) return;
    const stalled = [...this.#stalled];
    this.#stalled.clear();
    for (const stream of stalled) stream.goOn();
  }
}

interface Passing {
  readonly number: number;
  readonly parcel: Parcel | undefined;
  readonly attempt: number;
}

/**
 * One publisher's stream on its way through the leader: in over one link, out over another, unread. When the lane of the
 * outgoing link is full it discards and has the publisher send again; nothing is ever confirmed here. What the publisher may
 * not publish is refused here; its number goes on without it.
 */
export class RelayStream implements Sender, Receiver {
  stream = 0;
  queued = false;
  readonly #from: Link;
  readonly #fromStream: number;
  readonly #to: Link;
  readonly #lane: Lane;
  readonly #route: Omit<ControlFrame & { type: 'open' }, 'type' | 'stream'>;
  readonly #queue = new Ring<Passing>();
  /** Undefined when nothing has to be judged: deliveries to a consumer are no publications of their home. */
  readonly #gate: Gate | undefined;
  #expect: number;
  #allow: number;
  #rewinding = false;
  #open = true;

  constructor(from: Link, to: Link, lane: Lane, open: ControlFrame & { type: 'open' }, gate?: Gate) {
    const { stream, target, incarnation, mailbox, source, origin, from: first, kept, only, lasting, consumer } = open;
    this.#from = from;
    this.#fromStream = stream;
    this.#to = to;
    this.#lane = lane;
    // Only what is known: what else the frame holds would count against the limit of the next link.
    this.#route = {
      ...{ target, incarnation, mailbox, source, origin, from: first },
      ...(kept && { kept }),
      ...(only && { only }),
      ...(lasting && { lasting }),
      ...(consumer !== undefined && { consumer }),
    };
    this.#expect = open.from;
    this.#allow = open.from - 1 + firstAllowance;
    this.#gate = consumer === undefined ? gate : undefined;
    for (const [number, reason] of this.#gate?.relayed(this.#key)?.from(first) ?? []) {
      from.tell(flow.refuse, stream, number, reason);
    }
    to.attach(this);
  }

  /** Of all streams of one life of a publisher to one mailbox. */
  get #key(): string {
    const { source, origin, mailbox } = this.#route;
    return `${mailbox}/${source}/${origin}`;
  }

  // Receiver, on the incoming link

  receive(number: number, parcel: Parcel | undefined, attempt: number): void {
    if (number > this.#expect) {
      if (!this.#rewinding) this.#rewind();
      return;
    }
    if (this.#lane.full) {
      this.#expect = number;
      this.#rewinding = true;
      this.#lane.stall(this);
      return;
    }
    this.#rewinding = false;
    this.#expect = number + 1;
    const passed = parcel === undefined || this.#passes(number, parcel) ? parcel : undefined;
    this.#lane.enter(passed === undefined ? 0 : passed.size);
    this.#queue.push({ number, parcel: passed, attempt });
    this.#to.notify(this);
  }

  settle(): void {}

  ended(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#discard();
    this.#to.detach(this);
  }

  /** The lane has room again. */
  goOn(): void {
    if (this.#open) this.#from.tell(flow.again, this.#fromStream, this.#expect, this.#allow);
  }

  // Sender, on the outgoing link

  opening(): Omit<ControlFrame & { type: 'open' }, 'type' | 'stream'> {
    return this.#route;
  }

  fill(writer: DataWriter): boolean {
    while (!writer.full) {
      const next = this.#queue.shift();
      if (next === undefined) break;
      this.#lane.leave(next.parcel === undefined ? 0 : next.parcel.size);
      writer.add(this.stream, next.number, next.parcel, next.attempt);
    }
    this.#lane.release();
    return this.#queue.size > 0;
  }

  flow(kind: number, number: number, allow: number): void {
    if (kind === flow.resend) {
      // What is queued here would arrive out of order; the publisher sends it again.
      this.#discard();
      this.#expect = number;
      this.#rewinding = true;
    }
    // The publisher goes on behind what is confirmed, also when that never came through here.
    if (kind === flow.confirm) this.#expect = Math.max(this.#expect, number + 1);
    if (kind === flow.confirm || kind === flow.resend) this.#allow = allow;
    this.#from.tell(kind, this.#fromStream, number, allow);
  }

  unlinked(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#discard();
    if (this.#from.open) this.#from.tell(flow.unlinked, this.#fromStream, 0, 0);
  }

  #passes(number: number, { topic }: Parcel): boolean {
    const gate = this.#gate;
    if (gate === undefined || gate.publishes(this.#route.source, topic)) return true;
    gate.relayed(this.#key, true)?.add(number, denied);
    this.#from.tell(flow.refuse, this.#fromStream, number, denied);
    return false;
  }

  #rewind(): void {
    this.#rewinding = true;
    this.#from.tell(flow.again, this.#fromStream, this.#expect, this.#allow);
  }

  #discard(): void {
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      this.#lane.leave(next.parcel === undefined ? 0 : next.parcel.size);
    }
    this.#lane.forget(this);
    this.#lane.release();
  }
}
