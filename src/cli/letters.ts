import type { DeadLetter, DeadLetterGroup } from '../actors/dead-letters.ts';
import { encodePayload } from '../wire/codec.ts';
import { plain, portable } from './rendering.ts';
import { numberOf, tableOf } from './table.ts';

const letterColumns = [
  { title: 'ID' },
  { title: 'GIVEN UP' },
  { title: 'SUBSCRIPTION' },
  { title: 'TOPIC' },
  { title: 'REASON' },
  { title: 'ATTEMPTS', numeric: true },
  { title: 'ERROR' },
];

const groupColumns = [
  { title: 'FINGERPRINT' },
  { title: 'COUNT', numeric: true },
  { title: 'SUBSCRIPTION' },
  { title: 'FIRST' },
  { title: 'LAST' },
  { title: 'TOPICS' },
  { title: 'ERROR' },
];

/** Letters for a person, one a line. */
export function letterTable(letters: readonly DeadLetter[], strong: (text: string) => string): string[] {
  const rows = letters.map(({ id, deadAt, subscription, topic, reason, attempts, lastError }) => [
    ...[id, timeText(deadAt), subscription, short(topic), reason, numberOf(attempts)],
    short(`${lastError.name}: ${lastError.message}`, 60),
  ]);
  return tableOf(letterColumns, rows, strong);
}

/** Groups for a person, one a line. */
export function groupTable(groups: readonly DeadLetterGroup[], strong: (text: string) => string): string[] {
  const rows = groups.map(({ fingerprint, count, subscription, first, last, topics, error }) => [
    ...[fingerprint, numberOf(count), subscription, timeText(first), timeText(last), short(topics.join(' '))],
    short(`${error.name}: ${error.message}`, 60),
  ]);
  return tableOf(groupColumns, rows, strong);
}

/** Everything about a letter, for a person: a fact a line. */
export function letterLines(letter: DeadLetter): string[] {
  const { payload, headers, firstError, lastError, publishedAt, deadAt, ...rest } = letter;
  const facts: Record<string, string> = {
    ...Object.fromEntries(Object.entries(rest).map(([name, value]) => [name, plain(String(value))])),
    publishedAt: timeText(publishedAt),
    deadAt: timeText(deadAt),
    firstError: `${timeText(firstError.at)} ${plain(`${firstError.name}: ${firstError.message}`)}`,
    lastError: `${timeText(lastError.at)} ${plain(`${lastError.name}: ${lastError.message}`)}`,
    headers: plain(headers),
    payload: plain(payload),
  };
  return Object.entries(facts).map(([name, value]) => `${name.padEnd(12)}  ${value}`);
}

/**
 * A letter as one line of JSON. The payload stands as it is where JSON can say it; bytes as base64, with `encoding:
 * 'base64'`; anything else (bigints, dates, bytes within it) as base64 of its MessagePack, with `encoding: 'msgpack'`.
 */
export function letterJson({ payload, ...rest }: DeadLetter): string {
  if (payload instanceof Uint8Array) return JSON.stringify({ ...rest, payload: base64(payload), encoding: 'base64' });
  if (isJson(payload)) return JSON.stringify({ ...rest, payload });
  return JSON.stringify({
    ...rest,
    payload: base64(encodePayload(payload)),
    encoding: 'msgpack',
    text: portable(payload),
  });
}

function isJson(value: unknown): boolean {
  if (typeof value === 'number') return Number.isFinite(value) && !Object.is(value, -0);
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return true;
  if (Array.isArray(value)) return value.every(isJson);
  if (typeof value !== 'object' || value instanceof Date || value instanceof Uint8Array) return false;
  return Object.values(value).every(isJson);
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

function timeText(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? String(ms) : date.toISOString();
}

/** Another's text, which may be long. */
function short(text: string, most = 40): string {
  const clean = plain(text);
  return clean.length > most ? `${clean.slice(0, most - 1)}…` : clean;
}
