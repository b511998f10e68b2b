import type { Message } from '../core/message.ts';
import { type Block, textBytes, writeText } from './block.ts';

/** The highest number of a publisher's stream that a mailbox has taken, by the publisher's origin. */
export type Watermarks = ReadonlyMap<string, number>;

const runItem = 1;
const idItem = 2;

/** How many bytes {@link writeIds} takes. */
export function idsBytes(messages: readonly Message[]): number {
  let bytes = 0;
  for (let i = 0; i < messages.length; ) {
    const { origin, number } = messages[i] as Message; // i < length
    bytes += 3 + textBytes(origin) + (number === 0 ? 0 : 12);
    i = number === 0 ? i + 1 : runEnd(messages, i);
  }
  return bytes;
}

/** Writes ids, packed: those that count up from one another take one item. @returns where they end. */
export function writeIds(messages: readonly Message[], { to, view }: Block, at: number): number {
  for (let i = 0; i < messages.length; ) {
    const { origin, number } = messages[i] as Message; // i < length
    to[at] = number === 0 ? idItem : runItem;
    at = writeText(to, view, at + 1, origin);
    if (number === 0) {
      i++;
      continue;
    }
    const end = runEnd(messages, i);
    view.setFloat64(at, number);
    view.setUint32(at + 8, end - i);
    at += 12;
    i = end;
  }
  return at;
}

/** Where the run of numbers of one origin ends that begins at a place. */
function runEnd(messages: readonly Message[], from: number): number {
  const { origin, number } = messages[from] as Message; // from < length
  let end = from + 1;
  for (; end < messages.length; end++) {
    const next = messages[end] as Message; // end < length
    if (next.number !== number + end - from || next.origin !== origin) break;
  }
  return end;
}

/** Takes what packed ids hold: ids of a publisher's own choice, and runs of numbers of one origin. */
export interface IdSink {
  id(id: string): void;
  run(origin: string, from: number, count: number): void;
}

/** Gives the ids of messages, as `readIds` would when they are packed. */
export function giveIds(messages: readonly Message[], sink: IdSink): void {
  for (let i = 0; i < messages.length; ) {
    const { origin, number } = messages[i] as Message; // i < length
    if (number === 0) {
      sink.id(origin);
      i++;
      continue;
    }
    const end = runEnd(messages, i);
    sink.run(origin, number, end - i);
    i = end;
  }
}

/** @throws {RangeError} when they are cut short: the record's checksum rules that out. */
export function readIds(ids: Uint8Array, sink: IdSink): void {
  const from = Buffer.from(ids.buffer, ids.byteOffset, ids.length);
  for (let at = 0; at < from.length; ) {
    const end = at + 3 + from.readUInt16BE(at + 1);
    const text = from.toString('utf8', at + 3, end);
    if (from[at] === idItem) {
      sink.id(text);
      at = end;
    } else {
      sink.run(text, from.readDoubleBE(end), from.readUInt32BE(end + 8));
      at = end + 12;
    }
  }
}

/** How many bytes {@link writeWatermarks} takes. */
export function watermarksBytes(watermarks: Watermarks | undefined): number {
  let bytes = 0;
  if (watermarks !== undefined) for (const origin of watermarks.keys()) bytes += 10 + textBytes(origin);
  return bytes;
}

/** Writes watermarks as a segment holds them. @returns where they end. */
export function writeWatermarks(watermarks: Watermarks | undefined, { to, view }: Block, at: number): number {
  if (watermarks === undefined) return at;
  for (const [origin, number] of watermarks) {
    at = writeText(to, view, at, origin);
    view.setFloat64(at, number);
    at += 8;
  }
  return at;
}

/** @throws {RangeError} as {@link readIds}. */
export function readWatermarks(bytes: Uint8Array, take: (origin: string, number: number) => void): void {
  const from = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < from.length; ) {
    const end = at + 2 + from.readUInt16BE(at);
    take(from.toString('utf8', at + 2, end), from.readDoubleBE(end));
    at = end + 8;
  }
}

/** How many ids a mailbox remembers at least, or for how long, whichever ends first. */
const retention = { count: 100_000, time: 120_000 };

/** The ids of one half of the time that they are remembered for. */
class Generation {
  readonly since: number;
  readonly ids = new Set<string>();
  /** By origin: the ends of runs of numbers, `from` and `to` in turn, ascending. */
  readonly runs = new Map<string, number[]>();
  size = 0;
  /** Whose runs were added to last: mostly it is the same again. */
  #last = '';
  #lastRuns: number[] | undefined;

  constructor(since: number) {
    this.since = since;
  }

  add(origin: string, from: number, count: number): void {
    this.size += count;
    const runs = origin === this.#last ? this.#lastRuns : this.runs.get(origin);
    this.#last = origin;
    this.#lastRuns = runs;
    if (runs === undefined) {
      this.#lastRuns = [from, from + count - 1];
      this.runs.set(origin, this.#lastRuns);
      return;
    }
    const end = runs[runs.length - 1] as number; // never empty
    if (from === end + 1) runs[runs.length - 1] = from + count - 1;
    else if (from > end) runs.push(from, from + count - 1);
    // What comes late is rare: those that are repeated come under an id of their own.
    else for (let n = from; n < from + count; n++) this.ids.add(`${origin}.${n}`);
  }

  has(id: string, origin: string, number: number): boolean {
    return this.ids.has(id) || this.hasNumber(origin, number);
  }

  hasNumber(origin: string, number: number): boolean {
    const runs = this.runs.get(origin);
    if (runs === undefined) return false;
    let low = 0;
    let high = runs.length >> 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((runs[2 * middle + 1] as number) < number)
        low = middle + 1; // middle < high
      else high = middle;
    }
    const from = runs[2 * low];
    return from !== undefined && from <= number;
  }
}

/**
 * The ids that entered a mailbox lately: at least those of the last two minutes, or the last 100,000, whichever are fewer.
 * Two generations, of which the older is dropped whole, so that forgetting costs nothing.
 */
export class RecentIds implements IdSink {
  #older: Generation;
  #newer: Generation;

  constructor(now: number) {
    this.#older = new Generation(now);
    this.#newer = new Generation(now);
  }

  /** What entered before this time, in milliseconds since the epoch, may be forgotten. */
  get since(): number {
    return this.#older.since;
  }

  id(id: string): void {
    this.#newer.ids.add(id);
    this.#newer.size++;
  }

  run(origin: string, from: number, count: number): void {
    this.#newer.add(origin, from, count);
  }

  has(id: string): boolean {
    const cut = id.lastIndexOf('.');
    const text = id.slice(cut + 1);
    // Only as a number is written: '01' and '1e0' are of somebody's own choice.
    const number = cut >= 0 && String(Number(text)) === text ? Number(text) : Number.NaN;
    const origin = cut < 0 ? '' : id.slice(0, cut);
    return this.#newer.has(id, origin, number) || this.#older.has(id, origin, number);
  }

  /** As `has`, for a message that was numbered and came in order: without making its id. */
  hasNumber(origin: string, number: number): boolean {
    return this.#newer.hasNumber(origin, number) || this.#older.hasNumber(origin, number);
  }

  /** Forgets what need not be remembered any more. @returns whether it has. */
  roll(now: number): boolean {
    if (this.#newer.size < retention.count && now - this.#newer.since < retention.time) return false;
    this.#older = this.#newer;
    this.#newer = new Generation(now);
    return true;
  }
}
