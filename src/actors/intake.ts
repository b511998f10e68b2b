import type { Clock } from '../core/clock.ts';
import type { Message } from '../core/message.ts';
import type { Commitment } from '../storage/commits.ts';
import type { Journal } from '../storage/journal.ts';
import { storedForm } from '../storage/segment.ts';
import { FilterChain } from './filters.ts';
import type { MailboxPolicy } from './mailbox-policy.ts';
import { type RoomHost, RoomQueue, type RoomWaiter } from './room.ts';
import type { Tally } from './tally.ts';

/** What became of a message that was offered. */
export type Offered = 'accepted' | 'full' | 'closed' | 'filtered' | 'dropped';

/** What the intake needs of its mailbox. */
export interface IntakeHost {
  readonly clock: Clock;
  readonly journal: Journal;
  readonly tally: Tally;
  readonly policy: MailboxPolicy;
  readonly closed: boolean;
  /** How many messages wait or run, and their bytes. */
  readonly size: number;
  readonly bytes: number;
  /** Drops the oldest that can be. @param written of those that are written. @returns false when there is none. */
  dropOldest(written: boolean): boolean;
}

/** How messages enter a durable mailbox: filters, duplicates, limits, and those who wait for room. */
export class Intake implements RoomHost {
  readonly #host: IntakeHost;
  readonly #waiters = new RoomQueue(this);
  #filters: FilterChain;
  #admitted: number;

  /** @param admitted when a message was admitted last, in milliseconds since the epoch; 0 for never. */
  constructor(host: IntakeHost, admitted: number) {
    this.#host = host;
    this.#filters = new FilterChain(host.policy.filters);
    this.#admitted = admitted;
  }

  get admitted(): number {
    return this.#admitted;
  }

  get limits(): MailboxPolicy['limits'] {
    return this.#host.policy.limits;
  }

  get roomy(): boolean {
    const { messages, bytes } = this.limits;
    return this.#host.size <= messages * 0.75 && this.#host.bytes <= bytes * 0.75;
  }

  fits(size: number): boolean {
    const { messages, bytes } = this.limits;
    const count = this.#host.size;
    return count === 0 || (count < messages && this.#host.bytes + size <= bytes);
  }

  hasRoom(size: number): boolean {
    if (this.#host.closed || this.#host.journal.commits.error !== undefined) return false;
    const { overflow } = this.limits;
    if (overflow === 'drop-oldest' || overflow === 'drop-newest') return true;
    return this.fits(size) && this.#waiters.size === 0;
  }

  get room(): number {
    const { overflow, messages, bytes } = this.limits;
    if (overflow !== 'block') return Number.MAX_SAFE_INTEGER;
    const free = messages - this.#host.size;
    if (free <= 0 || this.#host.bytes >= bytes) return 0;
    return Math.max(1, Math.floor(free / (1 + this.#waiters.size)));
  }

  offer(
    given: Message,
    commitment: Commitment | undefined,
    origin: string | undefined,
    number: number,
    again: boolean,
  ): Offered {
    const { journal, tally, closed } = this.#host;
    if (closed) return 'closed';
    const message = storedForm(given);
    const { size } = message;
    if (
      message.number === 0
        ? journal.knows(message.origin)
        : again && journal.knowsNumber(message.origin, message.number)
    ) {
      if (origin !== undefined) journal.advance(origin, number);
      if (commitment !== undefined) journal.whenCommitted(commitment);
      return 'accepted';
    }
    if (!this.#admits(size)) {
      tally.filtered++;
      return 'filtered';
    }
    if (!this.fits(size) || this.#waiters.size > 0) {
      const outcome = this.#overflow(size);
      if (outcome !== undefined) return outcome;
    }
    this.#enter(message, commitment, origin, number);
    return 'accepted';
  }

  force(given: Message, commitment: Commitment | undefined, origin: string | undefined, number: number): void {
    this.#enter(storedForm(given), commitment, origin, number);
  }

  wait(waiter: RoomWaiter): boolean {
    return this.#waiters.wait(waiter);
  }

  stopWaiting(waiter: RoomWaiter): void {
    this.#waiters.stopWaiting(waiter);
  }

  /** There may be room for those who wait. */
  admit(): void {
    if (this.#waiters.size > 0) this.#waiters.admit();
  }

  /** What has come in may be more than there is room for, where the oldest makes room. */
  trim(): void {
    const { overflow, messages, bytes } = this.limits;
    if (overflow !== 'drop-oldest') return;
    while (this.#host.size > messages || (this.#host.bytes > bytes && this.#host.size > 1)) {
      if (!this.#host.dropOldest(true)) return;
    }
  }

  /** The policy has changed. */
  changed(): void {
    this.#filters = new FilterChain(this.#host.policy.filters);
    this.admit();
  }

  close(): void {
    this.#waiters.close();
  }

  #admits(size: number): boolean {
    if (this.#host.policy.filters.length === 0) return true;
    return this.#filters.admits(size, this.#host.clock.now(), this.#admitted === 0 ? undefined : this.#admitted);
  }

  #enter(message: Message, commitment: Commitment | undefined, origin: string | undefined, number: number): void {
    if (this.#host.policy.filters.length > 0) this.#admitted = this.#host.clock.now();
    this.#host.journal.append(message, commitment, origin, number);
  }

  #overflow(size: number): Offered | undefined {
    const { tally } = this.#host;
    switch (this.limits.overflow) {
      case 'block':
        return 'full';
      case 'reject':
        tally.refused++;
        return 'full';
      case 'drop-newest':
        tally.drop('drop-newest', 1);
        return 'dropped';
      case 'drop-oldest':
        while (!this.fits(size) && this.#host.dropOldest(false));
        return undefined;
    }
  }
}
