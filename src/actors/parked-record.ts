import { type Headers, Message } from '../core/message.ts';
import { packRecord, recordKind, unpackRecord } from '../storage/record.ts';
import { storedSize } from '../storage/segment.ts';
import { decodePayload, encodePayload } from '../wire/codec.ts';
import type { History } from './delivery.ts';
import { noSegment, Slot } from './slot.ts';

/** A message that is parked, as a record of its own. */
export function packParked(slot: Slot): Uint8Array {
  const { message, sequence, attempt, due, storedAt, history } = slot;
  const { topic, headers, key, publishedAt, source, origin, number, expiresAt } = message;
  return packRecord(recordKind.parked, {
    sequence,
    attempt,
    due,
    storedAt,
    ...(history === undefined ? {} : { error: history.firstError }),
    topic,
    headers,
    ...(key === undefined ? {} : { key }),
    publishedAt,
    source,
    origin,
    number,
    expiresAt,
    payload: message.bytes(encodePayload),
  });
}

interface ParkedRecord {
  readonly sequence: number;
  readonly attempt: number;
  readonly due: number;
  readonly storedAt: number;
  readonly error?: History['firstError'];
  readonly topic: string;
  readonly headers: Headers;
  readonly key?: string;
  readonly publishedAt: number;
  readonly source: string;
  readonly origin: string;
  readonly number: number;
  readonly expiresAt: number;
  readonly payload: Uint8Array;
}

/** Reads one back. @throws {BusError} `STORE_CORRUPT`. */
export function unpackParked(key: string, value: Uint8Array): Slot {
  const record = unpackRecord(recordKind.parked, key, value) as unknown as ParkedRecord; // its checksum is right
  const { topic, headers, publishedAt, source, origin, number, payload } = record;
  const size = storedSize(topic, payload, record.key, headers);
  const message = new Message(
    topic,
    undefined,
    headers,
    record.key,
    publishedAt,
    source,
    size,
    origin,
    number,
    payload,
    decodePayload,
  );
  message.stored = true;
  message.expiresAt = record.expiresAt;
  const history = record.error === undefined ? undefined : { firstError: record.error };
  const segment = { ...noSegment, time: record.storedAt };
  const slot = new Slot(message, record.sequence, segment, record.attempt, history, false);
  slot.parked = key;
  slot.due = record.due;
  return slot;
}
