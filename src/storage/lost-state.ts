import { BusError } from '../core/errors.ts';
import type { Headers } from '../core/message.ts';
import { readWatermarks } from './ids.ts';
import { emptyState, type Gone, type JournalState, type Partial } from './journal-state.ts';
import { keySequence, recordKind, unpackRecord } from './record.ts';
import { readMessages, readSegment, type SegmentRecord, storedSize } from './segment.ts';
import { prefixRange, type Store } from './store.ts';

/**
 * What can be known of a journal whose state is missing or damaged: everything that is there counts as waiting, rather
 * twice than never; but what is parked has left its segment.
 */
export async function rebuildState(store: Store, id: string): Promise<JournalState> {
  const { sequences, count, bytes } = await readParked(store, id);
  const parked = { count, bytes };
  const last = sequences.reduce((a, b) => Math.max(a, b), 0);
  const known = new Set(sequences);
  const partials: Partial[] = [];
  const watermarks = new Map<string, number>();
  let head = 0;
  let tail = 0;
  let total = 0;
  let mark = 0;
  for await (const [key, value] of store.scan(prefixRange(`sg/${id}/`))) {
    const first = keySequence(key);
    head ||= first;
    tail = Math.max(tail, first);
    const record = readable(() => readSegment(key, value));
    if (record === undefined) continue;
    tail = Math.max(tail, record.first + record.count - 1);
    total = record.bytesBefore + record.bytes;
    mark = Math.max(mark, record.mark);
    readWatermarks(record.watermarks, (origin, number) => {
      if (number > (watermarks.get(origin) ?? 0)) watermarks.set(origin, number);
    });
    const partial = record.kind === 'stub' ? undefined : partialOf(key, record, known);
    if (partial !== undefined) partials.push(partial);
  }
  const gone: Gone[] = [];
  // Numbers go on above everything, or a new message would be taken for one that is parked.
  if (last > tail && head > 0) gone.push({ first: tail + 1, count: last - tail, bytes: 0 });
  tail = Math.max(tail, last);
  if (head === 0) head = tail + 1;
  return { ...emptyState, head, tail, total, mark, gone, partials, watermarks: [...watermarks], parked };
}

async function readParked(store: Store, id: string): Promise<{ sequences: number[]; count: number; bytes: number }> {
  const sequences: number[] = [];
  let bytes = 0;
  for (const prefix of [`pk/${id}/`, `pl/${id}/`]) {
    for await (const [key, value] of store.scan(prefixRange(prefix))) {
      sequences.push(keySequence(key));
      const record = readable(() => unpackRecord(recordKind.parked, key, value));
      if (record === undefined) continue;
      const { topic, payload, key: lane, headers } = record as unknown as ParkedSize; // its checksum is right
      bytes += storedSize(topic, payload, lane, headers);
    }
  }
  return { sequences, count: sequences.length, bytes };
}

interface ParkedSize {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly key?: string;
  readonly headers: Headers;
}

/** The messages of a segment that are parked have left it. */
function partialOf(key: string, record: SegmentRecord, parked: ReadonlySet<number>): Partial | undefined {
  const { first, count } = record;
  const places: number[] = [];
  for (let place = 0; place < count; place++) if (parked.has(first + place)) places.push(place);
  if (places.length === 0) return undefined;
  const messages = readable(() => readMessages(key, record));
  if (messages === undefined) return undefined;
  const left = new Uint8Array((count + 7) >> 3);
  let bytes = 0;
  for (const place of places) {
    left[place >> 3] = (left[place >> 3] as number) | (1 << (place & 7)); // place < count
    bytes += messages[place]?.size ?? 0;
  }
  return { first, left, count: places.length, bytes };
}

/** What is damaged is told by who reads it for its contents. */
function readable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof BusError && error.code === 'STORE_CORRUPT') return undefined;
    throw error;
  }
}
