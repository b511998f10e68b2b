import type { Clock } from '../../core/clock.ts';
import type { ErrorCode } from '../../core/errors.ts';
import type { Message } from '../../core/message.ts';
import { Parcel } from '../../wire/pack.ts';
import type { Link } from './link.ts';
import type { Spool, SpoolEntry } from './spool.ts';

/** Who waits for a message to be stored. */
export interface StoreWaiter {
  /** The mailbox's home has committed it. */
  stored(): void;
  /** The local store has. */
  spooled(synced: boolean): void;
  refused(code: ErrorCode): void;
}

/** What a durable outbox needs of its route. */
export interface DurableOutboxHost<Outbox> {
  readonly clock: Clock;
  /** Whether this node has a store that lasts. */
  readonly stored: boolean;
  /** The link over which the home is reached now. */
  path(): Link | undefined;
  /** Messages expired before they were sent. */
  expired(count: number): void;
  /** Messages that nobody waited for were refused. */
  dropped(count: number, reason: 'refused' | 'cleared' | 'unreachable'): void;
  /** Nothing is left to be sent. @param sure whether nothing of it can be found again after a power cut. */
  emptied(outbox: Outbox, sure: boolean): void;
  /** The home's store takes nothing now. */
  stalled(outbox: Outbox): void;
  /** The local store has failed: what comes next has to go under another origin. */
  broken(outbox: Outbox): void;
}

/** Where it leads. */
export interface DurableOutboxRoute {
  readonly target: string;
  readonly mailbox: string;
  readonly source: string;
  readonly origin: string;
  /** Which of its origin's life it is for this mailbox, from 0. */
  readonly place: number;
}

/** A message on its way. */
export interface Row {
  readonly message: Message;
  parcel: Parcel | undefined;
  waiter: StoreWaiter | undefined;
  readonly emitted: boolean;
  refused: ErrorCode | undefined;
  /** Its place in the spool. */
  readonly entry: SpoolEntry | undefined;
  /** Its number is not used. */
  readonly empty: boolean;
}

/** A message that waits for room in the window. */
export interface Waiting {
  readonly message: Message;
  readonly waiter: StoreWaiter | undefined;
}

/** @param empty its number is not used. */
export function rowOf(
  message: Message,
  waiter: StoreWaiter | undefined,
  entry: SpoolEntry | undefined,
  empty = false,
): Row {
  const emitted = waiter === undefined && entry === undefined && !empty;
  return { message, parcel: undefined, waiter, emitted, refused: undefined, entry, empty };
}

/** What is sent of a message; undefined when its number goes out empty, because it is not used or the message has expired. */
export function packRow(row: Row, now: number, origin: string): Parcel | undefined {
  const { message, empty } = row;
  if (empty || (message.expiresAt !== 0 && message.expiresAt <= now)) return undefined;
  if (row.parcel === undefined || message.expiresAt !== 0 || message.dueAt !== 0) {
    message.leavesAt = now;
    row.parcel = Parcel.of(message, origin);
  }
  return row.parcel;
}

/** A message of a spool is confirmed. What has its receipt is not lost when it was refused: it goes to the end, or dies. */
export function leaveSpool(spool: Spool, { refused, message }: Row, entry: SpoolEntry): void {
  if (refused !== undefined) {
    if (refused !== 'MAILBOX_FULL' && spool.bury(entry)) return;
    spool.append(message, undefined);
  }
  spool.leave(entry);
}
