import { crc32 } from 'node:zlib';
import { BusError } from '../core/errors.ts';
import { decodeControl, encodeControl } from '../wire/codec.ts';

// Every value in a store begins alike: format version, kind, two bytes of zero, and the CRC-32 of all that follows.

/** The version of the format in which everything is stored. */
export const formatVersion = 1;
/** Where the contents of a record begin. */
export const recordHead = 8;

/** What a record is, so that one under a wrong key is noticed. */
export const recordKind = {
  segment: 1,
  stub: 2,
  state: 3,
  parked: 4,
  mailbox: 5,
  dead: 6,
  node: 7,
  registry: 8,
  spool: 9,
  placement: 10,
  leadership: 11,
} as const;

/** The checksum from which a head of zeros comes to that of nothing: so what follows the head needs no view of its own. */
const beforeHead = 0x101b2f50;

/** Fills in the head of a record whose contents have been written behind it. */
export function seal(bytes: Uint8Array, kind: number): Uint8Array {
  for (let i = 0; i < recordHead; i++) bytes[i] = 0;
  const crc = crc32(bytes, beforeHead);
  bytes[0] = formatVersion;
  bytes[1] = kind;
  bytes[4] = crc >>> 24;
  bytes[5] = (crc >>> 16) & 255;
  bytes[6] = (crc >>> 8) & 255;
  bytes[7] = crc & 255;
  return bytes;
}

/** Checks a record. @returns its kind. @throws {BusError} `STORE_CORRUPT`, naming the key and what is wrong. */
export function unseal(key: string, bytes: Uint8Array): number {
  if (bytes.length < recordHead) throw corrupt(key, 'is cut short');
  if (bytes[0] !== formatVersion) {
    throw corrupt(key, `has the format version ${bytes[0]}, and this build reads ${formatVersion}`);
  }
  if (bytes[2] !== 0 || bytes[3] !== 0) throw corrupt(key, 'has a damaged head');
  const crc = new DataView(bytes.buffer, bytes.byteOffset, recordHead).getUint32(4);
  if (crc !== crc32(bytes.subarray(recordHead))) throw corrupt(key, 'has a wrong checksum');
  return bytes[1] as number; // the length has been checked
}

/** A record of named fields. */
export function packRecord(kind: number, fields: object): Uint8Array {
  const body = encodeControl(fields);
  const bytes = new Uint8Array(recordHead + body.length);
  bytes.set(body, recordHead);
  return seal(bytes, kind);
}

/** @throws {BusError} `STORE_CORRUPT`. */
export function unpackRecord(kind: number, key: string, bytes: Uint8Array): Record<string, unknown> {
  if (unseal(key, bytes) !== kind) throw corrupt(key, 'is of another kind than its key says');
  try {
    return decodeControl(bytes.subarray(recordHead));
  } catch (cause) {
    throw corrupt(key, 'cannot be decoded', cause);
  }
}

/** A record that is not what it should be. */
export function corrupt(key: string, problem: string, cause?: unknown): BusError {
  return new BusError('STORE_CORRUPT', `the record '${key}' ${problem}`, cause === undefined ? {} : { cause });
}

const lowEnds = Array.from({ length: 36 * 36 }, (_, i) => i.toString(36).padStart(2, '0'));
let lastHigh = -1;
let lastBeginning = '';

/** A number as it stands in keys, so that keys sort as their numbers do. */
export function keyNumber(value: number): string {
  const low = value % lowEnds.length;
  const high = (value - low) / lowEnds.length;
  // Most keys that are made one after the other begin alike.
  if (high !== lastHigh) {
    lastHigh = high;
    lastBeginning = high.toString(36).padStart(9, '0');
  }
  return lastBeginning + (lowEnds[low] as string); // low < length
}

/** The number at the end of a key. */
export function keySequence(key: string): number {
  return Number.parseInt(key.slice(-11), 36);
}
