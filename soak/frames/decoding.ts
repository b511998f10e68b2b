import { BusError } from '../../src/core/errors.ts';
import { decodePayload } from '../../src/wire/codec.ts';
import { readFlow } from '../../src/wire/flow.ts';
import { decodeFrame, typeOf } from '../../src/wire/frame.ts';
import type { DataReader } from '../../src/wire/pack.ts';
import { scanTokens } from '../../src/wire/scan.ts';

/** What decoding must never make: something that is more than data. */
function exotic(value: unknown, path: string): string | undefined {
  if (value === null || ['boolean', 'number', 'string', 'bigint', 'undefined'].includes(typeof value)) return undefined;
  if (typeof value !== 'object') return `${path} is a ${typeof value}`;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === Uint8Array.prototype) return undefined;
  if (prototype === Date.prototype) return Number.isNaN((value as Date).getTime()) ? `${path} is no date` : undefined;
  if (prototype !== Object.prototype && prototype !== Array.prototype) return `${path} has a prototype of its own`;
  if (Array.isArray(value) !== (prototype === Array.prototype)) return `${path} is an array by name only`;
  for (const key of Reflect.ownKeys(value)) {
    if (typeof key === 'symbol' || key === '__proto__') return `${path} has the member ${String(key)}`;
    if (Array.isArray(value) && key === 'length') continue;
    const found = exotic(Reflect.get(value, key), `${path}.${key}`);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Decodes a body in every way that a link does. @returns what was taken, or undefined. @throws when something is wrong. */
export function decodeAll(body: Uint8Array, reader: DataReader): unknown[] | undefined {
  try {
    const type = typeOf(body);
    if (type === 33) {
      readFlow(body, () => undefined);
      return [];
    }
    if (type !== 32) return [decodeFrame(body)];
    const taken: unknown[] = [];
    reader.read(body, (_stream, _number, parcel) => {
      if (parcel === undefined) return;
      try {
        const { payload, headers } = parcel.open('node', 'origin', 0);
        taken.push(payload, headers);
      } catch (error) {
        if (!(error instanceof BusError)) throw error;
      }
    });
    return taken;
  } catch (error) {
    if (error instanceof BusError && ['PROTOCOL_ERROR', 'PAYLOAD_INVALID'].includes(error.code)) return undefined;
    throw error;
  }
}

/** Decodes a payload alone. @returns what was taken, or undefined. @throws when something is wrong. */
export function decodeOne(bytes: Uint8Array): unknown[] | undefined {
  const scanned = scanTokens(bytes, 0, bytes.length);
  try {
    const payload = decodePayload(bytes);
    if (scanned !== 0) throw new Error('what the scan refuses was decoded');
    return [payload];
  } catch (error) {
    if (error instanceof BusError && error.code === 'PAYLOAD_INVALID') return undefined;
    throw error;
  }
}

/** @throws when something of it is more than data. */
export function checkData(taken: readonly unknown[]): void {
  for (const [i, value] of taken.entries()) {
    const found = exotic(value, String(i));
    if (found !== undefined) throw new Error(found);
  }
}
