import { encodedSize } from './encoded-size.ts';
import { BusError, describe } from './errors.ts';

/** The deepest nesting of a payload. */
export const maxDepth = 32;
/** The most values (members, elements and the root) in a payload. */
export const maxValues = 100_000;

// The walk runs to its end before anything else can start, so its counters need not be an object of their own.
let values = 0;
let invalid = false;
let textual = 0;

/**
 * Checks that a payload is made of MessagePack values only, and estimates its encoded size in the same walk: a string
 * counts one byte a UTF-16 unit, a number nine. When the estimate comes near the limit it is made exact.
 *
 * @param limit the largest encoded size, in bytes.
 * @returns the estimated size in bytes.
 * @throws {BusError} `PAYLOAD_INVALID` with the path to what is not allowed, `PAYLOAD_TOO_LARGE`.
 */
export function measurePayload(payload: unknown, limit: number): number {
  values = 0;
  textual = 0;
  invalid = false;
  const size = walk(payload, 0);
  if (invalid || values > maxValues) throw explain(payload);
  // The estimate counts one byte a UTF-16 unit, which takes at most three, and everything else at its longest.
  if (size + 2 * textual > limit) {
    const exact = encodedSize(payload);
    if (exact > limit) {
      throw new BusError(
        'PAYLOAD_TOO_LARGE',
        `the payload takes ${exact} bytes, the limit is ${limit}: send a reference to it instead, or raise limits.payload`,
      );
    }
    return exact;
  }
  return size;
}

function walk(value: unknown, depth: number): number {
  values++;
  switch (typeof value) {
    case 'string':
      textual += value.length;
      return value.length + 5;
    case 'number':
      return 9;
    case 'boolean':
      return 1;
    case 'object':
      return value === null ? 1 : walkObject(value, depth);
    case 'bigint':
      if (BigInt.asIntN(64, value) !== value && BigInt.asUintN(64, value) !== value) invalid = true;
      return 9;
    default:
      invalid = true;
      return 0;
  }
}

function walkObject(value: object, depth: number): number {
  if (depth >= maxDepth || values > maxValues) {
    // Arrays and objects at depth 32 are refused even when empty: the reader's limit counts them alike.
    if (!(value instanceof Uint8Array) && !(value instanceof Date)) {
      invalid = true;
      return 0;
    }
  }
  if (Array.isArray(value)) {
    let size = 5;
    for (let i = 0; i < value.length && values <= maxValues; i++) size += walk(value[i], depth + 1);
    return size;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) {
    let size = 5;
    for (const key in value) {
      const member = (value as Record<string, unknown>)[key];
      if (member === undefined) continue;
      if (values > maxValues) break;
      if (key === '__proto__') invalid = true;
      textual += key.length;
      size += key.length + 5 + walk(member, depth + 1);
    }
    return size;
  }
  if (value instanceof Uint8Array) return value.byteLength + 5;
  if (value instanceof Date && !Number.isNaN(value.getTime())) return 15;
  invalid = true;
  return 0;
}

/** Walks again, slowly, to say what is wrong and where. */
function explain(payload: unknown): BusError {
  let budget = maxValues;
  let found: string | undefined;
  const visit = (value: unknown, path: string, depth: number): void => {
    if (found !== undefined) return;
    if (--budget < 0) {
      found = `holds more than ${maxValues} values`;
      return;
    }
    found = problemOf(value, path, depth);
    if (found !== undefined || typeof value !== 'object' || value === null) return;
    if (Array.isArray(value)) {
      for (let i = 0; i < value.length && found === undefined; i++) visit(value[i], `${path}[${i}]`, depth + 1);
    } else if (!(value instanceof Uint8Array) && !(value instanceof Date)) {
      for (const key in value) {
        const member = (value as Record<string, unknown>)[key];
        if (member === undefined || found !== undefined) continue;
        if (key === '__proto__') found = `has a member named '__proto__' at ${path}`;
        else visit(member, `${path}.${key}`, depth + 1);
      }
    }
  };
  visit(payload, 'payload', 0);
  return new BusError(
    'PAYLOAD_INVALID',
    `${found ?? 'the payload changed while it was read'}; allowed are null, boolean, number, 64-bit bigint, string, Uint8Array, valid Date, arrays and plain objects`,
  );
}

function problemOf(value: unknown, path: string, depth: number): string | undefined {
  switch (typeof value) {
    case 'string':
    case 'number':
    case 'boolean':
      return undefined;
    case 'bigint':
      if (BigInt.asIntN(64, value) === value || BigInt.asUintN(64, value) === value) return undefined;
      return `${path} is a bigint of more than 64 bits`;
    case 'object':
      break;
    default:
      return `${path} is ${describe(value)}`;
  }
  if (value === null || value instanceof Uint8Array) return undefined;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? `${path} is an invalid Date` : undefined;
  if (depth >= maxDepth) return `${path} is nested deeper than ${maxDepth}`;
  if (Array.isArray(value)) return undefined;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null ? undefined : `${path} is ${describe(value)}`;
}
