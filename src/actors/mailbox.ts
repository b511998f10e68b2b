import type { Clock } from '../core/clock.ts';
import type { DropReason, ExpiryReason } from '../core/events.ts';
import type { Message } from '../core/message.ts';
import { Ring } from '../core/ring.ts';
import { type Delayed, Delays, type DelaysHost } from './delays.ts';
import type { Delivery } from './delivery.ts';
import { deadline, expiry } from './expiry.ts';
import { Lanes } from './lanes.ts';
import type { LatestOnly, MailboxLimits } from './mailbox-policy.ts';
import { Newest } from './newest.ts';
import { type RoomHost, RoomQueue, type RoomWaiter } from './room.ts';

export type { MailboxLimits, Overflow } from './mailbox-policy.ts';

/** What a mailbox needs of its surroundings. */
export interface MailboxHost {
  readonly clock: Clock;
  /** There is something to take. Called often; must be cheap. */
  ready(): void;
  /** A message left unhandled by the mailbox's own policy. */
  dropped(delivery: Delivery | undefined, reason: DropReason | ExpiryReason): void;
}

/** How many messages that were superseded, and how many bytes of them, stay in the queues before they are swept out. */
const stale = { messages: 1024, bytes: 1024 * 1024 };

/**
 * The bounded queue of one subscription, in memory. Messages are taken in order of arrival, except that those of a key
 * wait for the one before them, even while that one waits for its retry; all others run on. A delayed message arrives
 * when it is due.
 */
export class Mailbox implements RoomHost, DelaysHost {
  readonly clock: Clock;
  readonly #host: MailboxHost;
  readonly limits: MailboxLimits;
  /** In order of arrival. */
  readonly #arrived = new Ring<Delivery>();
  /** Before those: retries that are due, messages whose key became free, and what came back. All hold their keys. */
  readonly #first = new Ring<Delivery>();
  readonly #lanes = new Lanes<Delivery>();
  readonly #delays = new Delays(this);
  readonly #waiters = new RoomQueue(this);
  readonly #latest: Newest | undefined;
  #waiting = 0;
  #bytes = 0;
  /** Superseded, and still in a queue. */
  #stale = 0;
  #staleBytes = 0;
  #closed = false;

  constructor(host: MailboxHost, limits: MailboxLimits, latestOnly: LatestOnly = false) {
    this.clock = host.clock;
    this.#host = host;
    this.limits = limits;
    this.#latest = latestOnly === false ? undefined : new Newest(latestOnly);
  }

  /** How many messages wait: arrived, behind their key, for their retry, or until they are due. */
  get waiting(): number {
    return this.#waiting;
  }

  /** The estimated bytes of those. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether `take` may have something. */
  get ready(): boolean {
    return this.#first.size > 0 || (this.#arrived.size > 0 && !this.#lanes.full);
  }

  /**
   * Whether a message of `size` bytes may enter at once. Policies that drop always have room.
   *
   * @param message the message itself, where it is known: it may take the place of an older one.
   */
  hasRoom(size: number, message?: Message): boolean {
    if (this.#closed) return false;
    const { overflow } = this.limits;
    if (overflow === 'drop-oldest' || overflow === 'drop-newest') return true;
    return this.#admits(size) || (message !== undefined && this.#replaces(message));
  }

  /** How many messages may enter at once, for the credit of publishers on other nodes. */
  get room(): number {
    const { overflow, messages, bytes } = this.limits;
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
    if (!this.#admits(size) && !this.#replaces(delivery.message)) {
      switch (this.limits.overflow) {
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
    this.force(delivery);
    return 'accepted';
  }

  /** Puts a message in although it is full: somebody has been promised the place. */
  force(delivery: Delivery): void {
    const { message } = delivery;
    const { clock } = this;
    if (this.limits.age !== Number.POSITIVE_INFINITY) delivery.arrivedAt = Math.max(clock.now(), message.dueAt);
    if (message.dueAt !== 0 && message.dueAt > clock.now()) {
      this.#park(delivery, this.#delays.monotonic(message.dueAt), true);
      return;
    }
    if (this.#latest !== undefined) this.#supersede(this.#latest, delivery);
    this.#count(message);
    this.#arrived.push(delivery);
    this.#host.ready();
  }

  /** The next message that may run, or undefined. @param fresh rather one that has arrived than one that has come back. */
  take(fresh = false): Delivery | undefined {
    for (;;) {
      const delivery = (fresh ? this.#takeArrived() : undefined) ?? this.#takeFirst() ?? this.#takeArrived();
      if (delivery === undefined) return undefined;
      const reason = expiry(delivery, this.limits.age, this.clock);
      if (reason === undefined) this.#leave(delivery);
      else {
        this.#discard(delivery, reason);
        this.settled(delivery.message);
      }
      if (this.#waiters.size > 0) this.#waiters.admit();
      if (reason === undefined) return delivery;
    }
  }

  /** A message that was taken is done with: the next of its key may run. */
  settled(message: Message): void {
    const { key } = message;
    if (key === undefined) return;
    let next = this.#lanes.leave(key);
    while (next !== undefined && this.#gone(next)) next = this.#lanes.leave(key);
    if (next === undefined) return;
    this.#latest?.hold(next);
    this.#first.push(next);
    this.#host.ready();
  }

  /**
   * A message that was taken waits `delay` milliseconds for its next attempt. Its key stays busy.
   *
   * @returns false when it does not, because a newer one has taken its place.
   */
  park(next: Delivery, delay: number): boolean {
    if (this.#latest !== undefined && !this.#renew(this.#latest, next)) return false;
    this.#park(next, this.clock.monotonic() + delay, false);
    return true;
  }

  /** A message that was taken goes back to where it was, or behind all that have come back. @returns as `park`. */
  putBack(next: Delivery, behind = false): boolean {
    if (this.#latest !== undefined && !this.#renew(this.#latest, next)) return false;
    this.#count(next.message);
    this.#first[behind ? 'push' : 'unshift'](next);
    this.#host.ready();
    return true;
  }

  /** Discards what has waited too long and stands where the next message would be taken. */
  purge(): void {
    const before = this.#waiting;
    for (const ring of [this.#first, this.#arrived]) {
      for (let head = ring.peek(); head !== undefined; head = ring.peek()) {
        if (!this.#gone(head)) {
          const reason = expiry(head, this.limits.age, this.clock);
          if (reason === undefined) break;
          this.#discard(head, reason);
          if (ring === this.#first) this.settled(head.message);
        }
        ring.shift();
      }
    }
    if (this.#waiting < before && this.#waiters.size > 0) this.#waiters.admit();
  }

  /**
   * Lets somebody wait for room, behind those who wait already.
   *
   * @returns false when so many wait that they would fill the mailbox once more.
   */
  wait(waiter: RoomWaiter): boolean {
    if (!this.#waiters.wait(waiter)) return false;
    this.#watchHeads();
    return true;
  }

  /** Somebody waits no longer. */
  stopWaiting(waiter: RoomWaiter): void {
    this.#waiters.stopWaiting(waiter);
  }

  /** Takes no more and gives out what it holds. */
  close(): Delivery[] {
    this.#closed = true;
    const left = [...this.#first, ...this.#arrived, ...this.#lanes, ...this.#delays];
    this.#first.clear();
    this.#arrived.clear();
    this.#lanes.clear();
    this.#delays.clear();
    this.#latest?.clear();
    this.#waiting = this.#bytes = this.#stale = this.#staleBytes = 0;
    this.#waiters.close();
    return left.filter(({ state }) => state === 'waiting');
  }

  get roomy(): boolean {
    const { messages, bytes } = this.limits;
    return this.#waiting <= messages * 0.75 && this.#bytes <= bytes * 0.75;
  }

  /** Whether a message of `size` bytes fits without anything having to go. */
  fits(size: number): boolean {
    const { messages, bytes } = this.limits;
    return this.#waiting === 0 || (this.#waiting < messages && this.#bytes + size <= bytes);
  }

  /** A message is due. */
  due({ delivery, fresh }: Delayed): void {
    if (this.#gone(delivery)) return;
    const { message } = delivery;
    const { key } = message;
    const reason = expiry(delivery, this.limits.age, this.clock);
    if (reason !== undefined) {
      this.#discard(delivery, reason);
      if (!fresh) this.settled(message);
    } else if (!fresh) {
      this.#first.push(delivery);
    } else {
      if (this.#latest !== undefined) this.#supersede(this.#latest, delivery);
      if (key !== undefined && !this.#lanes.enter(delivery, key)) return;
      this.#latest?.hold(delivery);
      this.#first.push(delivery);
    }
  }

  /** All that is due has been told of. */
  looked(): void {
    if (this.#waiters.size > 0) {
      this.purge();
      this.#waiters.admit();
      if (this.#waiters.size > 0) this.#watchHeads();
    }
    if (this.#first.size > 0) this.#host.ready();
  }

  /** Whether a message fits and nobody waits for that room, once what has expired is gone. */
  #admits(size: number): boolean {
    if (this.fits(size) && this.#waiters.size === 0) return true;
    this.purge();
    return this.fits(size) && this.#waiters.size === 0;
  }

  /** Whether a message has room where the older one is that it supersedes. */
  #replaces({ topic, size, dueAt }: Message): boolean {
    const older = this.#latest?.of(topic);
    if (older === undefined || this.#waiters.size > 0 || dueAt > this.clock.now()) return false;
    const { messages, bytes } = this.limits;
    return this.#waiting === 1 || (this.#waiting <= messages && this.#bytes - older.message.size + size <= bytes);
  }

  /** A newer message takes the place of the one before it, if that still waits. */
  #supersede(latest: Newest, delivery: Delivery): void {
    const older = latest.of(delivery.message.topic);
    if (older !== undefined) {
      this.#stale++;
      this.#staleBytes += older.message.size;
      if (this.#discard(older, 'superseded')) this.settled(older.message);
    }
    latest.set(delivery);
    const many = this.#stale >= stale.messages && this.#stale >= this.#waiting;
    const large = this.#staleBytes >= stale.bytes && this.#staleBytes >= this.#bytes;
    if (many || large) this.#sweep();
  }

  /** One that was out waits again, unless a newer one does. @returns whether it waits. */
  #renew(latest: Newest, next: Delivery): boolean {
    const { message } = next;
    if (latest.of(message.topic) !== undefined) {
      next.drop();
      this.#host.dropped(next, 'superseded');
      this.settled(message);
      return false;
    }
    latest.set(next);
    latest.hold(next);
    return true;
  }

  /** Takes those that were superseded out of the queues. */
  #sweep(): void {
    const waits = ({ state }: Delivery): boolean => state === 'waiting';
    for (const ring of [this.#first, this.#arrived]) {
      const left = [...ring].filter(waits);
      ring.clear();
      for (const delivery of left) ring.push(delivery);
    }
    this.#lanes.sift((delivery) => !waits(delivery));
    this.#delays.keep(waits);
    this.#stale = this.#staleBytes = 0;
  }

  /** Whether one that is met in a queue was superseded; it is in none any more then. */
  #gone(delivery: Delivery): boolean {
    if (this.#stale === 0 || delivery.state !== 'dropped') return false;
    this.#stale--;
    this.#staleBytes -= delivery.message.size;
    return true;
  }

  #park(delivery: Delivery, due: number, fresh: boolean): void {
    this.#count(delivery.message);
    // One that expires before it is due need not wait for that.
    this.#delays.add({
      due: Math.min(due, this.#delays.monotonic(deadline(delivery, this.limits.age))),
      delivery,
      fresh,
    });
  }

  #count(message: Message): void {
    this.#waiting++;
    this.#bytes += message.size;
  }

  /** It waits no more. @returns whether it held its key, where that is known. */
  #leave(delivery: Delivery): boolean {
    this.#waiting--;
    this.#bytes -= delivery.message.size;
    return this.#latest?.leave(delivery) === true;
  }

  #takeFirst(): Delivery | undefined {
    let delivery = this.#first.shift();
    while (delivery !== undefined && this.#gone(delivery)) delivery = this.#first.shift();
    return delivery;
  }

  #takeArrived(): Delivery | undefined {
    while (!this.#lanes.full) {
      const delivery = this.#arrived.shift();
      if (delivery === undefined) return undefined;
      if (this.#gone(delivery)) continue;
      const { key } = delivery.message;
      if (key === undefined || this.#lanes.enter(delivery, key)) return delivery;
    }
    return undefined;
  }

  /** The oldest that has arrived; else one that waits behind its key, has come back, or waits until it is due. */
  #dropOldest(): boolean {
    const victim = this.#arrived.shift() ?? this.#lanes.dropHeld();
    if (victim !== undefined) {
      if (!this.#gone(victim)) this.#discard(victim, expiry(victim, this.limits.age, this.clock) ?? 'drop-oldest');
      return true;
    }
    const first = this.#first.shift();
    const parked = first === undefined ? this.#delays.shift() : undefined;
    const delivery = first ?? parked?.delivery;
    if (delivery === undefined) return false;
    if (this.#gone(delivery)) return true;
    this.#discard(delivery, expiry(delivery, this.limits.age, this.clock) ?? 'drop-oldest');
    if (parked?.fresh !== true) this.settled(delivery.message);
    return true;
  }

  #discard(delivery: Delivery, reason: DropReason | ExpiryReason): boolean {
    const held = this.#leave(delivery);
    delivery.drop();
    this.#host.dropped(delivery, reason);
    return held;
  }

  /** While somebody waits for room, what stands at the head is to go as soon as it has waited too long. */
  #watchHeads(): void {
    for (const head of [this.#first.peek(), this.#arrived.peek()]) {
      if (head !== undefined) this.#delays.arm(this.#delays.monotonic(deadline(head, this.limits.age)));
    }
  }
}
