import type { MailboxLimits } from '../../actors/mailbox.ts';
import type { Durability } from '../../actors/mailbox-policy.ts';
import { Moves } from '../../actors/moves.ts';
import type { Clock } from '../../core/clock.ts';
import type { BusError } from '../../core/errors.ts';
import type { Message } from '../../core/message.ts';
import type { Batch, Commitment, Commits } from '../../storage/commits.ts';
import { RecentIds } from '../../storage/ids.ts';
import { Journal } from '../../storage/journal.ts';
import type { JournalHost } from '../../storage/journal-host.ts';
import { emptyState, type JournalState } from '../../storage/journal-state.ts';
import type { Entry, Segment } from '../../storage/loaded.ts';
import { packRecord, recordKind, unpackRecord } from '../../storage/record.ts';
import { type Gap, type Recovered, stateKey } from '../../storage/recovery.ts';
import { storedForm } from '../../storage/segment.ts';
import { outboxWindow } from './outbox.ts';

/** One message of a spool, in memory. */
export type SpoolEntry = Entry;

/** Which spool it is, as it is stored. */
export interface SpoolRecord {
  /** The mailbox's id, full name and home. */
  readonly mailbox: string;
  readonly name: string;
  readonly home: string;
  /** The life of this node that began it, and which start of the node that was. */
  readonly origin: string;
  readonly start: number;
  /** Which of that life's it is: it begins another one when its store has failed. 0 is the first, as in records that do not say. */
  readonly place?: number;
}

/** What a spool needs of its outbox and of the bus. */
export interface SpoolHost {
  readonly clock: Clock;
  readonly commits: Commits;
  readonly durability: Durability;
  arrived(entry: SpoolEntry): void;
  failed(error: BusError): void;
  gap(gap: Gap): void;
  unreadable(error: Error): void;
  /** Makes the record of a dead letter; undefined when they are full. */
  grave(message: Message): { readonly key: string; readonly value: Uint8Array } | undefined;
  /** Calls `fn` when there may be room for dead letters. */
  whenGraves(fn: () => void): void;
  /** It is written to no more. */
  removed(journal: Journal): void;
}

/** How much a spool holds. */
export const spoolLimits: Pick<MailboxLimits, 'messages' | 'bytes'> = { messages: 1_000_000, bytes: 1024 ** 3 };

/** The key of a spool's record. */
export function spoolKey({ mailbox, origin }: Pick<SpoolRecord, 'mailbox' | 'origin'>): string {
  return `ob/${mailbox}.${origin}`;
}

/** @throws {BusError} `STORE_CORRUPT`. */
export function unpackSpool(key: string, value: Uint8Array): SpoolRecord {
  return unpackRecord(recordKind.spool, key, value) as unknown as SpoolRecord; // its checksum is right
}

/**
 * The tail of an outbox on disk: a journal whose sequences are the numbers of the outbox. It exists only while it holds
 * something.
 */
export class Spool implements JournalHost {
  readonly clock: Clock;
  readonly keepsIds = false;
  readonly window = outboxWindow;
  readonly engaged = 0;
  readonly journal: Journal;
  readonly #record: SpoolRecord;
  readonly #host: SpoolHost;
  /** Dead letters on their way. */
  readonly #moves = new Moves();
  #recorded: boolean;
  #whenIdle: (() => void) | undefined;

  /** @param from what it begins with: the next number of its outbox, or what was found on disk. */
  constructor(record: SpoolRecord, host: SpoolHost, from: number | Recovered) {
    this.clock = host.clock;
    this.#record = record;
    this.#host = host;
    this.#recorded = typeof from !== 'number';
    const recovered: Recovered =
      typeof from !== 'number'
        ? from
        : {
            state: { ...emptyState, head: from, tail: from - 1 },
            waiting: 0,
            bytes: 0,
            ids: new RecentIds(host.clock.now()),
            stubs: [],
            gaps: [],
          };
    this.journal = new Journal(`${record.mailbox}.${record.origin}`, host.commits, this, recovered);
    if (!this.#recorded) this.journal.touchState();
  }

  get size(): number {
    return this.journal.waiting;
  }

  get bytes(): number {
    return this.journal.bytes;
  }

  get busy(): boolean {
    return this.journal.busy || !this.#moves.empty;
  }

  get sync(): boolean {
    return this.#host.durability === 'fsync';
  }

  fits(size: number): boolean {
    return this.size < spoolLimits.messages && this.bytes + size <= spoolLimits.bytes;
  }

  append(message: Message, commitment: Commitment | undefined): void {
    this.journal.append(storedForm(message), commitment);
  }

  leave(entry: SpoolEntry): void {
    this.journal.leave(entry);
  }

  /**
   * Makes a dead letter of a message that will not reach its mailbox: it leaves in the same commit.
   *
   * @returns false when the dead letters are full.
   */
  bury(entry: SpoolEntry): boolean {
    const record = this.#host.grave(entry.message);
    if (record === undefined) return false;
    this.#moves.put(record.key, record.value);
    this.journal.leave(entry);
    return true;
  }

  whenGraves(fn: () => void): void {
    this.#host.whenGraves(fn);
  }

  /** Calls `fn` once when everything is written. */
  whenIdle(fn: () => void): void {
    this.#whenIdle = fn;
    this.journal.touch();
  }

  /** It is empty: nothing of it stays on the disk. Resolves to whether the medium has that. */
  remove(): Promise<boolean> {
    const { commits, removed } = this.#host;
    this.journal.close();
    removed(this.journal);
    const keys = [spoolKey(this.#record), stateKey(this.journal.id)];
    const operations = keys.map((key) => ({ type: 'del' as const, key }));
    // When that fails it is found empty at the next start, and removed then.
    return commits.write(operations, true).then(
      () => true,
      () => false,
    );
  }

  arrived(message: Message, sequence: number, segment: Segment): void {
    this.#host.arrived({ message, sequence, segment });
  }

  settledIn(): void {}

  wantedMark(): number {
    return 0;
  }

  state(): Pick<JournalState, 'cut' | 'started' | 'parked' | 'admitted' | 'seen'> {
    return { cut: [], started: [], parked: emptyState.parked, admitted: 0, seen: 0 };
  }

  collect(batch: Batch): void {
    this.#moves.collect(batch);
    if (this.#recorded) return;
    batch.put(spoolKey(this.#record), packRecord(recordKind.spool, this.#record));
  }

  committed(): void {
    this.#recorded = true;
    this.#moves.committed();
    const fn = this.#whenIdle;
    if (fn === undefined || this.busy) return;
    this.#whenIdle = undefined;
    fn();
  }

  failed(error: BusError): void {
    this.#moves.failed();
    this.#host.failed(error);
  }

  gap(gap: Gap): void {
    this.#host.gap(gap);
  }

  unreadable(error: Error): void {
    this.#host.unreadable(error);
  }
}
