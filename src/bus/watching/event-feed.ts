import { checkNumber } from '../../core/checks.ts';
import type { Clock, Timer } from '../../core/clock.ts';
import { BusError, describe } from '../../core/errors.ts';
import { type BusEvent, type EventHub, type EventType, eventTypes } from '../../core/events.ts';
import { Ring } from '../../core/ring.ts';

/** An event as it travels: an error is its name and its message. */
export type ToldEvent<E extends BusEvent = BusEvent> = E extends { error: Error }
  ? Omit<E, 'error'> & { error: { name: string; message: string } }
  : E;

/** What one answer holds. */
export interface EventBatch {
  /** The life of the node: numbers mean nothing to another one. */
  readonly life: string;
  /** What to ask for next as `after`. */
  readonly after: number;
  /** At least so many events are lost, because they were not fetched in time. */
  readonly missed: number;
  /** `at`: milliseconds since the epoch, by the node's clock. */
  readonly events: readonly { readonly at: number; readonly event: ToldEvent }[];
}

interface Kept {
  readonly at: number;
  readonly event: ToldEvent;
}

interface Waiter {
  readonly types: ReadonlySet<string>;
  /** Everything up to this number is known to be of no interest. */
  after: number;
  woken: boolean;
  readonly wake: () => void;
}

/** What every node tells alike, because the whole cluster knows it: a follower hears of it as a member. */
const shared: readonly string[] = ['node.', 'leader.', 'actor.', 'subscription.added', 'subscription.removed'];

/** Whether an event tells of something that every node knows. */
export const isShared = (type: string): boolean => shared.some((start) => type.startsWith(start));

/** How many events are kept for whoever follows, and how many go into one answer. */
const most = { kept: 1000, answered: 200, waiting: 64 };
/** How long events are kept after somebody has asked for them, in milliseconds: the link may be back before that. */
const keeping = 60_000;
/** How long an answer may wait for an event, in milliseconds. */
export const longestWait = 10_000;
/** The longest text of an event, in characters, and how many reasons: an answer has to fit into a frame. */
const longest = { text: 1000, reasons: 50 };

/**
 * The events of this node, for other nodes that follow it. Nothing is kept until somebody asks. Who asks is answered when
 * there is something to tell, so events travel at once, in bounded answers, and a follower that is slow misses some and is
 * told how many.
 */
export class EventFeed {
  readonly #clock: Clock;
  readonly #events: EventHub;
  readonly #life: string;
  readonly #ring = new Ring<Kept>();
  readonly #waiters = new Set<Waiter>();
  /** The number of the newest event. */
  #last = 0;
  #unlisten: (() => void) | undefined;
  #idle: Timer | undefined;
  #closed = false;

  constructor(clock: Clock, events: EventHub, life: string) {
    this.#clock = clock;
    this.#events = events;
    this.#life = life;
  }

  /** Answers another node. @throws {BusError} `CLOSED`, `MAILBOX_FULL`, `OPTION_INVALID`. */
  async answer(params: unknown): Promise<EventBatch> {
    if (this.#closed) throw new BusError('CLOSED', 'this node is closing');
    const { life, after, types, wait } = (params ?? {}) as Readonly<Record<string, unknown>>;
    const wanted = this.#wanted(types);
    const patience = checkNumber('wait', wait, 0, { min: 0, max: longestWait });
    this.#keep();
    if (after === undefined) return this.#batch(this.#last, wanted);
    const from = life === this.#life ? checkNumber('after', after, 0, { min: 0, max: Number.MAX_SAFE_INTEGER }) : 0;
    const ready = this.#batch(from, wanted);
    if (ready.events.length > 0 || ready.missed > 0 || patience === 0) return ready;
    if (this.#waiters.size >= most.waiting) {
      throw new BusError('MAILBOX_FULL', `${most.waiting} others follow the events of this node already`);
    }
    return this.#batch(await this.#news(ready.after, wanted, patience), wanted);
  }

  /** Answers all who wait; nobody can follow any more. */
  close(): void {
    this.#closed = true;
    for (const waiter of this.#waiters) waiter.wake();
    this.#forget();
  }

  /** Waits for an event. @returns the number of the last one that is known to be of no interest. */
  #news(after: number, types: ReadonlySet<string>, patience: number): Promise<number> {
    return new Promise((resolve) => {
      const wake = (): void => {
        timer.cancel();
        this.#waiters.delete(waiter);
        resolve(waiter.after);
      };
      const timer = this.#clock.timer(patience, wake);
      const waiter: Waiter = { types, after, woken: false, wake };
      this.#waiters.add(waiter);
    });
  }

  /** The events behind a number, and how many of them are gone. */
  #batch(after: number, types: ReadonlySet<string>): EventBatch {
    const first = this.#last - this.#ring.size + 1;
    const missed = Math.max(0, first - 1 - after);
    const events: Kept[] = [];
    let at = Math.max(after + 1, first);
    for (; at <= this.#last && events.length < most.answered; at++) {
      const kept = this.#ring.at(at - first) as Kept; // it is within the ring
      if (types.has(kept.event.type)) events.push(kept);
    }
    return { life: this.#life, after: at - 1, missed, events };
  }

  /** Keeps events from now on, until nobody has asked for a while. */
  #keep(): void {
    this.#idle?.cancel();
    this.#idle = this.#clock.timer(keeping, () => this.#forget()).unref();
    this.#unlisten ??= this.#events.on('*', (event) => this.#take(event));
  }

  #forget(): void {
    this.#idle?.cancel();
    this.#idle = undefined;
    this.#unlisten?.();
    this.#unlisten = undefined;
    this.#ring.clear();
    this.#last++; // who comes back learns that something is missing
  }

  #take(event: BusEvent): void {
    this.#ring.push({ at: this.#clock.now(), event: told(event) });
    if (this.#ring.size > most.kept) this.#ring.shift();
    this.#last++;
    for (const waiter of this.#waiters) {
      if (waiter.woken) continue;
      if (!waiter.types.has(event.type)) {
        waiter.after = this.#last;
        continue;
      }
      // What else happens in this turn goes into the same answer.
      waiter.woken = true;
      this.#clock.immediate(waiter.wake);
    }
  }

  #wanted(types: unknown): ReadonlySet<string> {
    if (!Array.isArray(types))
      throw new BusError('OPTION_INVALID', `types ${describe(types)} must be a list of events`);
    return new Set(types.filter((type): type is EventType => eventTypes.includes(type as EventType)));
  }
}

/** An event that fits into a frame, whatever a handler threw. */
export function told(event: BusEvent): ToldEvent {
  const record: Record<string, unknown> = { ...event };
  for (const [name, value] of Object.entries(record)) {
    if (typeof value === 'string') record[name] = short(value);
  }
  if ('error' in event) record.error = { name: short(event.error.name), message: short(event.error.message) };
  if ('reasons' in event) {
    const some = Object.entries(event.reasons).slice(0, longest.reasons);
    record.reasons = Object.fromEntries(some.map(([node, reason]) => [node, short(reason)]));
  }
  return record as ToldEvent; // the same members, shortened
}

function short(text: unknown): string {
  const whole = String(text);
  return whole.length > longest.text ? `${whole.slice(0, longest.text)}…` : whole;
}
