import type { Message } from '../core/message.ts';
import type { Entry, Segment } from '../storage/loaded.ts';
import type { History } from './delivery.ts';
import type { MailboxConsumer } from './mailbox-consumer.ts';

/** One message of a durable mailbox, in memory. */
export class Slot implements Entry {
  readonly message: Message;
  readonly sequence: number;
  /** When it was stored, in milliseconds since the epoch. */
  readonly storedAt: number;
  /** The segment that holds it; none when it is parked. */
  segment: Segment;
  /** Which attempt is the next, or runs: from 1. */
  attempt: number;
  history: History | undefined;
  /** Under which key it is parked. */
  parked: string | undefined = undefined;
  /** When it is due again, in milliseconds since the epoch. */
  due = 0;
  /** Its process may have died of it: it is handed out alone, and only after that has been noted. */
  suspect: boolean;
  /** Its last attempt was cut off although nothing else could have been the reason. */
  worn = false;
  /** It holds its key: no other of the key may run. */
  holds = false;
  /** It has left: whoever meets it passes it over. */
  gone = false;
  /** The next one that waits for the same key. */
  next: Slot | undefined = undefined;
  /** Who has it, and its neighbours among those that are out. */
  holder: MailboxConsumer | undefined = undefined;
  outBefore: Slot | undefined = undefined;
  outAfter: Slot | undefined = undefined;

  constructor(
    message: Message,
    sequence: number,
    segment: Segment,
    attempt: number,
    history: History | undefined,
    suspect: boolean,
  ) {
    this.message = message;
    this.sequence = sequence;
    this.segment = segment;
    this.storedAt = segment.time;
    this.attempt = attempt;
    this.history = history;
    this.suspect = suspect;
  }
}

/** Stands for the segment of messages that are parked. */
export const noSegment: Segment = Object.freeze({
  first: 0,
  count: 0,
  mark: 0,
  bytesBefore: 0,
  bytes: 0,
  time: 0,
  key: '',
  record: new Uint8Array(0),
  left: 0,
  leftBytes: 0,
  bits: undefined,
  emptied: true,
});
