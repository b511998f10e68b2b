import { type Gone, type JournalState, type Partial, packState, unpackState } from './journal-state.ts';
import { rebuildState } from './lost-state.ts';
import { recordKind, unpackRecord } from './record.ts';
import { segmentKey, stateKey } from './recovery.ts';
import { packStub, readMessages, readSegment, type SegmentHead, type SegmentRecord, storedSize } from './segment.ts';
import { prefixRange, type Store, type StoreOperation } from './store.ts';

/**
 * Sets right what a journal's state says, once everything that cannot be read is removed. Where messages are missing a stub
 * takes their place: they have left, and nobody looks for them any more.
 */
export async function mendJournal(
  store: Store,
  id: string,
  now: number,
  tell: (change: string) => void,
): Promise<void> {
  const key = stateKey(id);
  const value = await store.get(key);
  if (value === undefined) tell(`${id}: its state is lost; everything that is there counts as waiting`);
  const old = value === undefined ? await rebuildState(store, id) : unpackState(key, value);
  const walk = new Walk(id, old, now);
  for await (const [segment, bytes] of store.scan(prefixRange(`sg/${id}/`)))
    walk.take(segment, readSegment(segment, bytes));
  const { operations, state, missing } = walk.end(await countParked(store, id));
  if (value !== undefined && operations.length === 0 && Buffer.compare(packState(old), packState(state)) === 0) return;
  if (missing > 0) tell(`${id}: ${missing} messages are missing and are looked for no more`);
  tell(`${id}: wrote its state anew`);
  await store.write([...operations, { type: 'put', key, value: packState(state) }], true);
}

async function countParked(store: Store, id: string): Promise<JournalState['parked']> {
  let [count, bytes] = [0, 0];
  for (const prefix of [`pk/${id}/`, `pl/${id}/`]) {
    for await (const [key, value] of store.scan(prefixRange(prefix))) {
      const record = unpackRecord(recordKind.parked, key, value) as unknown as {
        readonly topic: string;
        readonly payload: Uint8Array;
        readonly key?: string;
        readonly headers: Record<string, string>;
      }; // its checksum is right
      count++;
      bytes += storedSize(record.topic, record.payload, record.key, record.headers);
    }
  }
  return { count, bytes };
}

/** Goes over the segments of a journal in their order. */
class Walk {
  readonly #id: string;
  readonly #old: JournalState;
  readonly #now: number;
  readonly #operations: StoreOperation[] = [];
  readonly #gone: Gone[] = [];
  readonly #partials: Partial[] = [];
  #missing = 0;
  /** Of the first segment that has messages left. */
  #head: number | undefined;
  #next: number;
  #total: number | undefined;

  constructor(id: string, old: JournalState, now: number) {
    [this.#id, this.#old, this.#now] = [id, old, now];
    this.#next = old.head;
  }

  take(key: string, record: SegmentRecord): void {
    const { first, count, bytes, bytesBefore } = record;
    if (first < this.#next && this.#total !== undefined && first >= this.#old.head) {
      this.#operations.push({ type: 'del', key }); // what it holds stands in another one, too
      return;
    }
    if (first > this.#next && first > this.#old.head) this.#fill(first - 1, bytesBefore);
    this.#next = Math.max(this.#next, first + count);
    this.#total = bytesBefore + bytes;
    if (record.kind === 'stub') this.#leave({ first, count, bytes });
    else if (first >= this.#old.head) {
      this.#head ??= first;
      this.#keep(key, record);
    }
  }

  end(parked: JournalState['parked']): { operations: StoreOperation[]; state: JournalState; missing: number } {
    const old = this.#old;
    if (this.#next <= old.tail) this.#fill(old.tail, Math.max(old.total, this.#total ?? 0));
    const tail = Math.max(old.tail, this.#next - 1);
    const head = this.#head ?? tail + 1;
    const gone = this.#head === undefined ? [] : this.#gone.filter(({ first }) => first > head);
    const total = this.#total ?? old.total;
    const state = { ...old, head, tail, total, mark: Math.min(old.mark, tail), gone, partials: this.#partials, parked };
    return { operations: this.#operations, state, missing: this.#missing };
  }

  /** Messages up to one of them are not there: those of which the state says that they have left are not missed. */
  #fill(to: number, bytesBefore: number): void {
    const before = this.#total ?? bytesBefore;
    const first = this.#next;
    const count = to - first + 1;
    const bytes = Math.max(0, bytesBefore - before);
    const left = this.#old.gone.reduce((sum, run) => sum + overlap(run, first, to), 0);
    this.#missing += count - left;
    const head: SegmentHead = { first, count, mark: 0, bytesBefore: before, bytes, time: this.#now };
    this.#operations.push({ type: 'put', key: segmentKey(this.#id, first), value: packStub(head) });
    this.#leave({ first, count, bytes });
    this.#next = to + 1;
    this.#total = before + bytes;
  }

  #leave(run: Gone): void {
    const last = this.#gone.at(-1);
    if (last === undefined || last.first + last.count !== run.first) this.#gone.push(run);
    else {
      const { first, count, bytes } = last;
      this.#gone[this.#gone.length - 1] = { first, count: count + run.count, bytes: bytes + run.bytes };
    }
  }

  /** What has left of a segment, counted by the messages that are there. */
  #keep(key: string, record: SegmentRecord): void {
    const left = this.#old.partials.find(({ first }) => first === record.first)?.left;
    if (left === undefined) return;
    let [count, bytes] = [0, 0];
    for (const [i, { size }] of readMessages(key, record).entries()) {
      if (((left[i >> 3] ?? 0) & (1 << (i & 7))) === 0) continue;
      count++;
      bytes += size;
    }
    this.#partials.push({ first: record.first, left, count, bytes });
  }
}

function overlap({ first, count }: Gone, from: number, to: number): number {
  return Math.max(0, Math.min(to, first + count - 1) - Math.max(from, first) + 1);
}
