import type { Clock } from '../core/clock.ts';
import { BusError, toError } from '../core/errors.ts';
import type { DropReason, ExpiryReason } from '../core/events.ts';
import type { Logger } from '../core/log.ts';
import type { Message } from '../core/message.ts';
import type { Journal } from '../storage/journal.ts';
import { segmentsFrom } from '../storage/recovery.ts';
import { readMessages, readSegment, type SegmentRecord } from '../storage/segment.ts';
import { Slot } from './slot.ts';

/** Goes once over everything that waits in a durable mailbox, in memory and on disk, and says what is to leave. */
export interface Sweep {
  /** What came later is not looked at. */
  to: number;
  /** How many have left. */
  count: number;
  /** Whether so little stays that everything may be read into memory; else it is judged where it lies. */
  readonly greedy: boolean;
  /**
   * Looks at a message.
   *
   * @param unread it is on disk only.
   * @returns the one that is to leave: this one, or, unless it is on disk only, one that it was shown before.
   */
  judge(slot: Slot, unread?: boolean): Slot | undefined;
  /** Why a message leaves. */
  reason(slot: Slot): DropReason | ExpiryReason;
}

/** What a sweep needs of its mailbox. */
export interface SweepHost {
  readonly id: string;
  readonly name: string;
  readonly closed: boolean;
  readonly journal: Journal;
  readonly parking: { sweep(goes: (slot: Slot) => boolean): Promise<void> };
  readonly options: { readonly log: Logger };
  /** Resolves when everything until now is written. */
  written(): Promise<void>;
  /** Resolves when more has been read into memory. */
  read(): Promise<void>;
  /** Has a sweep judge what is in memory and not out. */
  judge(sweep: Sweep): void;
  /** Counts a message that leaves and is on disk only. */
  discardUnread(slot: Slot, reason: DropReason | ExpiryReason): void;
}

/** A sweep that removes everything. */
export function clearing(): Sweep {
  return { to: 0, count: 0, greedy: true, judge: (slot) => slot, reason: () => 'cleared' };
}

/** A sweep that removes what has waited too long. */
export function pruning(mailbox: { expiredWhy(slot: Slot): ExpiryReason | undefined }): Sweep {
  return {
    to: 0,
    count: 0,
    greedy: false,
    judge: (slot) => (mailbox.expiredWhy(slot) === undefined ? undefined : slot),
    reason: (slot) => mailbox.expiredWhy(slot) ?? 'expired',
  };
}

/** A sweep that leaves the newest only; what is delayed and was never handed out has not come yet. */
export function superseding(clock: Clock): Sweep {
  let newest: Slot | undefined;
  return {
    to: 0,
    count: 0,
    greedy: true,
    judge: (slot, unread) => {
      if (slot.parked !== undefined && slot.attempt === 1 && slot.due > clock.now()) return undefined;
      const before = newest;
      if (unread === true) return before !== undefined && slot.sequence < before.sequence ? slot : undefined;
      if (before === undefined || before.gone || before === slot) {
        newest = slot;
        return undefined;
      }
      newest = before.sequence > slot.sequence ? before : slot;
      return newest === slot ? before : slot;
    },
    reason: () => 'superseded',
  };
}

/**
 * Runs a sweep. What it removes leaves as everything does, in commits that each are whole: a crash between two of them
 * leaves a part of the work undone, and nothing else.
 *
 * @param set has the mailbox show the sweep what comes into memory meanwhile.
 */
export async function sweepMailbox(
  mailbox: SweepHost,
  sweep: Sweep,
  set: (sweep: Sweep | undefined) => void,
): Promise<number> {
  await mailbox.written(); // what was accepted before is numbered
  const { journal, parking } = mailbox;
  if (mailbox.closed) throw new BusError('CLOSED', `'${mailbox.name}' is closed`);
  sweep.to = journal.tail;
  set(sweep);
  try {
    mailbox.judge(sweep);
    while (journal.cursor <= sweep.to && journal.reading) await mailbox.read();
    if (journal.cursor <= sweep.to) await sweepUnread(mailbox, sweep);
    await parking.sweep((slot) => {
      if (slot.sequence > sweep.to || sweep.judge(slot, true) !== slot) return false;
      sweep.count++;
      mailbox.discardUnread(slot, sweep.reason(slot));
      return true;
    });
  } finally {
    set(undefined);
  }
  await new Promise<void>((resolve, reject) =>
    journal.whenCommitted({ committed: () => resolve(), failed: (error) => reject(error) }),
  );
  return sweep.count;
}

/** Judges what there is no room for in memory. */
async function sweepUnread(mailbox: SweepHost, sweep: Sweep): Promise<void> {
  const { journal, id } = mailbox;
  const { commits } = journal;
  if (commits.error !== undefined) throw commits.error;
  for await (const [key, value] of commits.store.scan(segmentsFrom(id, journal.cursor))) {
    if (mailbox.closed) throw new BusError('CLOSED', `'${mailbox.name}' was closed`);
    const segment = readable(key, value, mailbox);
    if (segment === undefined) continue;
    const { first } = segment.record;
    if (first > sweep.to) return;
    if (first < journal.cursor) continue; // it was read meanwhile, and judged
    if (!sweepSegment(mailbox, sweep, segment)) return;
  }
}

interface ReadSegment {
  readonly record: SegmentRecord;
  readonly messages: readonly Message[];
}

/** A segment that has messages; undefined for others, and for one that cannot be read, which is told when its turn comes. */
function readable(key: string, value: Uint8Array, { options }: SweepHost): ReadSegment | undefined {
  try {
    const record = readSegment(key, value);
    return record.kind === 'stub' ? undefined : { record, messages: readMessages(key, record) };
  } catch (error) {
    options.log.debug({ err: toError(error), key }, 'a segment was passed over');
    return undefined;
  }
}

/** @returns false when no more can be noted: the rest leaves when it is read. */
function sweepSegment(mailbox: SweepHost, sweep: Sweep, { record, messages }: ReadSegment): boolean {
  const { journal } = mailbox;
  const { first } = record;
  const left = journal.unread.get(first)?.left;
  const found: Slot[] = [];
  for (const [place, message] of messages.entries()) {
    if (left !== undefined && ((left[place >> 3] ?? 0) & (1 << (place & 7))) !== 0) continue;
    const segment = {
      ...record,
      key: '',
      record: record.value,
      left: 0,
      leftBytes: 0,
      bits: undefined,
      emptied: false,
    };
    const slot = new Slot(message, first + place, segment, 1, undefined, false);
    if (slot.sequence <= sweep.to && sweep.judge(slot, true) === slot) found.push(slot);
  }
  if (found.length === 0) return true;
  const bytes = found.reduce((sum, { message }) => sum + message.size, 0);
  const places = found.map(({ sequence }) => sequence - first);
  if (!journal.strike(record, places, bytes)) {
    mailbox.options.log.info({ swept: sweep.count }, 'the rest of what has expired leaves when its turn comes');
    return false;
  }
  for (const slot of found) mailbox.discardUnread(slot, sweep.reason(slot));
  sweep.count += found.length;
  return true;
}
