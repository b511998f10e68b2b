import { BusError } from '../core/errors.ts';
import { GoneRuns } from './gone.ts';
import { RecentIds, readIds, readWatermarks } from './ids.ts';
import { type JournalState, unpackState } from './journal-state.ts';
import { rebuildState } from './lost-state.ts';
import { keyNumber, keySequence } from './record.ts';
import { readSegment, type SegmentRecord } from './segment.ts';
import { type KeyRange, prefixRange, type Store } from './store.ts';

/** The key of a journal's state. */
export function stateKey(id: string): string {
  return `st/${id}`;
}

/** What the keys of a journal's segments and stubs begin with. */
export function segmentPrefix(id: string): string {
  return `sg/${id}/`;
}

/** The key of a segment or a stub. */
export function segmentKey(id: string, first: number): string {
  return segmentPrefix(id) + keyNumber(first);
}

/** Everything from a sequence on. */
export function segmentsFrom(id: string, first: number): KeyRange {
  return { gte: segmentKey(id, first), lt: `${segmentPrefix(id)}~` };
}

/** Messages that are not where they should be. */
export interface Gap {
  readonly from: number;
  readonly to: number;
  /** How many of those had not left before, and their bytes as far as they are known. */
  readonly count: number;
  readonly bytes: number;
  readonly reason: string;
}

/** A stub that stands on the disk. */
export interface Stub {
  readonly first: number;
  readonly time: number;
}

/** What opening a journal has found. */
export interface Recovered {
  readonly state: JournalState;
  /** How many messages are left in segments, and their bytes. */
  readonly waiting: number;
  readonly bytes: number;
  readonly ids: RecentIds;
  /** Stubs before the head, and damaged records that stood for some. */
  readonly stubs: readonly Stub[];
  /** What is damaged and will not be read again. What lies from the head on is told when it is read. */
  readonly gaps: readonly Gap[];
}

/** How many ids opening reads at most: a mailbox promises to know as many. */
const mostIds = 100_000;
/** How long ids are remembered, in milliseconds. */
const idTime = 120_000;

/**
 * Opens a journal: reads its state, the end of its segments, and the ids that entered lately. What lies between is read
 * when it is needed.
 */
export async function recover(store: Store, id: string, now: number, withIds: boolean): Promise<Recovered> {
  const gaps: Gap[] = [];
  const state = await readState(store, id, gaps);
  let { tail, total, mark } = state;
  const watermarks = new Map(state.watermarks);
  const ids = new RecentIds(now);
  const recent: Uint8Array[] = [];
  let known = 0;
  for await (const [key, value] of store.scan({ ...prefixRange(segmentPrefix(id)), reverse: true })) {
    const record = tryRead(key, value);
    // Of one that is damaged only the beginning is known: at the least that message was there.
    const end = record === undefined ? keySequence(key) : record.first + record.count - 1;
    if (end > tail) {
      tail = end;
      if (record !== undefined) total = record.bytesBefore + record.bytes;
    }
    if (record === undefined) continue;
    if (end > state.tail) {
      // Below the state's tail its own mark and watermarks hold, and are newer.
      mark = Math.max(mark, record.mark);
      readWatermarks(record.watermarks, (origin, number) => {
        if (number > (watermarks.get(origin) ?? 0)) watermarks.set(origin, number);
      });
    }
    const old = !withIds || known >= mostIds || record.time < now - idTime;
    if (old && end <= state.tail) break;
    if (old) continue;
    known += record.count;
    recent.push(record.ids);
  }
  for (const packed of recent.reverse()) readIds(packed, ids);
  const runs = new GoneRuns(state.gone);
  const { head, before, stubs } = await findHead(store, id, state.head, { tail, total }, gaps, runs);
  const gone = [...runs];
  const partials = state.partials.filter(({ first }) => first >= head);
  const left = [...gone, ...partials];
  const leftCount = left.reduce((sum, { count }) => sum + count, 0);
  const leftBytes = left.reduce((sum, { bytes }) => sum + bytes, 0);
  return {
    state: { ...state, head, tail, total, mark: Math.min(mark, tail), gone, partials, watermarks: [...watermarks] },
    waiting: tail - head + 1 - leftCount,
    bytes: total - before - leftBytes,
    ids,
    stubs,
    gaps,
  };
}

/**
 * Reads what stands behind a sequence: what a commit has written that failed.
 *
 * @param damaged is told of what cannot be read: who gave those messages was told that they may be lost.
 */
export async function readBehind(
  store: Store,
  id: string,
  tail: number,
  take: (record: SegmentRecord) => void,
  damaged: (gap: Gap) => void,
): Promise<void> {
  for await (const [key, value] of store.scan(segmentsFrom(id, tail + 1))) {
    const record = tryRead(key, value);
    if (record === undefined) damaged(damage(key));
    else take(record);
  }
}

/** A damaged record of which it is not known how many messages that were left it has taken with it, if any. */
function damage(key: string): Gap {
  const first = keySequence(key);
  return { from: first, to: first, count: 0, bytes: 0, reason: `the record '${key}' is damaged` };
}

async function readState(store: Store, id: string, gaps: Gap[]): Promise<JournalState> {
  const key = stateKey(id);
  const value = await store.get(key);
  let reason = `the record '${key}' is missing`;
  if (value !== undefined) {
    try {
      return unpackState(key, value);
    } catch (error) {
      reason = reasonOf(error);
    }
  }
  gaps.push({ from: 0, to: 0, count: 0, bytes: 0, reason });
  return rebuildState(store, id);
}

/** Passes over what has left at the beginning. */
async function findHead(
  store: Store,
  id: string,
  from: number,
  end: { readonly tail: number; readonly total: number },
  gaps: Gap[],
  gone: GoneRuns,
): Promise<{ head: number; before: number; stubs: Stub[] }> {
  let head = from;
  let damaged = false;
  const stubs: Stub[] = [];
  for await (const [key, value] of store.scan(prefixRange(segmentPrefix(id)))) {
    const record = tryRead(key, value);
    if (record === undefined) {
      const first = keySequence(key);
      damaged ||= first >= head;
      if (damaged) continue;
      gaps.push(damage(key));
      stubs.push({ first, time: 0 });
      continue;
    }
    const { first, count, bytes, bytesBefore, time, kind } = record;
    if (kind === 'segment' && first < head) continue; // it has left: only its removal is missing
    if (damaged || kind === 'segment' || first > head) return { head, before: bytesBefore, stubs };
    stubs.push({ first, time });
    gone.take(first, first + count, bytes);
    head = Math.max(head, first + count);
  }
  return { head, before: end.total, stubs };
}

function tryRead(key: string, value: Uint8Array): SegmentRecord | undefined {
  try {
    return readSegment(key, value);
  } catch (error) {
    if (error instanceof BusError && error.code === 'STORE_CORRUPT') return undefined;
    throw error;
  }
}

function reasonOf(error: unknown): string {
  return error instanceof BusError ? error.message : String(error);
}
