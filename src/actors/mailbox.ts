import type { Clock, Timer } from '../core/clock.ts';
import { Heap } from '../core/heap.ts';
import type { Message } from '../core/message.ts';
import { Ring } from '../core/ring.ts';
import type { Delivery } from './delivery.ts';

/** What happens to a message for a mailbox that is full. */
export type Overflow = 'block' | 'reject' | 'drop-oldest' | 'drop-newest';

/** How much a mailbox holds. Messages that are being handled do not count. */
export interface MailboxLimits {
  /** @default 10_000 */
  messages: number;
  /** By the estimate of the walk that validates a payload. A message larger than this enters an empty mailbox. @default 16 MiB */
  bytes: number;
  /** `block` makes `publish()` wait for room until its deadline. @default 'block' */
  overflow: Overflow;
}

/** Somebody who waits for room. */
export interface RoomWaiter {
  /** How many bytes it needs. It must not change. */
  readonly size: number;
  /** It waits on another node: worth telling only when a quarter of the mailbox is free, not for a single place. */
  readonly distant: boolean;
  /** Takes the room. Either this or `closed` is called, once. */
  admit(): void;
  /** There will be no room any more. */
  closed(): void;
}

/** What a mailbox needs of its surroundings. */
export interface MailboxHost {
  readonly clock: Clock;
  /** There is something to take. Called often; must be cheap. */
  ready(): void;
  /** A message left unhandled by the mailbox's own policy. */
  dropped(delivery: Delivery | undefined, reason: 'drop-oldest' | 'drop-newest'): void;
}

/** The messages of one key: one of them is out, the others wait behind it. */
interface Lane {
  head: Delivery | undefined;
  tail: Delivery | undefined;
}

interface Parked {
  due: number;
  delivery: Delivery;
}

/** How far `take` looks past messages whose key is busy. */
const lookAhead = { messages: 10_000, bytes: 8 * 1024 * 1024 };

/**
 * The bounded queue of one subscription, in memory. Messages are taken in order of arrival, except that those of a key
 * wait for the one before them, even while that one waits for its retry; all others run on.
 */
export class Mailbox {
  readonly #host: MailboxHost;
  readonly #limits: MailboxLimits;
  /** In order of arrival. */
  readonly #arrived = new Ring<Delivery>();
  /** Before those: retries that are due, messages whose key became free, and what came back. */
  readonly #first = new Ring<Delivery>();
  /** The keys of which a message is out: running, or waiting for its retry. */
  readonly #lanes = new Map<string, Lane>();
  readonly #parked = new Heap<Parked>((a, b) => a.due - b.due || a.delivery.sequence - b.delivery.sequence);
  /** In order of waiting; a Set, because those whose time is up leave from the middle. */
  readonly #waiters = new Set<RoomWaiter>();
  #timer: Timer | undefined;
  #timerDue = Number.POSITIVE_INFINITY;
  #held = 0;
  #heldBytes = 0;
  #waiting = 0;
  #bytes = 0;
  #waitedBytes = 0;
  #closed = false;

  constructor(host: MailboxHost, limits: MailboxLimits) {
    this.#host = host;
    this.#limits = limits;
  }

  /** How many messages wait: arrived, behind their key, or for their retry. */
  get waiting(): number {
    return this.#waiting;
  }

  /** The estimated bytes of those. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether `take` may have something. */
  get ready(): boolean {
    return this.#first.size > 0 || (this.#arrived.size > 0 && !this.#lookedFarEnough());
  }

  /** Whether a message of `size` bytes may enter at once. Policies that drop always have room. */
  hasRoom(size: number): boolean {
    if (this.#closed) return false;
    const { overflow } = this.#limits;
    if (overflow === 'drop-oldest' || overflow === 'drop-newest') return true;
    return this.fits(size) && this.#waiters.size === 0;
  }

  /** How many messages may enter at once, for the credit of publishers on other nodes. */
  get room(): number {
    const { overflow, messages, bytes } = this.#limits;
    if (overflow !== 'block') return Number.MAX_SAFE_INTEGER;
    const free = messages - this.#waiting;
    if (free <= 0 || this.#bytes >= bytes) return 0;
    // Never 0 while a place is free: who is admitted and told 0 would wait again at once, and `#admit` would never end.
    return Math.max(1, Math.floor(free / (1 + this.#waiters.size)));
  }

  /** Puts a message in. What the policy drops to make room, it reports; `full` says that nothing has changed. */
  offer(delivery: Delivery): 'accepted' | 'full' | 'closed' {
    if (this.#closed) return 'closed';
    const { size } = delivery.message;
    if (!this.fits(size) || this.#waiters.size > 0) {
      switch (this.#limits.overflow) {
        case 'block':
        case 'reject':
          return 'full';
        case 'drop-newest':
          delivery.drop();
          this.#host.dropped(delivery, 'drop-newest');
          return 'accepted';
        case 'drop-oldest':
          while (!this.fits(size) && this.#dropOldest());
      }
    }
    this.#enter(this.#arrived, delivery, size);
    return 'accepted';
  }

  /** Puts a message in although it is full: somebody has been promised the place. */
  force(delivery: Delivery): void {
    this.#enter(this.#arrived, delivery, delivery.message.size);
  }

  /** The next message that may run, or undefined. */
  take(): Delivery | undefined {
    const delivery = this.#first.shift() ?? this.#takeArrived();
    if (delivery === undefined) return undefined;
    this.#leave(delivery.message);
    return delivery;
  }

  /** A message that was taken is done with: the next of its key may run. */
  settled(message: Message): void {
    const { key } = message;
    if (key === undefined) return;
    const lane = this.#lanes.get(key);
    if (lane === undefined) return;
    const next = lane.head;
    if (next === undefined) {
      this.#lanes.delete(key);
      return;
    }
    lane.head = next.next;
    if (lane.head === undefined) lane.tail = undefined;
    next.next = undefined;
    this.#held--;
    this.#heldBytes -= next.message.size;
    this.#first.push(next);
    this.#host.ready();
  }

  /** A message that was taken waits `delay` milliseconds for its next attempt. Its key stays busy. */
  park(next: Delivery, delay: number): void {
    this.#count(next.message);
    const due = this.#host.clock.monotonic() + delay;
    this.#parked.push({ due, delivery: next });
    this.#arm(due);
  }

  /** A message that was taken goes back to where it was. */
  putBack(next: Delivery): void {
    this.#count(next.message);
    this.#first.unshift(next);
    this.#host.ready();
  }

  /**
   * Lets somebody wait for room, behind those who wait already.
   *
   * @returns false when so many wait that they would fill the mailbox once more.
   */
  wait(waiter: RoomWaiter): boolean {
    const { messages, bytes } = this.#limits;
    const many = this.#waiters.size >= messages || (this.#waiters.size > 0 && this.#waitedBytes + waiter.size > bytes);
    if (many && !waiter.distant) return false;
    this.#waitedBytes += waiter.size;
    this.#waiters.add(waiter);
    return true;
  }

  /** Somebody waits no longer. */
  stopWaiting(waiter: RoomWaiter): void {
    if (!this.#waiters.delete(waiter)) return;
    this.#waitedBytes -= waiter.size;
    if (this.#waiters.size > 0) this.#admit();
  }

  /** Takes no more and gives out what it holds. */
  close(): Delivery[] {
    this.#closed = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    const left: Delivery[] = [...this.#first, ...this.#arrived];
    for (const lane of this.#lanes.values()) for (let d = lane.head; d !== undefined; d = d.next) left.push(d);
    for (const { delivery } of this.#parked) left.push(delivery);
    this.#first.clear();
    this.#arrived.clear();
    this.#lanes.clear();
    this.#parked.clear();
    this.#waiting = this.#bytes = this.#held = this.#heldBytes = 0;
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    this.#waitedBytes = 0;
    for (const waiter of waiters) waiter.closed();
    return left;
  }

  get #roomy(): boolean {
    const { messages, bytes } = this.#limits;
    return this.#waiting <= messages * 0.75 && this.#bytes <= bytes * 0.75;
  }

  /** Whether a message of `size` bytes fits without anything having to go. */
  fits(size: number): boolean {
    const { messages, bytes } = this.#limits;
    return this.#waiting === 0 || (this.#waiting < messages && this.#bytes + size <= bytes);
  }

  #enter(queue: Ring<Delivery>, delivery: Delivery, size: number): void {
    this.#waiting++;
    this.#bytes += size;
    queue.push(delivery);
    this.#host.ready();
  }

  #count(message: Message): void {
    this.#waiting++;
    this.#bytes += message.size;
  }

  #leave(message: Message): void {
    this.#waiting--;
    this.#bytes -= message.size;
    if (this.#waiters.size > 0) this.#admit();
  }

  #admit(): void {
    for (const waiter of this.#waiters) {
      if (waiter.distant ? !this.#roomy : !this.fits(waiter.size)) return;
      this.#waiters.delete(waiter);
      this.#waitedBytes -= waiter.size;
      waiter.admit();
    }
  }

  #takeArrived(): Delivery | undefined {
    while (!this.#lookedFarEnough()) {
      const delivery = this.#arrived.shift();
      if (delivery === undefined) return undefined;
      const { key, size } = delivery.message;
      if (key === undefined) return delivery;
      const lane = this.#lanes.get(key);
      if (lane === undefined) {
        this.#lanes.set(key, { head: undefined, tail: undefined });
        return delivery;
      }
      if (lane.tail === undefined) lane.head = delivery;
      else lane.tail.next = delivery;
      lane.tail = delivery;
      this.#held++;
      this.#heldBytes += size;
    }
    return undefined;
  }

  #lookedFarEnough(): boolean {
    return this.#held >= lookAhead.messages || this.#heldBytes >= lookAhead.bytes;
  }

  /** The oldest that has arrived; else one that waits behind its key, has come back, or waits for its retry. */
  #dropOldest(): boolean {
    const victim = this.#arrived.shift() ?? this.#dropHeld();
    if (victim !== undefined) {
      this.#discard(victim);
      return true;
    }
    const owner = this.#first.shift() ?? this.#parked.pop()?.delivery;
    if (owner === undefined) return false;
    this.#discard(owner);
    this.settled(owner.message);
    return true;
  }

  #dropHeld(): Delivery | undefined {
    if (this.#held === 0) return undefined;
    for (const lane of this.#lanes.values()) {
      const { head } = lane;
      if (head === undefined) continue;
      lane.head = head.next;
      if (lane.head === undefined) lane.tail = undefined;
      this.#held--;
      this.#heldBytes -= head.message.size;
      return head;
    }
    return undefined;
  }

  #discard(delivery: Delivery): void {
    this.#waiting--;
    this.#bytes -= delivery.message.size;
    delivery.drop();
    this.#host.dropped(delivery, 'drop-oldest');
  }

  #arm(due: number): void {
    if (due >= this.#timerDue) return;
    this.#timer?.cancel();
    this.#timerDue = due;
    this.#timer = this.#host.clock.timer(Math.max(0, Math.ceil(due - this.#host.clock.monotonic())), this.#unpark);
  }

  readonly #unpark = (): void => {
    this.#timer = undefined;
    this.#timerDue = Number.POSITIVE_INFINITY;
    const now = this.#host.clock.monotonic();
    for (let next = this.#parked.peek(); next !== undefined; next = this.#parked.peek()) {
      if (next.due > now) {
        this.#arm(next.due);
        break;
      }
      this.#parked.pop();
      this.#first.push(next.delivery);
    }
    if (this.#first.size > 0) this.#host.ready();
  };
}
