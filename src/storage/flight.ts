import type { Message } from '../core/message.ts';
import type { Batch, Commitment } from './commits.ts';
import type { Segment } from './loaded.ts';
import { keyNumber } from './record.ts';
import { keptBytes, packSegment, segmentBytes, segmentMessages } from './segment.ts';

const nobody: Commitment[] = [];
const nothing: Segment[] = [];
const noMessages: Message[] = [];

/** Where a journal ends, and what has been handed out of it. */
export interface Place {
  readonly tail: number;
  readonly total: number;
  readonly mark: number;
}

/** What gathers for one commit of a journal, and then what that commit writes. */
export class Flight {
  messages = noMessages;
  /** Of messages whose ids are of their publishers' choice. */
  ids: Set<string> | undefined = undefined;
  /** Of messages that are numbered: the last one, and those before it where there are several. */
  #origin = '';
  #origins: Set<string> | undefined = undefined;
  /** The numbers of streams that are used up, but for the last stream's. */
  #marks: Map<string, number> | undefined = undefined;
  #stream: string | undefined = undefined;
  #number = 0;
  commitments = nobody;
  /** Segments whose last message has left. */
  emptied = nothing;
  segments = nothing;
  /** The bytes of the messages, once they are packed. */
  bytes = 0;
  mark = 0;
  synced = false;
  wroteState = false;

  get empty(): boolean {
    return this.messages.length === 0 && this.emptied.length === 0 && this.commitments.length === 0;
  }

  add(message: Message): void {
    // Made for one, an array has room for one: pushed to, an empty one gets room for 17.
    if (this.messages === noMessages) this.messages = [message];
    else this.messages.push(message);
    if (message.number !== 0) {
      if (message.origin === this.#origin) return;
      if (this.#origin !== '') {
        this.#origins ??= new Set();
        this.#origins.add(this.#origin);
      }
      this.#origin = message.origin;
      return;
    }
    this.ids ??= new Set();
    this.ids.add(message.origin);
  }

  /** Whether a message of this id is among them, whether it was numbered or is a repeat under the id that it had then. */
  holds(id: string): boolean {
    if (this.ids?.has(id) === true) return true;
    const cut = id.lastIndexOf('.');
    const origin = id.slice(0, cut);
    if (cut < 0 || (origin !== this.#origin && this.#origins?.has(origin) !== true)) return false;
    const number = Number(id.slice(cut + 1));
    return this.messages.some((message) => message.number === number && message.origin === origin);
  }

  /** A number of a stream is used up. Many of one stream come in a row. */
  advance(stream: string, number: number): void {
    if (stream !== this.#stream) {
      this.#note();
      this.#stream = stream;
    }
    this.#number = number;
  }

  /** The numbers of streams that are used up; undefined when none is. */
  get marks(): ReadonlyMap<string, number> | undefined {
    this.#note();
    return this.#marks;
  }

  #note(): void {
    if (this.#stream === undefined) return;
    this.#marks ??= new Map();
    this.#marks.set(this.#stream, this.#number);
    this.#stream = undefined;
  }

  await(commitment: Commitment): void {
    if (this.commitments === nobody) this.commitments = [commitment];
    else this.commitments.push(commitment);
  }

  /** The last message of a segment has left. */
  clear(segment: Segment): void {
    if (this.emptied === nothing) this.emptied = [segment];
    else this.emptied.push(segment);
  }

  /** Packs the messages into segments, which follow upon what is there. @param prefix what their keys begin with. */
  write(batch: Batch, prefix: string, { tail, total, mark }: Place): void {
    const { messages, marks } = this;
    const { time } = batch;
    let segments = nothing;
    let first = tail + 1;
    let bytesBefore = total;
    for (let at = 0; at < messages.length; ) {
      let end = at;
      let bytes = 0;
      while (end < messages.length && end - at < segmentMessages && (bytes < segmentBytes || end === at)) {
        bytes += (messages[end] as Message).size; // end < length
        end++;
      }
      const part = at === 0 && end === messages.length ? messages : messages.slice(at, end);
      const count = part.length;
      const segment = new Written(prefix + keyNumber(first), first, count, mark, bytesBefore, bytes, time);
      const record = packSegment(segment, part, end === messages.length ? marks : undefined);
      segment.keep(record);
      batch.put(segment.key, record);
      if (segments === nothing) segments = [segment];
      else segments.push(segment);
      first += count;
      bytesBefore += bytes;
      at = end;
    }
    this.segments = segments;
    this.bytes = bytesBefore - total;
  }

  /**
   * It has been written and told. V8 may have put its arrays among the old objects, where they would keep what is in them,
   * dead as they are, until the next full collection: measured, a quarter of the rate.
   */
  release(): void {
    this.messages.length = 0;
    if (this.commitments !== nobody) this.commitments.length = 0;
  }

  /** The messages of a segment. @param at how many stand in those before it. */
  messagesOf({ count }: Segment, at: number): readonly Message[] {
    return count === this.messages.length ? this.messages : this.messages.slice(at, at + count);
  }
}

const none: Uint8Array = new Uint8Array(0);
/** Up to so many bytes. */
const keptWhole = 512;

/** A segment as it is written: nothing of it has left. */
class Written implements Segment {
  readonly key: string;
  readonly first: number;
  readonly count: number;
  readonly mark: number;
  readonly bytesBefore: number;
  readonly bytes: number;
  readonly time: number;
  record = none;
  left: number;
  leftBytes: number;
  bits: Uint8Array | undefined = undefined;
  emptied = false;

  constructor(
    key: string,
    first: number,
    count: number,
    mark: number,
    bytesBefore: number,
    bytes: number,
    time: number,
  ) {
    this.key = key;
    this.first = first;
    this.count = this.left = count;
    this.mark = mark;
    this.bytesBefore = bytesBefore;
    this.bytes = this.leftBytes = bytes;
    this.time = time;
  }

  /** Keeps what its stub will need: small records whole, which takes no copy. */
  keep(record: Uint8Array): void {
    this.record = record.length <= keptWhole ? record : record.slice(0, keptBytes(record));
  }
}
