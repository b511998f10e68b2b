import type { Clock } from '../core/clock.ts';
import type { BusError } from '../core/errors.ts';
import type { Message } from '../core/message.ts';
import type { Batch } from './commits.ts';
import type { JournalState } from './journal-state.ts';
import type { Segment } from './loaded.ts';
import type { Gap } from './recovery.ts';

/** What a journal needs of its owner. */
export interface JournalHost {
  readonly clock: Clock;
  /** Whether commits of this journal are to reach the medium. */
  readonly sync: boolean;
  /** Whether the ids of messages that have left are remembered for a while. */
  readonly keepsIds: boolean;
  /** How much may be in memory. */
  readonly window: { readonly messages: number; readonly bytes: number };
  /** How many of those that are in memory cannot be handed out now: they are out, or wait for another one. */
  readonly engaged: number;
  /** A message is there. In order. */
  arrived(message: Message, sequence: number, segment: Segment): void;
  /** Nothing more arrives for now. */
  settledIn(): void;
  /** Up to which sequence messages may be handed out soon; written before they are. */
  wantedMark(tail: number): number;
  /** The rest of the state. */
  state(): Pick<JournalState, 'cut' | 'started' | 'parked' | 'admitted' | 'seen'>;
  /** Adds what is to be written in the same batch. */
  collect(batch: Batch): void;
  committed(): void;
  failed(error: BusError): void;
  gap(gap: Gap): void;
  /** The store cannot be read. */
  unreadable(error: Error): void;
}
