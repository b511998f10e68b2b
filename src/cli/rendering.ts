import type { Delivery } from '../actors/delivery.ts';
import type { Message } from '../core/message.ts';

/** A message as one line of text: topic, tab, payload. Text that would break the line, or the terminal, is quoted. */
export function textOf(message: Message): string {
  return `${message.topic}\t${plain(message.payload)}`;
}

/** A value as text that breaks neither its line nor the terminal. */
export function plain(payload: unknown): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for.
  if (typeof payload === 'string' && !/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(payload)) return payload;
  if (payload instanceof Uint8Array) return `base64:${base64(payload)}`;
  return escaped(JSON.stringify(portable(payload)));
}

/**
 * A message with every field, as one line of JSON. A binary payload stands as base64 and `encoding` says so; within an
 * object it is `{ "base64": … }`. A bigint becomes a string, a date its ISO form.
 */
export function jsonOf(message: Message, context: Pick<Delivery, 'attempt' | 'subscription'>): string {
  const { payload, ...rest } = message.toJSON();
  const { attempt, subscription } = context;
  const body = payload instanceof Uint8Array ? { payload: base64(payload), encoding: 'base64' } : { payload };
  return JSON.stringify(portable({ ...rest, ...body, attempt, subscription }));
}

/** What JSON cannot say, in its words. */
export function portable(value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (value instanceof Uint8Array) return { base64: base64(value) };
  if (Array.isArray(value)) return value.map(portable);
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, portable(member)]));
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

/** JSON leaves the C1 controls and the separators of lines as they are; terminals do not. */
function escaped(json: string): string {
  return json.replace(/[\u007f-\u009f\u2028\u2029]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
