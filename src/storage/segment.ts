import { BusError } from '../core/errors.ts';
import { type Headers, Message } from '../core/message.ts';
import { decodeControl, decodePayload, encodeControl, encodePayload } from '../wire/codec.ts';
import { type Block, blockFor, textBytes, writeText } from './block.ts';
import { idsBytes, type Watermarks, watermarksBytes, writeIds, writeWatermarks } from './ids.ts';
import { corrupt, recordHead, recordKind, seal, unseal } from './record.ts';

// A segment holds the messages that entered one mailbox in one commit, packed. When all of them have left, a stub takes its
// place for a while, which keeps their ids. The layout is described in docs/architecture.md, 'On disk'. All numbers are
// big-endian.

/** How many messages a segment holds at most. */
export const segmentMessages = 1024;
/** A segment is closed when its messages come to so many bytes. */
export const segmentBytes = 512 * 1024;

const headBytes = 68;
const rowBytes = 32;
const flagExtra = 1;

/** What a segment or a stub says of itself. */
export interface SegmentHead {
  /** The sequence of its first message. */
  readonly first: number;
  readonly count: number;
  /** The highest sequence that was handed out, or may have been, when it was written. */
  readonly mark: number;
  /** The bytes of all messages that ever entered the mailbox before these. */
  readonly bytesBefore: number;
  /** The bytes of its own messages. */
  readonly bytes: number;
  /** When it was written, in milliseconds since the epoch. */
  readonly time: number;
}

/** A segment or a stub that has been read. */
export interface SegmentRecord extends SegmentHead {
  readonly kind: 'segment' | 'stub';
  /** The ids of its messages, packed: what `readIds` reads. */
  readonly ids: Uint8Array;
  readonly watermarks: Uint8Array;
  readonly value: Uint8Array;
}

/** The bytes that a stored message counts. */
export function storedSize(topic: string, payload: Uint8Array, key: string | undefined, headers: Headers): number {
  let size = payload.length + topic.length + 64 + (key === undefined ? 0 : key.length);
  for (const name in headers) size += name.length + (headers[name] as string).length + 6; // name comes from headers
  return size;
}

/** Makes a message that nobody else knows its own stored form. */
export function storeOwn(message: Message): void {
  if (message.stored) return;
  const { topic, headers, key } = message;
  message.store(storedSize(topic, message.bytes(encodePayload), key, headers), decodePayload);
}

let lastGiven: Message | undefined;
let lastStored: Message | undefined;

/** A message as a store holds it: its payload is bytes, so that what the publisher does with its object changes nothing. */
export function storedForm(message: Message): Message {
  if (message.stored) return message;
  // One message goes to many mailboxes one after the other.
  if (lastGiven === message && lastStored !== undefined) return lastStored;
  const { topic, headers, key, publishedAt, source, origin, number } = message;
  const bytes = message.bytes(encodePayload);
  const size = storedSize(topic, bytes, key, headers);
  const stored = new Message(
    topic,
    undefined,
    headers,
    key,
    publishedAt,
    source,
    size,
    origin,
    number,
    bytes,
    decodePayload,
  );
  stored.stored = true;
  stored.expiresAt = message.expiresAt;
  stored.dueAt = message.dueAt;
  lastGiven = message;
  lastStored = stored;
  return stored;
}

/** Key, headers, an id of the publisher's choice and the time of expiry, of a message that has any of them. */
function extraOf({ key, headers, number, origin, expiresAt, dueAt }: Message): Uint8Array | undefined {
  let some = key !== undefined || number === 0 || expiresAt !== 0 || dueAt !== 0;
  if (!some) for (const _ in headers) some = true;
  if (!some) return undefined;
  return encodeControl({
    ...(key === undefined ? {} : { k: key }),
    h: headers,
    ...(number === 0 ? { i: origin } : {}),
    ...(expiresAt === 0 ? {} : { e: expiresAt }),
    ...(dueAt === 0 ? {} : { d: dueAt }),
  });
}

/** Short texts that many messages share, each written once. Most segments have one. */
class TextTable {
  readonly #texts: string[] = [];
  #count = 0;
  #places: Map<string, number> | undefined;
  bytes = 0;

  place(text: string): number {
    const last = this.#count - 1;
    if (last >= 0 && text === this.#texts[last]) return last;
    if (last >= 0) {
      this.#places ??= new Map([[this.#texts[0] as string, 0]]); // there is one
      const place = this.#places.get(text);
      if (place !== undefined) return place;
      this.#places.set(text, this.#count);
    }
    this.#texts[this.#count] = text;
    this.bytes += 2 + textBytes(text);
    return this.#count++;
  }

  write({ to, view }: Block, at: number): number {
    for (let i = 0; i < this.#count; i++) at = writeText(to, view, at, this.#texts[i] as string); // i < count
    return at;
  }

  /** Keeps the room: emptied, an array would give it back, and most segments need room for one. */
  clear(): void {
    if (this.#count > mostTexts) this.#texts.length = mostTexts;
    this.#count = 0;
    this.#places = undefined;
    this.bytes = 0;
  }
}

/** So many texts are held on to at most, so that large ones do not stay for ever. */
const mostTexts = 16;

// Where a segment is put together: kept from one to the next, because with many mailboxes most hold a message or two.
const topics = new TextTable();
const origins = new TextTable();
const topicPlaces: number[] = [];
const originPlaces: number[] = [];
const extras: (Uint8Array | undefined)[] = [];
let pair = '';
let pairSource = '';
let pairOrigin: string | undefined;

/**
 * Packs messages into a segment.
 *
 * @param messages stored forms; at most {@link segmentMessages}.
 * @returns the record, whose beginning is what a stub keeps of it: {@link packStubOf}.
 */
export function packSegment(
  head: SegmentHead,
  messages: readonly Message[],
  watermarks: Watermarks | undefined,
): Uint8Array {
  topics.clear();
  origins.clear();
  let blob = 0;
  let lastSource: string | undefined;
  let lastOrigin: string | undefined;
  let originPlace = 0;
  const count = messages.length;
  for (let i = 0; i < count; i++) {
    const message = messages[i] as Message; // i < length
    const { topic, source } = message;
    const origin = message.number === 0 ? '' : message.origin;
    if (source !== lastSource || origin !== lastOrigin) {
      lastSource = source;
      lastOrigin = origin;
      if (source !== pairSource || origin !== pairOrigin) {
        pairSource = source;
        pairOrigin = origin;
        pair = `${source}/${origin}`;
      }
      originPlace = origins.place(pair);
    }
    topicPlaces[i] = topics.place(topic);
    originPlaces[i] = originPlace;
    const extra = extraOf(message);
    extras[i] = extra;
    blob += message.bytes(encodePayload).length + (extra === undefined ? 0 : 4 + extra.length);
  }
  const idBytes = idsBytes(messages);
  const markBytes = watermarksBytes(watermarks);
  const size = headBytes + idBytes + markBytes + topics.bytes + origins.bytes + count * rowBytes + blob;
  const block = blockFor(size);
  const { to, view, used: start } = block;
  writeHead(view, start, head, idBytes, markBytes);
  view.setUint32(start + 56, topics.bytes);
  view.setUint32(start + 60, origins.bytes);
  let at = writeIds(messages, block, start + headBytes);
  at = writeWatermarks(watermarks, block, at);
  at = topics.write(block, at);
  at = origins.write(block, at);
  let end = at + count * rowBytes;
  for (let i = 0; i < count; i++, at += rowBytes) {
    const message = messages[i] as Message; // i < length; so are the columns
    const bytes = message.bytes(encodePayload);
    const extra = extras[i];
    view.setUint16(at, topicPlaces[i] as number);
    view.setUint16(at + 2, originPlaces[i] as number);
    view.setUint32(at + 4, extra === undefined ? 0 : flagExtra);
    view.setUint32(at + 8, end - start);
    view.setUint32(at + 12, bytes.length);
    view.setFloat64(at + 16, message.number);
    view.setFloat64(at + 24, message.publishedAt);
    if (extra !== undefined) {
      view.setUint32(end, extra.length);
      to.set(extra, end + 4);
      end += 4 + extra.length;
    }
    to.set(bytes, end);
    end += bytes.length;
  }
  return seal(block.cut(size), recordKind.segment);
}

/** A stub without ids: of messages that nobody knows any more. */
export function packStub(head: SegmentHead): Uint8Array {
  const block = blockFor(headBytes);
  writeHead(block.view, block.used, head, 0, 0);
  block.view.setFloat64(block.used + 56, 0);
  return seal(block.cut(headBytes), recordKind.stub);
}

/** What is kept of a segment whose messages have all left. @param record a segment's, or its beginning. */
export function packStubOf(record: Uint8Array): Uint8Array {
  const size = keptBytes(record);
  const block = blockFor(size);
  const { to, view, used: start } = block;
  for (let i = recordHead; i < size; i++) to[start + i] = record[i] as number; // i < length
  view.setFloat64(start + 56, 0);
  return seal(block.cut(size), recordKind.stub);
}

/** How many bytes at the beginning of a segment its stub keeps: all that comes before what it takes to read messages. */
export function keptBytes(record: Uint8Array): number {
  return headBytes + uint32(record, 20) + uint32(record, 64);
}

/** The ids of a segment's messages, packed. @param record as {@link packStubOf}. */
export function idsOf(record: Uint8Array): Uint8Array {
  return record.subarray(headBytes, headBytes + uint32(record, 20));
}

function uint32(from: Uint8Array, at: number): number {
  const [a, b, c, d] = [from[at] as number, from[at + 1] as number, from[at + 2] as number, from[at + 3] as number]; // a head is there
  return a * 0x1000000 + ((b << 16) | (c << 8) | d);
}

function writeHead(view: DataView, at: number, head: SegmentHead, ids: number, watermarks: number): void {
  view.setFloat64(at + 8, head.first);
  view.setUint32(at + 16, head.count);
  view.setUint32(at + 20, ids);
  view.setFloat64(at + 24, head.mark);
  view.setFloat64(at + 32, head.bytesBefore);
  view.setFloat64(at + 40, head.bytes);
  view.setFloat64(at + 48, head.time);
  view.setUint32(at + 64, watermarks);
}

/** Reads what a record says of itself. @throws {BusError} `STORE_CORRUPT`. */
export function readSegment(key: string, value: Uint8Array): SegmentRecord {
  const kind = unseal(key, value);
  if (kind !== recordKind.segment && kind !== recordKind.stub) throw corrupt(key, 'is no segment');
  if (value.length < headBytes) throw corrupt(key, 'is cut short');
  const view = new DataView(value.buffer, value.byteOffset, value.length);
  const ids = headBytes + view.getUint32(20);
  const marks = ids + view.getUint32(64);
  if (marks > value.length) throw corrupt(key, 'is cut short');
  return {
    kind: kind === recordKind.segment ? 'segment' : 'stub',
    first: view.getFloat64(8),
    count: view.getUint32(16),
    mark: view.getFloat64(24),
    bytesBefore: view.getFloat64(32),
    bytes: view.getFloat64(40),
    time: view.getFloat64(48),
    ids: value.subarray(headBytes, ids),
    watermarks: value.subarray(ids, marks),
    value,
  };
}

/** The messages of a segment, in order. Their payloads stay parts of its bytes. @throws {BusError} `STORE_CORRUPT`. */
export function readMessages(name: string, { value, ids, watermarks, count }: SegmentRecord): Message[] {
  const view = new DataView(value.buffer, value.byteOffset, value.length);
  const buffer = Buffer.from(value.buffer, value.byteOffset, value.length);
  let at = headBytes + ids.length + watermarks.length;
  const topicsEnd = at + view.getUint32(56);
  const originsEnd = topicsEnd + view.getUint32(60);
  if (originsEnd + count * rowBytes > value.length) throw corrupt(name, 'is cut short');
  const topics = readTexts(buffer, at, topicsEnd);
  const origins = readTexts(buffer, topicsEnd, originsEnd).map((text) => {
    const cut = text.indexOf('/');
    return { source: text.slice(0, cut), origin: text.slice(cut + 1) };
  });
  at = originsEnd;
  const messages: Message[] = [];
  try {
    for (let i = 0; i < count; i++, at += rowBytes) {
      const topic = topics[view.getUint16(at)];
      const from = origins[view.getUint16(at + 2)];
      if (topic === undefined || from === undefined) throw corrupt(name, 'names a text that it does not hold');
      let start = view.getUint32(at + 8);
      const number = view.getFloat64(at + 16);
      let extra: Extra = noExtra;
      if (view.getUint32(at + 4) === flagExtra) {
        const length = view.getUint32(start);
        extra = decodeControl(value.subarray(start + 4, start + 4 + length)) as Extra;
        start += 4 + length;
      }
      const bytes = new Uint8Array(value.buffer, value.byteOffset + start, view.getUint32(at + 12));
      const { k: key, h: headers = noHeaders, i: id, e: expiresAt = 0, d: dueAt = 0 } = extra;
      const size = storedSize(topic, bytes, key, headers);
      const publishedAt = view.getFloat64(at + 24);
      const message = new Message(
        topic,
        undefined,
        headers,
        key,
        publishedAt,
        from.source,
        size,
        id ?? from.origin,
        number,
        bytes,
        decodePayload,
      );
      message.stored = true;
      message.expiresAt = expiresAt;
      message.dueAt = dueAt;
      messages.push(message);
    }
  } catch (cause) {
    throw cause instanceof BusError && cause.code === 'STORE_CORRUPT' ? cause : corrupt(name, 'cannot be read', cause);
  }
  return messages;
}

interface Extra {
  readonly k?: string;
  readonly h?: Headers;
  readonly i?: string;
  readonly e?: number;
  readonly d?: number;
}

const noExtra: Extra = {};
const noHeaders: Headers = Object.freeze({});

function readTexts(buffer: Buffer, from: number, to: number): string[] {
  const texts: string[] = [];
  for (let at = from; at < to; ) {
    const end = at + 2 + buffer.readUInt16BE(at);
    texts.push(buffer.toString('utf8', at + 2, end));
    at = end;
  }
  return texts;
}
