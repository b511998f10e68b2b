import { BusError } from '../core/errors.ts';
import { type Headers, Message } from '../core/message.ts';
import { topicProblem } from '../core/topic.ts';
import { decodeControl, decodePayload, encodeControl, encodePayload } from './codec.ts';
import { frameType, protocolVersion } from './frame.ts';

// The layouts here are described in docs/wire.md, 'Data frames' and 'Flow frames'. All numbers are big-endian.

/** How many topics a link interns at a time. */
export const topicSlots = 4096;
/** How many rows a data frame holds at most. */
export const maxRows = 1024;
/** A data frame is closed when its payloads come to so many bytes. */
export const frameTarget = 128 * 1024;

/** Key, headers and id of a message, in bytes. */
const maxExtra = 256 * 1024;
const headBytes = 4 + 2 + 2 + 4;
const rowBytes = 40;
const flagVoid = 1;
const flagExtra = 2;

/** A message as it travels: encoded once, however many mailboxes and links it goes to. */
export class Parcel {
  readonly topic: string;
  /** Key, headers and an id of the publisher's choice, encoded; most messages have none. */
  readonly extra: Uint8Array | undefined;
  readonly bytes: Uint8Array;
  /** The message's number within its origin; 0 when it has an id of its own. */
  readonly idNumber: number;
  readonly publishedAt: number;
  /** @internal The frame that holds its bytes already, and where. */
  frame = 0;
  /** @internal */
  offset = 0;

  constructor(topic: string, extra: Uint8Array | undefined, bytes: Uint8Array, idNumber: number, publishedAt: number) {
    this.topic = topic;
    this.extra = extra;
    this.bytes = bytes;
    this.idNumber = idNumber;
    this.publishedAt = publishedAt;
  }

  /** As `of`, with the publisher's node and origin, which a delivery to a consumer tells. */
  static delivery(message: Message): Parcel {
    const { topic, source, origin, number, publishedAt } = message;
    return new Parcel(
      topic,
      extraOf(message, number, { s: source, ...(number === 0 ? {} : { o: origin }) }),
      message.bytes(encodePayload),
      number,
      publishedAt,
    );
  }

  /**
   * @param origin that of the stream it travels in: a message that was numbered by another bears its whole id.
   */
  static of(message: Message, origin = message.origin): Parcel {
    const { topic, publishedAt } = message;
    const number = message.origin === origin ? message.number : 0;
    return new Parcel(topic, extraOf(message, number, undefined), message.bytes(encodePayload), number, publishedAt);
  }

  /** What it counts against windows and lanes, in bytes. */
  get size(): number {
    return this.bytes.length + (this.extra === undefined ? 0 : this.extra.length) + rowBytes;
  }

  /**
   * The message that it carries. The payload is decoded when a handler reads it.
   *
   * @param now this node's clock, by which times to live and delays count from here on.
   * @param home whether the sender is the home of a mailbox, which tells whose message it was.
   * @throws {BusError} `PROTOCOL_ERROR` when key, headers or id are not what they should be.
   */
  open(source: string, origin: string, now: number, home = false): Message {
    const size = this.bytes.length + this.topic.length + 64;
    if (!isTime(this.publishedAt)) throw broken('a message was published at no time');
    if (!Number.isSafeInteger(this.idNumber) || this.idNumber < 0)
      throw broken('a message has no number in its origin');
    if (this.extra === undefined) {
      return new Message(
        this.topic,
        undefined,
        undefined,
        undefined,
        this.publishedAt,
        source,
        size,
        origin,
        this.idNumber,
        this.bytes,
        decodePayload,
      );
    }
    const { k: key, h: headers, i: id, t: ttl, d: delay, s: from, o: numbered } = decodeControl(this.extra);
    if (key !== undefined && typeof key !== 'string') throw broken('a key is no string');
    if (id !== undefined && typeof id !== 'string') throw broken('an id is no string');
    if (headers !== undefined && !isHeaders(headers)) throw broken('headers are no strings');
    if (ttl !== undefined && !isSpan(ttl)) throw broken('a time to live is no number');
    if (delay !== undefined && !isSpan(delay)) throw broken('a delay is no number');
    const whole = size + this.extra.length;
    const number = id === undefined ? this.idNumber : 0;
    const told = home && typeof from === 'string' ? from : source;
    const start = home && typeof numbered === 'string' ? numbered : origin;
    const message = new Message(
      this.topic,
      undefined,
      headers,
      key,
      this.publishedAt,
      told,
      whole,
      id ?? start,
      number,
      this.bytes,
      decodePayload,
    );
    if (ttl !== undefined) message.expiresAt = now + ttl;
    if (delay !== undefined) message.dueAt = now + delay;
    return message;
  }
}

let lastTold = '';
let lastExtra: Uint8Array | undefined;

/** What a message has beside topic and payload, encoded; most have nothing, or all the same. */
function extraOf(
  message: Message,
  number: number,
  told: { s: string; o?: string } | undefined,
): Uint8Array | undefined {
  const { key, headers, expiresAt, dueAt } = message;
  let plain = key === undefined && number !== 0 && expiresAt === 0 && dueAt === 0;
  if (plain) for (const _ in headers) plain = false;
  if (plain) {
    if (told === undefined) return undefined;
    const both = `${told.s}/${told.o}`;
    if (both !== lastTold) {
      lastTold = both;
      lastExtra = encodeControl(told);
    }
    return lastExtra;
  }
  return encodeControl({
    ...told,
    ...(key === undefined ? {} : { k: key }),
    ...(Object.keys(headers).length === 0 ? {} : { h: headers }),
    ...(number === 0 ? { i: message.id } : {}),
    ...message.times(),
  });
}

let lastFrame = 0;

/** Packs the messages that wait for a link into data frames, and remembers which topics the other end knows. */
export class DataWriter {
  readonly #slots = new Map<string, number>();
  readonly #topics: (string | undefined)[] = [];
  readonly #used = new Float64Array(topicSlots);
  #hand = 0;
  #frame = ++lastFrame;
  #defined: number[] = [];
  #definedBytes = 0;
  #streams: number[] = [];
  #rowTopics: number[] = [];
  #numbers: number[] = [];
  #parcels: (Parcel | undefined)[] = [];
  #attempts: number[] = [];
  #blob = 0;

  /** How many rows wait for `take`. */
  get rows(): number {
    return this.#streams.length;
  }

  get full(): boolean {
    return this.#streams.length >= maxRows || this.#blob >= frameTarget;
  }

  /**
   * @param parcel undefined for a number that was given up: it is used, but nothing comes with it.
   * @param attempt of a delivery to a consumer: which one it is.
   */
  add(stream: number, number: number, parcel: Parcel | undefined, attempt = 0): void {
    this.#attempts.push(Math.min(attempt, 255));
    this.#streams.push(stream);
    this.#numbers.push(number);
    this.#parcels.push(parcel);
    if (parcel === undefined) {
      this.#rowTopics.push(0);
      return;
    }
    this.#rowTopics.push(this.#slotOf(parcel.topic));
    if (parcel.frame === this.#frame) return;
    parcel.frame = this.#frame;
    parcel.offset = this.#blob;
    this.#blob += parcel.bytes.length + (parcel.extra === undefined ? 0 : parcel.extra.length + 4);
  }

  /** The frame, with its length in front. */
  take(): Uint8Array {
    const rows = this.#streams.length;
    const start = headBytes + this.#definedBytes + rows * rowBytes;
    const frame = Buffer.allocUnsafe(start + this.#blob);
    const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
    view.setUint32(0, frame.length - 4);
    view.setUint8(4, protocolVersion);
    view.setUint8(5, frameType.data);
    view.setUint16(6, this.#defined.length);
    view.setUint32(8, rows);
    let at = headBytes;
    for (const slot of this.#defined) {
      const length = frame.write(this.#topics[slot] as string, at + 3); // a slot in #defined has just been given a topic
      view.setUint16(at, slot);
      view.setUint8(at + 2, length);
      at += 3 + length;
    }
    let written = 0;
    for (let row = 0; row < rows; row++, at += rowBytes) {
      const parcel = this.#parcels[row];
      view.setUint32(at, this.#streams[row] as number); // the columns have one entry a row
      view.setUint16(at + 4, this.#rowTopics[row] as number);
      view.setFloat64(at + 16, this.#numbers[row] as number);
      if (parcel === undefined) {
        view.setUint16(at + 6, flagVoid << 8);
        view.setUint32(at + 8, 0);
        view.setUint32(at + 12, 0);
        view.setFloat64(at + 24, 0);
        view.setFloat64(at + 32, 0);
        continue;
      }
      const { extra, bytes, offset } = parcel;
      view.setUint16(at + 6, (extra === undefined ? 0 : flagExtra << 8) | (this.#attempts[row] as number));
      view.setUint32(at + 8, offset);
      view.setUint32(at + 12, bytes.length);
      view.setFloat64(at + 24, parcel.idNumber);
      view.setFloat64(at + 32, parcel.publishedAt);
      if (offset < written) continue; // its bytes came with an earlier row
      let to = start + offset;
      if (extra !== undefined) {
        view.setUint32(to, extra.length);
        frame.set(extra, to + 4);
        to += 4 + extra.length;
      }
      frame.set(bytes, to);
      written = to + bytes.length - start;
    }
    this.#reset();
    return frame;
  }

  #reset(): void {
    this.#frame = ++lastFrame;
    this.#defined = [];
    this.#definedBytes = 0;
    this.#streams = [];
    this.#rowTopics = [];
    this.#numbers = [];
    this.#parcels = [];
    this.#attempts = [];
    this.#blob = 0;
  }

  #slotOf(topic: string): number {
    const known = this.#slots.get(topic);
    if (known !== undefined) {
      this.#used[known] = this.#frame;
      return known;
    }
    // A frame has fewer rows than there are slots, so one that this frame does not use is always found.
    while (this.#used[this.#hand] === this.#frame) this.#hand = (this.#hand + 1) % topicSlots;
    const slot = this.#hand;
    this.#hand = (this.#hand + 1) % topicSlots;
    const old = this.#topics[slot];
    if (old !== undefined) this.#slots.delete(old);
    this.#topics[slot] = topic;
    this.#slots.set(topic, slot);
    this.#used[slot] = this.#frame;
    this.#defined.push(slot);
    this.#definedBytes += 3 + Buffer.byteLength(topic);
    return slot;
  }
}

/** Takes one row of a data frame; the parcel is undefined where a number was given up. */
export type RowSink = (stream: number, number: number, parcel: Parcel | undefined, attempt: number) => void;

/** Reads the data frames of one link. */
export class DataReader {
  readonly #topics: (string | undefined)[] = [];
  readonly #maxPayload: number;

  /** @param maxPayload the largest payload, in bytes: one that fills a frame would not fit into the next link's. */
  constructor(maxPayload = Number.POSITIVE_INFINITY) {
    this.#maxPayload = maxPayload;
  }

  /** @param body a frame without its length. @throws {BusError} `PROTOCOL_ERROR`. */
  read(body: Uint8Array, sink: RowSink): void {
    if (body.length < headBytes - 4) throw broken('a data frame is cut short');
    const { buffer, byteOffset } = body;
    const view = new DataView(buffer, byteOffset, body.length);
    const definitions = view.getUint16(2);
    const rows = view.getUint32(4);
    if (rows > maxRows) throw broken(`a data frame has more than ${maxRows} rows`);
    let at = this.#define(body, view, definitions);
    const start = at + rows * rowBytes;
    if (start > body.length) throw broken('a data frame has fewer rows than it says');
    for (let row = 0; row < rows; row++, at += rowBytes) {
      const stream = view.getUint32(at);
      const number = view.getFloat64(at + 16);
      if (!Number.isSafeInteger(number) || number < 1) throw broken('a message has no number');
      const flags = view.getUint8(at + 6);
      if (flags === flagVoid) {
        sink(stream, number, undefined, 0);
        continue;
      }
      const topic = this.#topics[view.getUint16(at + 4)];
      if (topic === undefined) throw broken('a message names a topic that was not defined');
      let from = start + view.getUint32(at + 8);
      const length = view.getUint32(at + 12);
      if (length > this.#maxPayload) throw broken('a payload is larger than half a frame');
      let extra: Uint8Array | undefined;
      if ((flags & flagExtra) !== 0) {
        if (from + 4 > body.length) throw broken('a message reaches beyond its frame');
        const extraEnd = from + 4 + view.getUint32(from);
        if (extraEnd > body.length || extraEnd - from > maxExtra) throw broken('a message reaches beyond its frame');
        extra = new Uint8Array(buffer, byteOffset + from + 4, extraEnd - from - 4);
        from = extraEnd;
      }
      if (from + length > body.length) throw broken('a message reaches beyond its frame');
      // Not body.subarray(): of a Buffer that makes a Buffer, which takes 50 ns instead of 20 and whose slice() does not copy.
      const bytes = new Uint8Array(buffer, byteOffset + from, length);
      const parcel = new Parcel(topic, extra, bytes, view.getFloat64(at + 24), view.getFloat64(at + 32));
      sink(stream, number, parcel, view.getUint8(at + 7));
    }
  }

  #define(body: Uint8Array, view: DataView, count: number): number {
    let at = headBytes - 4;
    for (let i = 0; i < count; i++) {
      if (at + 3 > body.length) throw broken('a data frame is cut short');
      const slot = view.getUint16(at);
      const end = at + 3 + view.getUint8(at + 2);
      if (slot >= topicSlots || end > body.length) throw broken('a topic is defined wrongly');
      const topic = Buffer.from(body.buffer, body.byteOffset + at + 3, end - at - 3).toString();
      if (topicProblem(topic) !== undefined) throw broken('a topic is defined that nobody may publish to');
      this.#topics[slot] = topic;
      at = end;
    }
    return at;
  }
}

/** The farthest from 1970 that a Date reaches, in milliseconds. */
const lastTime = 8.64e15;

/** Whether a number is a point in time that a Date can hold, in milliseconds. */
export function isTime(value: unknown): value is number {
  return typeof value === 'number' && Math.abs(value) <= lastTime; // not so NaN
}

/** Whether a number is how long something lasts, in milliseconds, so that it can be counted from now. */
export function isSpan(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value <= lastTime / 2;
}

function isHeaders(value: unknown): value is Headers {
  return typeof value === 'object' && value !== null && Object.values(value).every((text) => typeof text === 'string');
}

function broken(problem: string): BusError {
  return new BusError('PROTOCOL_ERROR', problem);
}
