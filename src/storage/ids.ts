import type { Message } from '../core/message.ts';

/** The highest number of a publisher's stream that a mailbox has taken, by the publisher's origin. */
export type Watermarks = ReadonlyMap<string, number>;

const runItem = 1;
const idItem = 2;

/** Ids, packed: those that count up from one another take one item. */
export function packIds(messages: readonly Message[]): Uint8Array {
  const items: { origin: string; from: number; count: number }[] = [];
  let last: { origin: string; from: number; count: number } | undefined;
  let bytes = 0;
  for (const { origin, number } of messages) {
    const run = last !== undefined && last.from !== 0 && number === last.from + last.count && origin === last.origin;
    if (last !== undefined && run) {
      last.count++;
      continue;
    }
    last = { origin, from: number, count: 1 };
    items.push(last);
    bytes += 3 + Buffer.byteLength(origin) + (number === 0 ? 0 : 12);
  }
  const to = Buffer.allocUnsafe(bytes);
  let at = 0;
  for (const { origin, from, count } of items) {
    const length = to.write(origin, at + 3);
    to[at] = from === 0 ? idItem : runItem;
    to.writeUInt16BE(length, at + 1);
    at += 3 + length;
    if (from === 0) continue;
    to.writeDoubleBE(from, at);
    to.writeUInt32BE(count, at + 8);
    at += 12;
  }
  return to;
}

/** Takes what packed ids hold: ids of a publisher's own choice, and runs of numbers of one origin. */
export interface IdSink {
  id(id: string): void;
  run(origin: string, from: number, count: number): void;
}

/** Gives the ids of messages, as `readIds` would when they are packed. */
export function giveIds(messages: readonly Message[], sink: IdSink): void {
  let from = 0;
  let count = 0;
  let last = '';
  for (const { origin, number } of messages) {
    if (count > 0 && number === from + count && origin === last) {
      count++;
      continue;
    }
    if (count > 0) sink.run(last, from, count);
    count = 0;
    if (number === 0) {
      sink.id(origin);
      continue;
    }
    last = origin;
    from = number;
    count = 1;
  }
  if (count > 0) sink.run(last, from, count);
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

const nothing = new Uint8Array(0);

/** Watermarks as a segment holds them. */
export function packWatermarks(watermarks: Watermarks | undefined): Uint8Array {
  if (watermarks === undefined || watermarks.size === 0) return nothing;
  const parts: Buffer[] = [];
  for (const [origin, number] of watermarks) {
    const part = Buffer.allocUnsafe(10 + Buffer.byteLength(origin));
    part.writeUInt16BE(part.length - 10, 0);
    part.write(origin, 2);
    part.writeDoubleBE(number, part.length - 8);
    parts.push(part);
  }
  return Buffer.concat(parts);
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

  constructor(since: number) {
    this.since = since;
  }

  add(origin: string, from: number, count: number): void {
    this.size += count;
    const runs = this.runs.get(origin);
    if (runs === undefined) {
      this.runs.set(origin, [from, from + count - 1]);
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
