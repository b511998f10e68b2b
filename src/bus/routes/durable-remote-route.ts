import type { Clock } from '../../core/clock.ts';
import { BusError, type ErrorCode, type Receipt } from '../../core/errors.ts';
import type { EventHub } from '../../core/events.ts';
import { hexOf } from '../../core/hex.ts';
import type { Message } from '../../core/message.ts';
import type { RetryPolicy } from '../../core/retry.ts';
import type { Pattern } from '../../routing/pattern.ts';
import type { Commitment } from '../../storage/commits.ts';
import { storedForm, storeOwn } from '../../storage/segment.ts';
import type { DurableEntry } from '../../wire/frame.ts';
import { DurableOutbox } from '../streams/durable-outbox.ts';
import type { DurableOutboxHost, StoreWaiter } from '../streams/durable-row.ts';
import type { Link } from '../streams/link.ts';
import type { Spool, SpoolRecord } from '../streams/spool.ts';
import type { Publication, Ticket } from './publication.ts';
import type { DeadlineKeeper, DurableTarget, Route } from './route.ts';
import { Waiting } from './waiting.ts';

/** What the way to a durable mailbox of another node needs of its surroundings. */
export interface DurableRemoteHost {
  /** This node. */
  readonly node: string;
  /** What the ids of this node's messages start with. */
  readonly origin: string;
  /** Counts the starts of this node. */
  readonly start: number;
  readonly clock: Clock;
  readonly events: EventHub;
  /** Whether this node has a store that lasts. */
  readonly stored: boolean;
  /** Whether a publish waits in memory for a home that is away, until its time is up: another process takes its place soon. */
  readonly patient: boolean;
  /** Why the store takes nothing now. */
  readonly storeError: BusError | undefined;
  /** Calls `fn` once when the store takes something again. */
  whenStoreOpen(fn: () => void): void;
  path(node: string): Link | undefined;
  /** There is something to send to a node. */
  wanted(node: string): void;
  /** How many outboxes of this life the mailboxes, by their ids, have had: another one takes an origin of its own. */
  readonly begun: Map<string, number>;
  /** Begins to write an outbox to the store. */
  spool(record: SpoolRecord, outbox: DurableOutbox): Spool;
}

/** The way to a durable mailbox of another node: over a link, or into the local store until there is one. */
export class DurableRemoteRoute implements Route, DurableTarget, DurableOutboxHost<DurableOutbox> {
  readonly subscription: string;
  readonly node: string;
  readonly clock: Clock;
  readonly #host: DurableRemoteHost;
  #entry: DurableEntry;
  #pattern: Pattern;
  /** In order of age: the first one sends, the last one takes what is new. */
  readonly #outboxes: DurableOutbox[] = [];

  /** @param earlier what earlier lives of this node have left to be sent, the oldest first. */
  constructor(
    host: DurableRemoteHost,
    entry: DurableEntry,
    pattern: Pattern,
    earlier: readonly ((host: DurableOutboxHost<DurableOutbox>) => DurableOutbox)[],
  ) {
    this.#host = host;
    this.#entry = entry;
    this.subscription = entry.name;
    this.node = entry.home;
    this.#pattern = pattern;
    this.clock = host.clock;
    for (const make of earlier) this.#outboxes.push(make(this));
    this.#outboxes[0]?.activate();
  }

  get entry(): DurableEntry {
    return this.#entry;
  }

  get pattern(): Pattern {
    return this.#pattern;
  }

  get retry(): Readonly<RetryPolicy> {
    return this.#entry.policy.retry;
  }

  /** The subscription is another one; what is under way to its mailbox stays. */
  change(entry: DurableEntry, pattern: Pattern): void {
    this.#entry = entry;
    this.#pattern = pattern;
  }

  /** How durable what its home has confirmed is. */
  get level(): 'os' | 'fsync' {
    return this.#entry.policy.durability === 'fsync' ? 'fsync' : 'os';
  }

  get durable(): DurableTarget {
    return this;
  }

  get stored(): boolean {
    return this.#host.stored;
  }

  /** Whether what is not confirmed is waited for although the home is away. */
  get patient(): boolean {
    return this.#host.patient;
  }

  get reachable(): boolean {
    return this.#host.path(this.node) !== undefined;
  }

  /** How many messages the home has not confirmed. */
  get unconfirmed(): number {
    return this.#outboxes.reduce((sum, outbox) => sum + outbox.unconfirmed, 0);
  }

  path(): Link | undefined {
    this.#host.wanted(this.node);
    return this.#host.path(this.node);
  }

  hasRoom({ size }: Message): boolean {
    const outbox = this.#current;
    if (outbox?.spooling === true) return this.#host.storeError === undefined && outbox.keeps(size);
    if (this.#host.stored && !this.reachable && this.#host.storeError !== undefined) return false;
    return outbox === undefined || outbox.hasRoom;
  }

  emit(message: Message): boolean {
    return this.#enter(storedForm(message), undefined) === undefined;
  }

  accept(_message: Message): boolean {
    return false;
  }

  publishAlone(message: Message, timeout: number, deadlines: DeadlineKeeper): Promise<Receipt> | undefined {
    storeOwn(message);
    const sent = new Sent(this, message, timeout);
    const problem = this.#enter(message, sent);
    if (problem !== undefined) sent.refused(problem);
    else deadlines.await(sent, timeout);
    return sent.result;
  }

  publish(message: Message, publication: Publication): void {
    const ticket = new StoreTicket(this, publication);
    publication.expect(ticket);
    const problem = this.#enter(storedForm(message), ticket);
    if (problem !== undefined) ticket.refused(problem);
  }

  /** Resolves when the home has confirmed everything that is not in the local store. */
  flushed(): Promise<void> {
    const { clock } = this;
    return new Promise((done) => {
      const look = (): void => {
        if (this.#outboxes.every((outbox) => outbox.spooling || outbox.unconfirmed === 0)) done();
        else clock.timer(20, look);
      };
      look();
    });
  }

  relink(): void {
    this.#outboxes[0]?.relink();
  }

  /** The home has not been reachable for a while: what waits goes into the local store, or its publishers are told. */
  away(): void {
    for (const outbox of this.#outboxes) {
      if (outbox.spooling || outbox.unconfirmed === 0) continue;
      if (this.#host.stored && this.#host.storeError === undefined) this.#spool(outbox);
      else if (!this.patient) outbox.giveUp();
    }
  }

  /** The leader has been away for too long. */
  giveUp(): void {
    this.away();
  }

  close(): void {
    for (const outbox of this.#outboxes) outbox.close();
    this.#outboxes.length = 0;
  }

  /** The mailbox is removed. @param lost its home will not return. */
  abandon(lost: boolean): void {
    for (const outbox of this.#outboxes) outbox.abandon(lost);
    this.#outboxes.length = 0;
  }

  // Target of a step

  refuses(_message: Message): BusError | undefined {
    const { stored, storeError } = this.#host;
    if (storeError !== undefined) return storeError;
    if (stored) return undefined;
    return new BusError(
      'STORE_REQUIRED',
      `a step that publishes to '${this.subscription}' needs a store on ${this.#host.node}`,
    );
  }

  stage(message: Message, commitment: Commitment | undefined): void {
    const outbox = this.#open();
    if (!outbox.spooling) this.#spool(outbox);
    outbox.keep(
      storedForm(message),
      commitment === undefined
        ? undefined
        : {
            stored: () => commitment.committed(true),
            spooled: (synced) => commitment.committed(synced),
            refused: (code) => commitment.failed(new BusError(code, 'it was not spooled')),
          },
    );
  }

  has(_message: Message): boolean {
    return false; // the home knows it again by its id
  }

  // Outbox

  expired(count: number): void {
    this.#host.events.emit({
      type: 'message.expired',
      subscription: this.subscription,
      node: this.node,
      count,
      reason: 'expired',
    });
  }

  dropped(count: number, reason: 'refused' | 'cleared' | 'unreachable'): void {
    this.#host.events.emit({
      type: 'message.dropped',
      subscription: this.subscription,
      node: this.node,
      count,
      reason,
    });
  }

  emptied(outbox: DurableOutbox, sure: boolean): void {
    if (outbox !== this.#outboxes[0]) return;
    if (!outbox.retired && this.#outboxes.length === 1) return;
    outbox.close();
    this.#outboxes.shift();
    const next = this.#outboxes[0];
    if (next === undefined) return;
    next.only = sure;
    next.activate();
  }

  stalled(outbox: DurableOutbox): void {
    if (outbox.spooling || outbox.unconfirmed === 0) return;
    if (this.#host.stored && this.#host.storeError === undefined) this.#spool(outbox);
    else outbox.giveUp('STORE_FAILED');
  }

  broken(outbox: DurableOutbox): void {
    // The next message opens another one, behind it. What the store holds of this one is known when it is open again.
    this.#host.whenStoreOpen(() => outbox.checkEmpty());
  }

  get #current(): DurableOutbox | undefined {
    const last = this.#outboxes[this.#outboxes.length - 1];
    return last === undefined || last.retired ? undefined : last;
  }

  /** @returns why the message was not taken. */
  #enter(message: Message, waiter: StoreWaiter | undefined): ErrorCode | undefined {
    const { stored, storeError } = this.#host;
    const outbox = this.#open();
    const direct = this.#outboxes.length === 1 && this.reachable && !outbox.spooling && !outbox.stalled;
    if (direct) return outbox.enter(message, waiter) ? undefined : 'MAILBOX_FULL';
    if (!stored) {
      // What is emitted waits in memory, within its bounds; so does what is published for a home that soon runs elsewhere.
      const awaited = waiter === undefined || (this.patient && !this.reachable);
      if (!awaited) return outbox.stalled ? 'STORE_FAILED' : 'NODE_UNREACHABLE';
      return outbox.enter(message, waiter) ? undefined : 'MAILBOX_FULL';
    }
    if (storeError !== undefined) return storeError.code;
    if (!outbox.spooling) this.#spool(outbox);
    if (!outbox.keeps(message.size)) return 'MAILBOX_FULL';
    outbox.keep(message, waiter);
    return undefined;
  }

  #open(): DurableOutbox {
    const current = this.#current;
    if (current !== undefined) return current;
    const { node, origin, clock, begun } = this.#host;
    const { id: mailbox } = this.entry;
    // The second one of a life needs an origin of its own: its numbers must not meet those of the first, which the home
    // would take for repeats.
    const place = begun.get(mailbox) ?? 0;
    const own = place > 0 ? hexOf(clock.randomBytes(8)) : origin;
    begun.set(mailbox, place + 1);
    const outbox = new DurableOutbox({ target: this.node, mailbox, source: node, origin: own, place }, this, 1);
    this.#outboxes.push(outbox);
    if (this.#outboxes.length === 1) {
      outbox.only = true;
      outbox.activate();
    }
    return outbox;
  }

  #spool(outbox: DurableOutbox): void {
    const { id: mailbox, name, home } = this.entry;
    const { origin, place } = outbox.route;
    outbox.spoolTo(this.#host.spool({ mailbox, name, home, origin, start: this.#host.start, place }, outbox));
  }
}

/** A message for this mailbox alone, which waits to be stored: by its home, or here. */
class Sent extends Waiting implements StoreWaiter {
  readonly #route: DurableRemoteRoute;

  constructor(route: DurableRemoteRoute, message: Message, timeout: number) {
    super(route, message, timeout);
    this.#route = route;
  }

  stored(): void {
    this.done(this.#route.level, 1);
  }

  spooled(synced: boolean): void {
    this.done(synced ? 'fsync' : 'os', 0);
  }

  refused(code: ErrorCode): void {
    this.end(code);
  }
}

/** A message that waits to be stored: by its mailbox's home, or here. */
class StoreTicket implements Ticket, StoreWaiter {
  readonly route: DurableRemoteRoute;
  readonly #publication: Publication;

  constructor(route: DurableRemoteRoute, publication: Publication) {
    this.route = route;
    this.#publication = publication;
  }

  stored(): void {
    this.#publication.stored(this.route.level, this);
  }

  spooled(synced: boolean): void {
    this.#publication.spooled(synced ? 'fsync' : 'os', this);
  }

  refused(code: ErrorCode): void {
    this.#publication.failed(this.route, code, this);
  }

  abandon(): ErrorCode {
    return 'TIMEOUT'; // whether the home has it is not known
  }
}
