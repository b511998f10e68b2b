import type { Clock, Timer } from '../core/clock.ts';
import { BusError, toError } from '../core/errors.ts';
import { Heap } from '../core/heap.ts';
import { keyNumber } from '../storage/record.ts';
import { prefixRange, type Store } from '../storage/store.ts';
import type { Moves } from './moves.ts';
import { packParked, unpackParked } from './parked-record.ts';
import { noSegment, type Slot } from './slot.ts';

/** How many parked messages are in memory before later ones stay on disk. */
const most = 10_000;
/** How long to wait before the disk is read again, after a failure, in milliseconds. */
const patience = 1000;
/** How often the calendar is looked at at least: somebody may have put it right. In milliseconds. */
const glance = 60_000;
/** Ends a range of keys that begin alike. */
const end = '~';

/** What the parking place needs of its mailbox. */
export interface ParkingHost {
  readonly clock: Clock;
  readonly id: string;
  readonly moves: Moves;
  store(): Store;
  /** Resolves when everything that was moved is on disk. */
  written(): Promise<void>;
  /** A message is due. */
  due(slot: Slot): void;
  /** Prepares a message that was found on disk. */
  found(slot: Slot): void;
  /** The state has changed. */
  touch(): void;
  /** So many are damaged, or are not where they should be. */
  lost(count: number, reason: string): void;
  unreadable(error: Error): void;
}

/**
 * The messages of a durable mailbox that wait for a time: delayed, or for their next attempt. Each is a record of its own,
 * so that one that waits for a month holds no others. Those that are due first are in memory.
 */
export class Parking {
  readonly #host: ParkingHost;
  readonly #heap = new Heap<Slot>((a, b) => a.due - b.due || a.sequence - b.sequence);
  /** From this key on they are on disk only. */
  #horizon: string | undefined;
  /** What is being read, or will be when the disk can be read again. Until then all that is parked stays in memory. */
  #page: Page | undefined;
  /** Ends with the page or the sweep that is under way. */
  #work: Promise<unknown> | undefined;
  /** Under these keys stand some that are in memory although they lie behind the horizon. */
  #ahead = new Set<string>();
  #timer: Timer | undefined;
  #timerDue = Number.POSITIVE_INFINITY;
  #count: number;
  #bytes: number;
  /** How much of that is in memory. */
  #known = { count: 0, bytes: 0 };
  #closed = false;

  constructor(host: ParkingHost, parked: { readonly count: number; readonly bytes: number }) {
    this.#host = host;
    this.#count = parked.count;
    this.#bytes = parked.bytes;
  }

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Reads what is parked: all that hold up their key, and of the others those that are due first. */
  async open(): Promise<void> {
    const { id } = this.#host;
    if (this.#count > 0) this.#horizon = `pk/${id}/`;
    for await (const [key, value] of this.#host.store().scan(prefixRange(`pl/${id}/`))) this.#find(key, value);
    if (this.#horizon !== undefined) await this.#read();
    this.#arm();
  }

  /** A message waits until `slot.due`. */
  park(slot: Slot): void {
    const { id, moves } = this.#host;
    const { message, sequence, due } = slot;
    if (slot.parked === undefined) {
      this.#count++;
      this.#bytes += message.size;
    } else {
      moves.del(slot.parked);
      this.#know(slot, -1);
    }
    slot.segment = noSegment;
    const holds = slot.attempt > 1 && message.key !== undefined;
    slot.parked = holds ? `pl/${id}/${keyNumber(sequence)}` : `pk/${id}/${keyNumber(due)}/${keyNumber(sequence)}`;
    moves.put(slot.parked, packParked(slot));
    this.#page?.fresh.add(slot.parked);
    this.#host.touch();
    if (holds || this.#horizon === undefined || slot.parked < this.#horizon) {
      this.#know(slot, 1);
      this.#heap.push(slot);
    }
    if (this.#heap.size >= 2 * most && this.#work === undefined && this.#page === undefined) this.#shrink();
    this.#arm();
  }

  /** A parked message leaves for good. */
  leave(slot: Slot): void {
    if (slot.parked === undefined) return;
    this.#host.moves.del(slot.parked);
    slot.parked = undefined;
    this.#count--;
    this.#bytes -= slot.message.size;
    this.#know(slot, -1);
    this.#host.touch();
  }

  /** The one that is due first, if any is in memory: to be dropped. */
  shift(): Slot | undefined {
    for (let slot = this.#heap.pop(); slot !== undefined; slot = this.#heap.pop()) if (!slot.gone) return slot;
    return undefined;
  }

  /** Those that wait in memory, the first to be due first. */
  waiting(): Slot[] {
    const all = this.#drain();
    for (const slot of all) this.#heap.push(slot);
    return all;
  }

  /** Has those that are on disk only judged, one after the other: the ones that `goes` names leave. */
  async sweep(goes: (slot: Slot) => boolean): Promise<void> {
    while (this.#work !== undefined) await this.#work;
    if (this.#closed) return;
    await this.#under(this.#sweep(goes));
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  async #sweep(goes: (slot: Slot) => boolean): Promise<void> {
    const from = this.#page?.from ?? this.#horizon;
    if (from === undefined) return;
    const { id, moves } = this.#host;
    await this.#host.written();
    for await (const [key, value] of this.#host.store().scan({ gte: from, lt: `pk/${id}/${end}` })) {
      if (this.#closed) return;
      if ((this.#page?.fresh ?? this.#ahead).has(key)) continue;
      const slot = unpacked(key, value);
      // A damaged one is told when its turn comes.
      if (slot instanceof Error || !goes(slot)) continue;
      moves.del(key);
      this.#count--;
      this.#bytes -= slot.message.size;
      this.#host.touch();
    }
  }

  /** Leaves the later half to the disk. */
  #shrink(): void {
    for (const slot of this.#drain()) {
      const { parked = '' } = slot;
      if (parked.startsWith('pl/') || this.#heap.size < most) {
        this.#heap.push(slot);
        continue;
      }
      this.#know(slot, -1);
      if (this.#horizon === undefined || parked < this.#horizon) this.#horizon = parked;
    }
  }

  #know({ message }: Slot, by: 1 | -1): void {
    this.#known.count += by;
    this.#known.bytes += by * message.size;
  }

  /** Takes in what stands on disk. */
  #find(key: string, value: Uint8Array): void {
    const slot = unpacked(key, value);
    if (slot instanceof Error) {
      this.#count--;
      // It stands for nothing any more.
      this.#host.moves.del(key);
      this.#host.lost(1, slot.message);
      return;
    }
    this.#know(slot, 1);
    this.#heap.push(slot);
    this.#host.found(slot);
  }

  #arm(): void {
    const due = Math.min(this.#heap.peek()?.due ?? Number.POSITIVE_INFINITY, this.#diskDue);
    if (due === this.#timerDue || this.#closed) return;
    this.#timer?.cancel();
    this.#timerDue = due;
    if (due === Number.POSITIVE_INFINITY) return;
    const wait = Math.max(0, Math.ceil(due - this.#host.clock.now()));
    this.#timer = this.#host.clock.timer(Math.min(wait, glance), this.#look).unref();
  }

  /** When the disk is to be read. */
  get #diskDue(): number {
    if (this.#work !== undefined) return Number.POSITIVE_INFINITY;
    if (this.#page !== undefined) return this.#page.at;
    return this.#horizon === undefined ? Number.POSITIVE_INFINITY : dueOf(this.#horizon);
  }

  readonly #look = (): void => {
    this.#timerDue = Number.POSITIVE_INFINITY;
    const now = this.#host.clock.now();
    for (let first = this.#heap.peek(); first !== undefined && first.due <= now; first = this.#heap.peek()) {
      this.#heap.pop();
      if (!first.gone) this.#host.due(first);
    }
    if (this.#diskDue <= now) this.#read().catch((error: unknown) => this.#host.unreadable(toError(error)));
    this.#arm();
  };

  /** Brings in what is on disk only, as much as there is room for. */
  #read(): Promise<void> {
    this.#page ??= { from: this.#horizon ?? '', fresh: this.#ahead, at: 0 };
    this.#horizon = undefined;
    return this.#under(this.#readPage(this.#page));
  }

  /** One piece of work at a time. */
  async #under(work: Promise<void>): Promise<void> {
    this.#work = work.catch(() => undefined);
    try {
      await work;
    } finally {
      this.#work = undefined;
      this.#arm();
    }
  }

  async #readPage(page: Page): Promise<void> {
    const { id, clock } = this.#host;
    // However many hold up their key, some of the others have to come in.
    const room = Math.max(most - this.#heap.size, most / 2);
    page.at = Number.POSITIVE_INFINITY;
    try {
      await this.#host.written(); // what was parked before; what comes now stays in memory
      let read = 0;
      for await (const [key, value] of this.#host.store().scan({ gte: page.from, lt: `pk/${id}/${end}` })) {
        if (this.#closed) return;
        if (page.fresh.has(key)) continue;
        if (read++ === room) {
          this.#horizon = key;
          break;
        }
        page.from = `${key}!`;
        this.#find(key, value);
      }
    } catch (error) {
      page.at = clock.now() + patience;
      throw error;
    }
    this.#page = undefined;
    if (this.#horizon === undefined) this.#recount();
    else this.#leaveLater(page.fresh, this.#horizon);
  }

  /** What was parked behind the horizon while a page was read stays on disk only, unless it has been handed out since. */
  #leaveLater(fresh: ReadonlySet<string>, horizon: string): void {
    const later = new Set([...fresh].filter((key) => key >= horizon && key.startsWith('pk/')));
    this.#ahead = later;
    if (later.size === 0) return;
    for (const slot of this.#drain()) {
      const { parked = '' } = slot;
      if (later.delete(parked)) this.#know(slot, -1);
      else this.#heap.push(slot);
    }
  }

  /** Everything is in memory: what is missing from it is missing on the disk. */
  #recount(): void {
    const lost = this.#count - this.#known.count;
    if (lost === 0 && this.#bytes === this.#known.bytes) return;
    this.#count = this.#known.count;
    this.#bytes = this.#known.bytes;
    this.#host.touch();
    if (lost > 0) this.#host.lost(lost, 'parked messages are missing');
  }

  /** Empties the heap. */
  #drain(): Slot[] {
    const all: Slot[] = [];
    for (let slot = this.shift(); slot !== undefined; slot = this.shift()) all.push(slot);
    return all;
  }
}

interface Page {
  /** From where on it has not been read. */
  from: string;
  /** What was parked since. */
  readonly fresh: Set<string>;
  /** When it is read again, after a failure. */
  at: number;
}

/** What a record holds, or why it cannot be told. */
function unpacked(key: string, value: Uint8Array): Slot | Error {
  try {
    return unpackParked(key, value);
  } catch (error) {
    return error instanceof BusError ? error : toError(error);
  }
}

/** When the one of a key is due; 0 for the key that all begin with. */
function dueOf(key: string): number {
  const due = key.split('/')[2];
  return due === undefined || due === '' ? 0 : Number.parseInt(due, 36);
}
