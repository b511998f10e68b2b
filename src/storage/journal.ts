import type { BusError } from '../core/errors.ts';
import type { Message } from '../core/message.ts';
import type { Batch, Commitment, Commits, Participant } from './commits.ts';
import { Flight } from './flight.ts';
import { giveIds, type RecentIds, readIds } from './ids.ts';
import type { JournalHost } from './journal-host.ts';
import { type JournalState, type Partial, packState } from './journal-state.ts';
import type { Entry, Segment } from './loaded.ts';
import { type Gap, type Recovered, readBehind, recover, segmentPrefix, stateKey } from './recovery.ts';
import { idsOf, type SegmentHead, type SegmentRecord } from './segment.ts';
import { Stubs } from './stubs.ts';
import { Window, type WindowHost } from './window.ts';

/** How many segments are written before the state is written once more, so that opening has no more than these to read. */
const stateEvery = 64;

/**
 * The messages of one mailbox on disk. They enter at the end, in segments of one commit each; they leave anywhere. A part
 * of them, from the beginning on, is in memory.
 */
export class Journal implements Participant, WindowHost {
  readonly id: string;
  readonly ids: RecentIds;
  readonly commits: Commits;
  readonly #host: JournalHost;
  readonly #window: Window;
  readonly #prefix: string;
  readonly #watermarks: Map<string, number>;
  /** The last sequence that is written, and all bytes up to there. */
  #tail: number;
  #total: number;
  #mark: number;
  #marking: number;
  #waiting: number;
  #bytes: number;
  readonly #stubs: Stubs;
  /** What is written next. */
  #next = new Flight();
  #stateDirty = false;
  /** A part of a segment has left since the last commit: the rest may follow before the next. */
  #parted = false;
  #sinceState = 0;
  #flight: Flight | undefined;

  constructor(id: string, commits: Commits, host: JournalHost, recovered: Recovered) {
    const { state, waiting, bytes, ids, stubs } = recovered;
    this.id = id;
    this.#prefix = segmentPrefix(id);
    this.ids = ids;
    this.commits = commits;
    this.#host = host;
    this.#watermarks = new Map(state.watermarks);
    this.#tail = state.tail;
    this.#total = state.total;
    this.#mark = this.#marking = state.mark;
    this.#waiting = waiting;
    this.#bytes = bytes;
    this.#window = new Window(this, state.head, state.gone, state.partials);
    this.#stubs = new Stubs(id, stubs);
  }

  /** How many messages are in segments, written or about to be, and their bytes. */
  get waiting(): number {
    return this.#waiting;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The last sequence that is written. */
  get tail(): number {
    return this.#tail;
  }

  /** The bytes of all messages up to there. */
  get total(): number {
    return this.#total;
  }

  /** Up to which sequence messages may be handed out. */
  get mark(): number {
    return this.#mark;
  }

  get limits(): JournalHost['window'] {
    return this.#host.window;
  }

  get engaged(): number {
    return this.#host.engaged;
  }

  /** Whether everything that waits is in memory. */
  get complete(): boolean {
    return this.#window.complete && this.#next.messages.length === 0 && this.#flight === undefined;
  }

  /** Whether more is read, or is about to be. */
  get reading(): boolean {
    return this.#window.reading && this.commits.error === undefined;
  }

  /** From which sequence on nothing has been read. */
  get cursor(): number {
    return this.#window.cursor;
  }

  /** Of segments that have not been read: of which some messages have left. */
  get unread(): ReadonlyMap<number, Partial> {
    return this.#window.unread;
  }

  /** Messages leave a segment that has not been read. @returns false when that cannot be noted. */
  strike(segment: SegmentHead, places: readonly number[], bytes: number): boolean {
    if (!this.#window.strike(segment, places, bytes)) return false;
    this.#waiting -= places.length;
    this.#bytes -= bytes;
    this.touchState();
    return true;
  }

  /** Whether something is still to be written. */
  get busy(): boolean {
    return this.#flight !== undefined || this.#stateDirty || this.#parted || !this.#next.empty;
  }

  /** The highest number of a stream that is written; what came after it may have to be sent again. */
  watermark(origin: string): number {
    return this.#watermarks.get(origin) ?? 0;
  }

  get origins(): Iterable<string> {
    return this.#watermarks.keys();
  }

  /** A stream never comes again. */
  forget(origin: string): void {
    if (this.#watermarks.delete(origin)) this.touchState();
  }

  /** Whether a message of this id entered lately. */
  knows(id: string): boolean {
    return this.#next.holds(id) || this.#flight?.holds(id) === true || this.ids.has(id);
  }

  /** As `knows`, for a message that was numbered. */
  knowsNumber(origin: string, number: number): boolean {
    return this.ids.hasNumber(origin, number) || this.knows(`${origin}.${number}`);
  }

  /**
   * Takes a message in with the next commit.
   *
   * @param message a stored form.
   * @param origin whose stream it came in, and as which number.
   */
  append(message: Message, commitment: Commitment | undefined, origin?: string, watermark = 0): void {
    const next = this.#next;
    next.add(message);
    this.#waiting++;
    this.#bytes += message.size;
    if (origin !== undefined) next.advance(origin, watermark);
    if (commitment !== undefined) next.await(commitment);
    this.commits.touch(this);
  }

  /** Takes back the message that entered first of those that no commit writes yet. Who waits for it is told as if it were. */
  takeBack(): Message | undefined {
    const message = this.#next.messages.shift();
    if (message === undefined) return undefined;
    this.#waiting--;
    this.#bytes -= message.size;
    if (message.number === 0) this.ids.id(message.origin); // it was here, though no segment will say so
    return message;
  }

  /** A number of a stream is used up. */
  advance(origin: string, watermark: number): void {
    this.#next.advance(origin, watermark);
    this.commits.touch(this);
  }

  /** Tells when all that was given before is written. */
  whenCommitted(commitment: Commitment): void {
    this.#next.await(commitment);
    this.commits.touch(this);
  }

  /** Nothing is handed out any more: what is known of attempts stands with the messages. */
  resetMark(): void {
    this.#mark = this.#marking = 0;
    this.touchState();
  }

  /** Has the host collected. */
  touch(): void {
    this.commits.touch(this);
  }

  /** The state has changed. */
  touchState(): void {
    this.#stateDirty = true;
    this.commits.touch(this);
  }

  /** A message leaves its segment: it was settled, or moves elsewhere in the same batch. */
  leave(entry: Entry): void {
    const empty = this.#window.leave(entry);
    if (empty === undefined) return;
    this.#waiting--;
    this.#bytes -= entry.message.size;
    if (empty) this.#next.clear(entry.segment);
    else this.#parted = true;
    this.commits.touchLater(this);
    this.#window.page();
  }

  /** Fills the memory from the disk, for the first time. */
  start(): void {
    this.#window.page();
  }

  close(): void {
    this.#window.close();
  }

  // Window

  arrived(message: Message, sequence: number, segment: Segment): void {
    this.#host.arrived(message, sequence, segment);
  }

  settledIn(): void {
    if (this.complete) {
      // What a gap has taken with it is not known to the byte.
      this.#waiting = this.#window.count;
      this.#bytes = this.#window.bytes;
    }
    this.#host.settledIn();
  }

  emptied(segment: Segment): void {
    this.#next.clear(segment);
    this.commits.touch(this);
  }

  stub(first: number, time: number): void {
    this.#stubs.add(first, time);
  }

  gap(gap: Gap): void {
    this.#waiting -= gap.count;
    this.#bytes -= gap.bytes;
    this.#host.gap(gap);
    this.touchState();
  }

  unreadable(error: Error): void {
    this.#host.unreadable(error);
  }

  // Participant

  collect(batch: Batch): void {
    const { sync, keepsIds } = this.#host;
    const flight = this.#next;
    this.#flight = flight;
    this.#next = new Flight();
    const { messages } = flight;
    const wanted = this.#host.wantedMark(this.#tail + messages.length);
    if (wanted > this.#marking) {
      this.#marking = wanted;
      if (messages.length === 0) this.#stateDirty = true;
    }
    if (messages.length > 0) {
      flight.write(batch, this.#prefix, { tail: this.#tail, total: this.#total, mark: this.#marking });
      this.#sinceState += flight.segments.length;
    } else if (flight.marks !== undefined) {
      this.#stateDirty = true;
    }
    flight.synced = sync;
    if (sync && (messages.length > 0 || flight.commitments.length > 0)) batch.sync = true;
    if (flight.emptied.length > 0) this.#writeEmptied(batch, flight.emptied);
    this.#host.collect(batch);
    if (keepsIds && this.ids.roll(batch.time)) {
      const cleaned = this.#stubs.clean(batch, this.#window.head, this.ids.since, this.#waiting === 0);
      this.#stateDirty ||= cleaned;
    }
    if (this.#parted && this.#window.loaded.broken) this.#stateDirty = true;
    this.#parted = false;
    if (this.#stateDirty || this.#sinceState >= stateEvery) {
      this.#stateDirty = false;
      this.#sinceState = 0;
      flight.wroteState = true;
      batch.put(stateKey(this.id), packState(this.#state(flight)));
    }
    flight.mark = this.#marking;
  }

  committed(): void {
    const flight = this.#flight as Flight; // collect() came before
    this.#flight = undefined;
    if (flight.marks !== undefined) for (const [origin, n] of flight.marks) this.#watermarks.set(origin, n);
    // It may have been reset since.
    if (this.#marking >= flight.mark) this.#mark = flight.mark;
    let at = 0;
    for (const segment of flight.segments) {
      const { first, count } = segment;
      const messages = flight.messagesOf(segment, at);
      // Packed, numbers that follow one another are one item; ids of publishers' choice are better taken from the messages.
      if (this.#host.keepsIds) {
        const ids = count === 1 ? undefined : idsOf(segment.record);
        if (ids === undefined || ids.length >= count) giveIds(messages, this.ids);
        else readIds(ids, this.ids);
      }
      this.#tail = first + count - 1;
      this.#total = segment.bytesBefore + segment.bytes;
      this.#window.takeNew(segment, messages);
      at += count;
    }
    for (const commitment of flight.commitments) commitment.committed(flight.synced);
    this.#host.committed();
    if (flight.segments.length > 0) this.#host.settledIn();
    flight.release();
    this.#window.page();
  }

  failed(error: BusError): void {
    // What was to be written next is lost with what was being written: it came after that.
    const lost = this.#flight === undefined ? [this.#next] : [this.#flight, this.#next];
    this.#flight = undefined;
    this.#next = new Flight();
    this.#marking = this.#mark;
    for (const { messages, emptied, wroteState } of lost) {
      this.#stateDirty ||= wroteState;
      for (const segment of emptied) {
        if (segment.emptied) this.#window.loaded.restore(segment);
        this.#next.clear(segment);
      }
      this.#waiting -= messages.length;
      for (const { size } of messages) this.#bytes -= size;
    }
    this.#host.failed(error);
    for (const { commitments } of lost) for (const commitment of commitments) commitment.failed(error);
  }

  /** What a failed commit was to write may stand on the disk: it is waiting, then, and numbers go on above it. */
  async restored(): Promise<void> {
    const { store } = this.commits;
    const { keepsIds, clock } = this.#host;
    const take = (record: SegmentRecord): void => {
      if (keepsIds) readIds(record.ids, this.ids);
      const end = record.first + record.count - 1;
      const total = record.bytesBefore + record.bytes;
      this.#waiting += end - this.#tail;
      this.#bytes += total - this.#total;
      this.#tail = end;
      this.#total = total;
    };
    await readBehind(store, this.id, this.#tail, take, (gap) => this.#host.gap(gap));
    const { state } = await recover(store, this.id, clock.now(), false);
    for (const [origin, number] of state.watermarks) {
      if (number > this.watermark(origin)) this.#watermarks.set(origin, number);
    }
    this.#mark = this.#marking = Math.max(this.#mark, state.mark);
    this.touchState();
  }

  #writeEmptied(batch: Batch, emptied: readonly Segment[]): void {
    for (const segment of emptied) {
      this.#window.loaded.clear(segment);
      if (this.#host.keepsIds) {
        this.#stubs.write(batch, segment);
      } else {
        batch.del(segment.key);
        this.#stateDirty = true;
      }
    }
    // Stubs at the beginning explain themselves; one behind a segment that has messages left is told in the state.
    if (this.#window.loaded.pass()) this.#stateDirty = true;
  }

  #state(flight: Flight): JournalState {
    const watermarks = new Map(this.#watermarks);
    for (const [origin, number] of flight.marks ?? []) watermarks.set(origin, number);
    return {
      head: this.#window.head,
      tail: this.#tail + flight.messages.length,
      total: this.#total + flight.bytes,
      mark: this.#marking,
      gone: this.#window.gone(),
      partials: this.#window.partials(),
      watermarks: [...watermarks],
      ...this.#host.state(),
    };
  }
}
