import type { DurableMailbox } from '../../actors/durable-mailbox.ts';
import { unpackParked } from '../../actors/parked-record.ts';
import type { Slot } from '../../actors/slot.ts';
import { BusError } from '../../core/errors.ts';
import type { Headers, Message } from '../../core/message.ts';
import { keyNumber, keySequence } from '../../storage/record.ts';
import { segmentsFrom } from '../../storage/recovery.ts';
import { readMessages, readSegment } from '../../storage/segment.ts';
import { prefixRange } from '../../storage/store.ts';

/** A message that waits in a durable mailbox, as plain data. */
export interface PeekedMessage {
  /** Where it stands: `peek()` can begin there. */
  position: string;
  id: string;
  topic: string;
  payload: unknown;
  headers: Headers;
  key?: string;
  /** By the publisher's clock, and by that of the mailbox's home: milliseconds since the epoch. */
  publishedAt: number;
  storedAt: number;
  source: string;
  /** Which attempt the next one is, from 1. */
  attempt: number;
  /** When it is due, of one that waits for a time. */
  dueAt?: number;
  expiresAt?: number;
  /** Why its payload is missing. */
  problem?: string;
}

/** A position: in the journal, or among the parked, by the time that they wait for or behind their key. */
export const positionPattern = /^(j[0-9a-z]{11}|p[0-9a-z]{11}\.[0-9a-z]{11}|q[0-9a-z]{11})$/;

/** What one call shows at most, in bytes: less than a frame holds. */
const mostBytes = 2 * 1024 * 1024;

/** Shows messages that wait, without taking them. @param from a position; '' for the first. */
export async function peek(mailbox: DurableMailbox, limit: number, from: string): Promise<PeekedMessage[]> {
  const found: PeekedMessage[] = [];
  let bytes = 0;
  for await (const [position, facts] of waiting(mailbox, from)) {
    bytes += facts.message.size;
    if (found.length > 0 && bytes > mostBytes) break;
    found.push(recordOf(position, facts));
    if (found.length >= limit) break;
  }
  return found;
}

type Facts = Pick<Slot, 'message' | 'storedAt' | 'attempt'> & { readonly due?: number };

async function* waiting(mailbox: DurableMailbox, from: string): AsyncGenerator<readonly [string, Facts]> {
  if (mailbox.options.commits.error !== undefined) throw mailbox.options.commits.error;
  await mailbox.written();
  if (from === '' || from.startsWith('j')) yield* inJournal(mailbox, from === '' ? 0 : keySequence(from));
  yield* parked(mailbox, from);
}

/** What is in memory, and then what is not. */
async function* inJournal(mailbox: DurableMailbox, from: number): AsyncGenerator<readonly [string, Facts]> {
  const { journal, id, options } = mailbox;
  const { cursor, tail } = journal;
  const unread = new Map(journal.unread);
  const slots = mailbox.waiting().filter(({ parked, sequence }) => parked === undefined && sequence >= from);
  slots.sort((a, b) => a.sequence - b.sequence);
  for (const slot of slots) yield [placeOf(slot.sequence), slot];
  for await (const [key, value] of options.commits.store.scan(segmentsFrom(id, cursor))) {
    const record = readSegment(key, value);
    const { first, count, time: storedAt } = record;
    if (first > tail) return;
    if (record.kind === 'stub' || first + count <= from) continue;
    const left = unread.get(first)?.left;
    for (const [place, message] of readMessages(key, record).entries()) {
      if (first + place < from || ((left?.[place >> 3] ?? 0) & (1 << (place & 7))) !== 0) continue;
      const due = message.dueAt > mailbox.clock.now() ? { due: message.dueAt } : {};
      yield [placeOf(first + place), { message, storedAt, attempt: 1, ...due }];
    }
  }
}

async function* parked(mailbox: DurableMailbox, from: string): AsyncGenerator<readonly [string, Facts]> {
  const { id, options } = mailbox;
  const out = new Set(mailbox.parkedOut());
  for (const [letter, prefix] of Object.entries({ p: `pk/${id}/`, q: `pl/${id}/` })) {
    for await (const [key, value] of options.commits.store.scan(prefixRange(prefix))) {
      if (out.has(key)) continue;
      const position = `${letter}${key.slice(prefix.length).replace('/', '.')}`;
      if (position >= from) yield [position, unpackParked(key, value)];
    }
  }
}

function placeOf(sequence: number): string {
  return `j${keyNumber(sequence)}`;
}

function recordOf(position: string, { message, storedAt, attempt, due = 0 }: Facts): PeekedMessage {
  const { id, topic, headers, key, publishedAt, source, expiresAt } = message;
  return {
    position,
    id,
    topic,
    headers,
    ...(key === undefined ? {} : { key }),
    publishedAt,
    storedAt,
    source,
    attempt,
    ...(due === 0 ? {} : { dueAt: due }),
    ...(expiresAt === 0 ? {} : { expiresAt }),
    ...payloadOf(message),
  };
}

function payloadOf(message: Message): Pick<PeekedMessage, 'payload' | 'problem'> {
  try {
    return { payload: message.payload };
  } catch (error) {
    return { payload: null, problem: error instanceof BusError ? error.message : String(error) };
  }
}
