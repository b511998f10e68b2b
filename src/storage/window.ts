import { BusError, toError } from '../core/errors.ts';
import type { Message } from '../core/message.ts';
import type { Commits } from './commits.ts';
import { type Amount, GoneRuns } from './gone.ts';
import type { Gone, Partial } from './journal-state.ts';
import { type Entry, Loaded, type Segment } from './loaded.ts';
import { ReadAhead } from './read-ahead.ts';
import { keySequence } from './record.ts';
import { type Gap, segmentKey, segmentsFrom } from './recovery.ts';
import { keptBytes, readMessages, readSegment, type SegmentHead, type SegmentRecord } from './segment.ts';

/** What a window needs of its journal and of the journal's owner. */
export interface WindowHost {
  readonly id: string;
  readonly commits: Commits;
  /** How much may be in memory. */
  readonly limits: { readonly messages: number; readonly bytes: number };
  /** How many of those in memory cannot be handed out now. */
  readonly engaged: number;
  /** The last sequence that is written. */
  readonly tail: number;
  /** The bytes of all messages up to there. */
  readonly total: number;
  /** A message is there. In order. */
  arrived(message: Message, sequence: number, segment: Segment): void;
  /** Nothing more arrives for now. */
  settledIn(): void;
  /** A segment has been read whose messages have all left. */
  emptied(segment: Segment): void;
  /** A stub has been found, or what goes like one: of which time its ids are. */
  stub(first: number, time: number): void;
  gap(gap: Gap): void;
  /** The store cannot be read. */
  unreadable(error: Error): void;
}

/**
 * What has been read is unpacked when fewer messages than `low` are there to be handed out, until `high` are; of both the
 * larger. What lies long in memory costs the garbage collector dearly: a full window was a seventh slower.
 */
const low = { messages: 256, part: 0.025 };
const high = { messages: 512, part: 0.05 };
/** And as long as they take no more than this part of the window's bytes. */
const mostBytes = 0.25;
/** Of so many segments that have not been read it is noted what has left them: the note is part of every state. */
const mostStruck = 10_000;

/** The part of a journal that is in memory, from its beginning on; the rest is read when there is room. */
export class Window {
  readonly #host: WindowHost;
  /** What is in memory. */
  readonly loaded = new Loaded();
  /** From the cursor on. */
  readonly #ahead = new ReadAhead();
  /** Known from opening, of segments that are not in memory yet. */
  readonly #gone: GoneRuns;
  readonly #partials: Map<number, Partial>;
  #cursor: number;
  /** The bytes of all messages before the cursor; undefined until something has been read. */
  #end: number | undefined;
  #count = 0;
  #bytes = 0;
  #paging = false;
  #closed = false;
  /** Why the next gap is one. */
  #problem: string | undefined;

  constructor(host: WindowHost, head: number, gone: readonly Gone[], partials: readonly Partial[]) {
    this.#host = host;
    this.#cursor = head;
    this.#gone = new GoneRuns(gone);
    this.#partials = new Map(partials.map((each) => [each.first, each]));
  }

  /** How many messages are in memory, and their bytes. */
  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The sequence of the first message of the first segment that has any left. */
  get head(): number {
    return this.loaded.head?.first ?? this.#cursor;
  }

  get hasRoom(): boolean {
    const { messages, bytes } = this.#host.limits;
    return this.#count < messages && this.#bytes < bytes;
  }

  /** Whether more is read, or is about to be. */
  get reading(): boolean {
    return !this.complete && (this.#paging || this.#lacks(low));
  }

  /** From which sequence on nothing has been read. */
  get cursor(): number {
    return this.#cursor;
  }

  /** Of segments that have not been read: of which some messages have left. */
  get unread(): ReadonlyMap<number, Partial> {
    return this.#partials;
  }

  /**
   * Messages leave a segment that has not been read: its stub is written when it is.
   *
   * @param places within the segment; none of them has left before.
   * @returns false when so many segments are noted already that no more can be.
   */
  strike({ first, count }: SegmentHead, places: readonly number[], bytes: number): boolean {
    const before = this.#partials.get(first);
    if (before === undefined && this.#partials.size >= mostStruck) return false;
    const left = before?.left.slice() ?? new Uint8Array((count + 7) >> 3);
    for (const place of places) left[place >> 3] = (left[place >> 3] as number) | (1 << (place & 7)); // place < count
    this.#partials.set(first, {
      first,
      left,
      count: (before?.count ?? 0) + places.length,
      bytes: (before?.bytes ?? 0) + bytes,
    });
    return true;
  }

  /** Whether everything that is written is in memory. */
  get complete(): boolean {
    return this.#cursor > this.#host.tail;
  }

  /** Takes in what has just been written, when nothing stands between. */
  takeNew(segment: Segment, messages: readonly Message[]): void {
    // A record that was read ahead may be this one, seen before its commit was told.
    if (!this.#paging && this.#ahead.empty && this.#cursor === segment.first && this.hasRoom)
      this.#takeIn(segment, messages);
  }

  /** A message leaves. @returns whether its segment is empty now; undefined when it had left before. */
  leave(entry: Entry): boolean | undefined {
    const empty = this.loaded.leave(entry);
    if (empty === undefined) return undefined;
    this.#count--;
    this.#bytes -= entry.message.size;
    return empty;
  }

  /** Runs of messages that have left, behind the head. */
  gone(): Gone[] {
    return [...this.loaded.gone(), ...this.#gone];
  }

  /** Segments of which some messages have left. */
  partials(): Partial[] {
    return [...this.loaded.partials(), ...this.#partials.values()];
  }

  /** Reads on, when there is little left and more to read. */
  page(): void {
    if (this.#paging || this.#closed || this.complete || !this.#lacks(low)) return;
    if (this.#host.commits.error !== undefined) return;
    this.#paging = true;
    this.#read().then(
      () => this.#paged(),
      (error: unknown) => {
        this.#paging = false;
        if (!this.#closed) this.#host.unreadable(toError(error));
      },
    );
  }

  close(): void {
    this.#closed = true;
  }

  /** Whether less is there to be handed out than there should be. */
  #lacks(least: typeof low): boolean {
    const { messages, bytes } = this.#host.limits;
    if (this.#count >= messages || this.#bytes >= bytes) return false;
    const ready = this.#count - this.#host.engaged;
    return ready <= 0 || (ready < Math.max(least.messages, messages * least.part) && this.#bytes < bytes * mostBytes);
  }

  #takeIn(segment: Segment, messages: readonly Message[]): void {
    this.loaded.add(segment);
    this.#cursor = segment.first + segment.count;
    this.#end = segment.bytesBefore + segment.bytes;
    const { bits } = segment;
    for (let i = 0; i < messages.length; i++) {
      if (bits !== undefined && ((bits[i >> 3] as number) & (1 << (i & 7))) !== 0) continue; // bits cover the segment
      const message = messages[i] as Message; // i < length
      this.#count++;
      this.#bytes += message.size;
      this.#host.arrived(message, segment.first + i, segment);
    }
  }

  #paged(): void {
    this.#paging = false;
    if (this.#closed) return;
    this.#host.settledIn();
    this.page();
  }

  async #read(): Promise<void> {
    const { id, commits, tail, total } = this.#host;
    const ahead = this.#ahead;
    ahead.use(commits.store);
    await undefined; // nobody who is in the middle of something is given a message
    const range = segmentsFrom(id, this.#cursor);
    for (let from = range.gte; ; ) {
      while (!ahead.empty) {
        if (this.#closed || this.#cursor > tail || !this.#lacks(high)) return;
        const [key, value] = ahead.take() as readonly [string, Uint8Array]; // not empty
        this.#readOne(key, value);
        from = `${key}\0`; // where the cursor need not be: it stays before what is damaged
      }
      // Before the rest is needed.
      if (this.#closed || this.#cursor > tail) return;
      await ahead.fill({ ...range, gte: from });
      if (this.#closed) return;
      if (ahead.empty) {
        this.#skip(tail + 1, total);
        return;
      }
      if (!this.#lacks(low)) return;
    }
  }

  #readOne(key: string, value: Uint8Array): void {
    try {
      const record = readSegment(key, value);
      const { first, count, bytes, bytesBefore } = record;
      if (key !== segmentKey(this.#host.id, first))
        throw new BusError('STORE_CORRUPT', `'${key}' holds another segment`);
      const messages = record.kind === 'stub' ? [] : readMessages(key, record);
      if (first > this.#cursor) this.#skip(first, bytesBefore);
      if (record.kind === 'stub') {
        this.#passStub(key, record);
        return;
      }
      const partial = this.#partials.get(first);
      this.#partials.delete(first);
      const segment: Segment = {
        ...headOf(key, record),
        left: count - (partial?.count ?? 0),
        leftBytes: bytes - (partial?.bytes ?? 0),
        bits: partial?.left.slice(),
        emptied: false,
      };
      const empty = segment.left === 0; // one that becomes so as it is taken in is told by leave()
      this.#takeIn(segment, messages);
      if (empty) this.#host.emptied(segment);
    } catch (error) {
      if (!(error instanceof BusError) || error.code !== 'STORE_CORRUPT') throw error;
      this.#problem = error.message;
      // It stands for nothing any more, and goes with the stubs.
      this.#host.stub(keySequence(key), 0);
    }
  }

  /** Nothing is left of a segment behind the head: the state goes on to say so. */
  #passStub(key: string, record: SegmentRecord): void {
    const { first, count, bytes, time } = record;
    this.#host.stub(first, time);
    this.#gone.take(first, first + count, bytes);
    this.#end = record.bytesBefore + bytes;
    this.#cursor = first + count;
    this.loaded.add({ ...headOf(key, record), left: 0, leftBytes: 0, bits: undefined, emptied: true });
  }

  /** Messages are not where they should be: tells so, unless they had left before, and goes on behind them. */
  #skip(to: number, end: number): void {
    const from = this.#cursor;
    const left = this.#takeLeft(from, to);
    const count = to - from - left.count;
    const whole = this.#end === undefined ? left.bytes : Math.max(left.bytes, end - this.#end);
    const reason = this.#problem;
    this.#cursor = to;
    this.#end = end;
    this.#problem = undefined;
    // The state goes on to say that nothing is left of them, or they would be told again at the next start.
    this.loaded.add({ ...nowhere, first: from, count: to - from, bytes: whole });
    if (count === 0 && reason === undefined) return;
    this.#host.gap({ from, to: to - 1, count, bytes: whole - left.bytes, reason: reason ?? 'they are missing' });
  }

  /** How much of a part that has not been read has left; what was known of that part is forgotten. */
  #takeLeft(from: number, to: number): Amount {
    let { count, bytes } = this.#gone.take(from, to);
    for (const [first, partial] of this.#partials) {
      if (first < from || first >= to) continue;
      count += partial.count;
      bytes += partial.bytes;
      this.#partials.delete(first);
    }
    return { count, bytes };
  }
}

const none = new Uint8Array(0);
const nowhere = {
  mark: 0,
  bytesBefore: 0,
  time: 0,
  key: '',
  record: none,
  left: 0,
  leftBytes: 0,
  bits: undefined,
  emptied: true,
} as const;

/** A record without its messages, which may be large. */
function headOf(key: string, record: SegmentRecord): Omit<Segment, 'left' | 'leftBytes' | 'bits' | 'emptied'> {
  const { first, count, mark, bytesBefore, bytes, time, value } = record;
  return { key, first, count, mark, bytesBefore, bytes, time, record: value.slice(0, keptBytes(value)) };
}
