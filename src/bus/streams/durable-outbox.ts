import type { BusError, ErrorCode } from '../../core/errors.ts';
import type { Message } from '../../core/message.ts';
import { Ring } from '../../core/ring.ts';
import { flow, refusals } from '../../wire/flow.ts';
import type { ControlFrame } from '../../wire/frame.ts';
import type { DataWriter } from '../../wire/pack.ts';
import {
  type DurableOutboxHost,
  type DurableOutboxRoute,
  leaveSpool,
  packRow,
  type Row,
  rowOf,
  type StoreWaiter,
  type Waiting,
} from './durable-row.ts';
import type { Link, Sender } from './link.ts';
import { firstAllowance, outboxWindow } from './outbox.ts';
import type { Spool, SpoolEntry } from './spool.ts';

/**
 * When so many have gathered they leave, before the turn is over: the home then works on them while the rest is made.
 * Measured with 256 in flight: a third more messages a second than in one frame a turn.
 */
const burst = 128;
/** For how long a home surely remembers the numbers of a node that has gone, in milliseconds. */
const remembered = 100_000;

/**
 * A publisher's numbered queue towards one durable mailbox on another node: its head in memory, its tail, when the home is
 * away, in a spool on disk. There is one numbering for both: a message that was sent and not confirmed goes into the spool
 * under the number that it has, so that the home knows it again.
 */
export class DurableOutbox implements Sender {
  stream = 0;
  queued = false;
  readonly route: DurableOutboxRoute;
  readonly #host: DurableOutboxHost<DurableOutbox>;
  readonly #window = new Ring<Row>();
  readonly #waiting = new Ring<Waiting>();
  #waitingBytes = 0;
  #link: Link | undefined;
  /** The number of the window's head. */
  #first: number;
  #cursor: number;
  #allow: number;
  #bytes = 0;
  /** The highest number that was ever sent, and since when it has had no link. */
  #sent = 0;
  #lostAt = 0;
  #spool: Spool | undefined;
  /** Its spool goes: whether the medium has that. */
  #removed: Promise<boolean> | undefined;
  /** Nothing of an earlier life of this node stands before it. */
  only = false;
  stalled = false;
  /** It takes nothing more. */
  retired = false;
  #active = false;
  /** Its mailbox is no more: what comes from the spool is thrown away, or becomes dead letters. */
  #fate: 'none' | 'dropped' | 'buried' = 'none';

  constructor(route: DurableOutboxRoute, host: DurableOutboxHost<DurableOutbox>, from: number) {
    this.route = route;
    this.#host = host;
    this.#first = this.#cursor = from;
    this.#allow = from - 1 + firstAllowance;
  }

  /** Whether its messages go to the local store first. */
  get spooling(): boolean {
    return this.#spool !== undefined;
  }

  /** How many messages the home has not confirmed. */
  get unconfirmed(): number {
    return this.#spool === undefined ? this.#window.size + this.#waiting.size : this.#spool.size;
  }

  /** How many of those are in memory, under a number. */
  get unconfirmedInWindow(): number {
    return this.#window.size;
  }

  get next(): number {
    return this.#first + this.#window.size;
  }

  get hasRoom(): boolean {
    return this.#waiting.size === 0 && this.#fits;
  }

  /** Takes a message, or lets it wait for room. @returns false when too many wait. */
  enter(message: Message, waiter: StoreWaiter | undefined): boolean {
    if (this.hasRoom) {
      this.#push(rowOf(message, waiter, undefined));
      return true;
    }
    if (this.#waiting.size >= outboxWindow.messages || this.#waitingBytes >= outboxWindow.bytes) return false;
    this.#waitingBytes += message.size;
    this.#waiting.push({ message, waiter });
    return true;
  }

  /** Has everything that is not confirmed, and what comes, written to the local store. */
  spoolTo(spool: Spool): void {
    this.#spool = spool;
    const rows = [...this.#window];
    const waiting = [...this.#waiting];
    this.#detach();
    this.#window.clear();
    this.#waiting.clear();
    this.#bytes = this.#waitingBytes = 0;
    for (const { message, waiter } of [...rows, ...waiting]) this.keep(message, waiter);
  }

  /** Whether the local store takes another message of this size. */
  keeps(size: number): boolean {
    return this.#spool?.fits(size) === true;
  }

  /** Takes a message by way of the local store. */
  keep(message: Message, waiter: StoreWaiter | undefined): void {
    this.#spool?.append(
      message,
      waiter === undefined
        ? undefined
        : {
            committed: (synced) => waiter.spooled(synced),
            failed: (error) => waiter.refused(error.code),
          },
    );
  }

  /** It goes on from a spool of an earlier life. */
  resume(spool: Spool): void {
    this.#spool = spool;
    this.retired = true;
  }

  /** A message of the spool has come into memory. */
  arrived(entry: SpoolEntry): void {
    const row = rowOf(entry.message, undefined, entry);
    // A gap in the journal leaves its numbers unused.
    while (this.#window.size > 0 && this.next < entry.sequence)
      this.#push(rowOf(entry.message, undefined, undefined, true));
    if (this.#window.size === 0) {
      // What stood before it in the journal is confirmed, or was lost with the disk.
      this.#first = entry.sequence;
      this.#cursor = Math.max(this.#cursor, this.#first);
    }
    this.#push(row);
    if (this.#fate !== 'none') this.#end();
  }

  /** The mailbox is removed. @param lost its home will not return: what is kept for it becomes dead letters. */
  abandon(lost: boolean): void {
    this.#detach();
    this.#active = false;
    this.retired = true;
    this.#fate = lost ? 'buried' : 'dropped';
    if (this.#spool === undefined) this.close();
    else this.#end();
  }

  /** The local store has failed. */
  failed(_error: BusError): void {
    this.retired = true;
    this.#host.broken(this);
  }

  /** It may send now: nothing stands before it. */
  activate(): void {
    this.#active = true;
    this.relink();
    if (this.retired) this.checkEmpty(); // one from an earlier life may have been empty before its turn came
  }

  /** The home can be reached over a new link, or for the first time. */
  relink(): void {
    this.#detach();
    if (this.#window.size > 0) this.#attach();
  }

  /** Ends without having sent the rest. @returns what was in memory only, for whoever waits. */
  close(): void {
    this.#detach();
    const rows = [...this.#window];
    const waiting = [...this.#waiting];
    this.#window.clear();
    this.#waiting.clear();
    this.#bytes = this.#waitingBytes = 0;
    for (const { waiter } of [...rows, ...waiting]) waiter?.refused('NODE_UNREACHABLE');
    const dropped = rows.filter(({ emitted }) => emitted).length + waiting.filter(({ waiter }) => !waiter).length;
    if (dropped > 0) this.#host.dropped(dropped, 'unreachable');
  }

  /** Nobody reaches the home: who waits is told. */
  giveUp(code: ErrorCode = 'NODE_UNREACHABLE'): void {
    for (const row of this.#window) {
      row.waiter?.refused(code);
      row.waiter = undefined;
    }
    // What has not got a number yet never gets one: whoever published it repeats it.
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    this.#waitingBytes = 0;
    for (const { message, waiter } of waiting) {
      if (waiter !== undefined) waiter.refused(code);
      else this.enter(message, undefined);
    }
  }

  // Sender

  opening(): Omit<ControlFrame & { type: 'open' }, 'type' | 'stream'> {
    const { target, mailbox, source, origin } = this.route;
    return {
      target,
      incarnation: '',
      mailbox,
      source,
      origin,
      from: this.#first,
      kept: this.spooling,
      only: this.only,
      lasting: this.#host.stored,
    };
  }

  fill(writer: DataWriter): boolean {
    const now = this.#host.clock.now();
    const end = Math.min(this.next - 1, this.#allow);
    let expired = 0;
    while (this.#cursor <= end && !writer.full) {
      const row = this.#window.at(this.#cursor - this.#first) as Row; // cursor < next
      const parcel = packRow(row, now, this.route.origin);
      if (parcel === undefined && !row.empty) expired++;
      writer.add(this.stream, this.#cursor++, parcel);
    }
    this.#sent = Math.max(this.#sent, this.#cursor - 1);
    if (expired > 0) this.#host.expired(expired);
    return this.#cursor <= end;
  }

  flow(kind: number, number: number, allow: number): void {
    if (kind === flow.confirm || kind === flow.again) this.stalled = false;
    switch (kind) {
      case flow.confirm:
        this.#confirm(number);
        this.#allow = Math.max(allow, number);
        break;
      case flow.resend:
        this.#confirm(number - 1);
        this.#cursor = Math.max(this.#first, number);
        this.#allow = Math.max(allow, this.#first - 1);
        break;
      case flow.again:
        this.#cursor = Math.min(this.#cursor, Math.max(this.#first, number));
        break;
      case flow.stalled:
        this.stalled = true;
        this.#host.stalled(this);
        return;
      case flow.refuse: {
        const row = this.#window.at(number - this.#first);
        if (row !== undefined) row.refused = refusals[allow] ?? 'MAILBOX_FULL';
        return;
      }
      default:
        this.#link?.detach(this);
        this.unlinked();
        return;
    }
    this.#admit();
    if (this.#cursor < this.next && this.#cursor <= this.#allow) this.#link?.notify(this);
    this.checkEmpty();
  }

  unlinked(): void {
    if (this.#link !== undefined) this.#lostAt = this.#host.clock.monotonic();
    this.#link = undefined;
    this.queued = false;
  }

  get #fits(): boolean {
    return this.#window.size < outboxWindow.messages && this.#bytes < outboxWindow.bytes;
  }

  #push(row: Row): void {
    this.#window.push(row);
    this.#bytes += row.message.size;
    if (this.#link === undefined) {
      this.#attach();
    } else if (this.#cursor <= this.#allow) {
      this.#link.notify(this);
      if (this.next - this.#cursor >= burst) this.#link.flush();
    }
  }

  #attach(): void {
    if (!this.#active) return;
    const link = this.#host.path();
    if (link === undefined) return;
    const since = this.#host.clock.monotonic() - this.#lostAt;
    if (!this.#host.stored && since >= remembered) this.#forgetSent();
    this.#link = link;
    this.stalled = false;
    this.#cursor = this.#first;
    this.#allow = this.#first - 1 + firstAllowance;
    link.attach(this);
    link.notify(this);
    this.#admit();
  }

  /** The home may have forgotten our numbers and take for new what it has: what was sent has an unknown outcome. */
  #forgetSent(): void {
    let dropped = 0;
    while (this.#first <= this.#sent) {
      const row = this.#window.shift();
      if (row === undefined) break;
      this.#first++;
      this.#bytes -= row.message.size;
      row.waiter?.refused('TIMEOUT');
      if (row.emitted) dropped++;
    }
    if (dropped > 0) this.#host.dropped(dropped, 'unreachable');
  }

  #detach(): void {
    this.#link?.detach(this);
    this.unlinked();
  }

  #confirm(number: number): void {
    let dropped = 0;
    while (this.#first <= number) {
      const row = this.#window.shift();
      if (row === undefined) break;
      this.#first++;
      this.#bytes -= row.message.size;
      if (row.entry !== undefined) leaveSpool(this.#spool as Spool, row, row.entry);
      else if (row.refused === undefined) row.waiter?.stored();
      else if (row.waiter !== undefined) row.waiter.refused(row.refused);
      else if (row.emitted) dropped++;
    }
    if (this.#cursor < this.#first) this.#cursor = this.#first;
    if (dropped > 0) this.#host.dropped(dropped, 'refused');
  }

  /** Throws away what is in memory, or makes dead letters of it while there is room. */
  #end(): void {
    const spool = this.#spool;
    if (spool === undefined) return;
    let dropped = 0;
    for (let row = this.#window.peek(); row !== undefined; row = this.#window.peek()) {
      const { entry, message } = row;
      if (entry !== undefined && this.#fate === 'buried' && !spool.bury(entry)) {
        spool.whenGraves(() => this.#end());
        break;
      }
      this.#window.shift();
      this.#first++;
      this.#bytes -= message.size;
      if (entry === undefined || this.#fate === 'buried') continue;
      spool.leave(entry);
      dropped++;
    }
    if (dropped > 0) this.#host.dropped(dropped, 'cleared');
    this.checkEmpty();
  }

  #admit(): void {
    for (let first = this.#waiting.peek(); first !== undefined && this.#fits; first = this.#waiting.peek()) {
      this.#waiting.shift();
      this.#waitingBytes -= first.message.size;
      this.#push(rowOf(first.message, first.waiter, undefined));
    }
  }

  /** Ends the spool when nothing is left of it, and tells when nothing is left at all. */
  checkEmpty(): void {
    if (this.unconfirmed > 0) return;
    const spool = this.#spool;
    if (spool !== undefined) {
      if (spool.busy) {
        spool.whenIdle(() => this.checkEmpty());
        return;
      }
      this.#spool = undefined;
      // What follows has no receipt when it is sent, and may be refused.
      this.#detach();
      // The next one may say that nothing is left of earlier lives only when nothing can come back after a power cut.
      this.#removed = spool.remove();
    }
    if (this.retired && this.#removed !== undefined) void this.#removed.then((sure) => this.#host.emptied(this, sure));
    else this.#host.emptied(this, true);
  }
}
