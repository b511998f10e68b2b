import { toError } from '../core/errors.ts';
import { type Headers, Message } from '../core/message.ts';
import type { DeadReason } from '../core/retry.ts';
import type { PatternInput } from '../routing/pattern.ts';
import { packRecord, recordKind, unpackRecord } from '../storage/record.ts';
import { decodePayload, encodePayload } from '../wire/codec.ts';
import { type FailureRecord, failureRecord, type History } from './delivery.ts';

/** A message that was given up, kept with its history. */
export interface DeadLetter {
  /** The dead letter's own id; ids sort by time. */
  readonly id: string;
  /** The subscription that gave it up. */
  readonly subscription: string;
  /** The id that the message was published under. */
  readonly messageId: string;
  readonly topic: string;
  readonly payload: unknown;
  readonly headers: Headers;
  readonly key?: string;
  /**
   * `attempts`: they are used up; `permanent`: the handler said so; `payload`: it cannot be decoded; `invalid`: it does not fit a
   * schema.
   */
  readonly reason: DeadReason;
  readonly attempts: number;
  readonly firstError: FailureRecord;
  readonly lastError: FailureRecord;
  /** The node that published it. */
  readonly source: string;
  /** When it was published, by the publisher's clock, in milliseconds since the epoch. */
  readonly publishedAt: number;
  /** When it was given up, by this node's clock. */
  readonly deadAt: number;
}

/** Which dead letters are meant; an empty filter means all. */
export interface DeadLetterFilter {
  /** The name of a subscription; of a durable one also without its service, which then may be any. */
  subscription?: string;
  /** A pattern over topics. */
  topic?: PatternInput;
  /** A text within the name or message of the first or last error, in whatever case; or the fingerprint of a group. */
  error?: string;
  /** Why it was given up. */
  reason?: DeadReason;
  /** Given up at or after this time. */
  since?: Date | number;
  /** Given up before this time. */
  until?: Date | number;
  /** Only letters behind the one of this id, which need not exist any more: the last of a page gives the next one. */
  after?: string;
  /** At most so many. @default 1_000 for `list()`, 100 for `groups()`, no bound for `replay()` and `drop()` */
  limit?: number;
}

/** Dead letters whose errors are alike: see {@link DeadLetterBox.groups}. */
export interface DeadLetterGroup {
  /** 16 hexadecimal digits: the same for the same group, always and on every node. */
  readonly fingerprint: string;
  readonly subscription: string;
  /** The name of the last error, and its message with what differs replaced by `#`. */
  readonly error: { readonly name: string; readonly message: string };
  readonly count: number;
  /** When the first and the last of them were given up, in milliseconds since the epoch. */
  readonly first: number;
  readonly last: number;
  /** Up to 5 of their topics. */
  readonly topics: readonly string[];
  /** The newest of them: `get(sample.id)` tells the rest. */
  readonly sample: { readonly id: string; readonly topic: string; readonly error: FailureRecord };
}

/** Dead letters by their ids, or by a filter. */
export type DeadLetterChoice = readonly string[] | { readonly filter: DeadLetterFilter };

/** What is to be different in a letter that is replayed; the rest stays as it is. */
export interface DeadLetterChanges {
  topic?: string;
  payload?: unknown;
  /** Instead of all that there are. */
  headers?: Record<string, string>;
  /** null takes it away. */
  key?: string | null;
}

/** The dead letters of a node, as its user sees them. What a call has done is on disk when it resolves. */
export interface DeadLetterBox {
  /** The oldest first. @throws {BusError} `OPTION_INVALID`, `PATTERN_INVALID`. */
  list(filter?: DeadLetterFilter): Promise<DeadLetter[]>;
  /**
   * Counts letters by subscription and last error, the largest group first. Errors are alike when their names are and their
   * messages, too, once quoted parts, UUIDs, hexadecimal and other numbers are replaced.
   *
   * @throws {BusError} `OPTION_INVALID`, `PATTERN_INVALID`.
   */
  groups(filter?: DeadLetterFilter): Promise<DeadLetterGroup[]>;
  /** @throws {BusError} `NOT_FOUND`; `STORE_CORRUPT` when it is there and cannot be read. */
  get(id: string): Promise<DeadLetter>;
  /**
   * Puts messages back into the tail of their subscriptions' mailboxes, with their attempts counted anew and no time to live.
   * Given ids, nothing is moved unless every one and every subscription is found. Given a filter, letters that are given up
   * meanwhile are left alone.
   *
   * @returns how many were moved.
   * @throws {BusError} `NOT_FOUND`; `MAILBOX_FULL`, both saying how many were moved before; `STORE_FAILED` or `STORE_FULL`
   *   when it is not known whether the last ones were.
   */
  replay(what: DeadLetterChoice): Promise<number>;
  /**
   * Puts a changed copy of a message back, as `replay()` does, in place of the letter. What is changed is checked as
   * `publish()` does.
   *
   * @throws {BusError} as `publish()` and `replay()`.
   */
  edit(id: string, changes: DeadLetterChanges): Promise<void>;
  /** Throws messages away for good. @returns how many. @throws {BusError} `NOT_FOUND`, and nothing is dropped. */
  drop(what: DeadLetterChoice): Promise<number>;
}

/** A dead letter as it is stored: its payload stays encoded. */
export interface StoredLetter extends Omit<DeadLetter, 'payload'> {
  readonly payload: Uint8Array;
  readonly size: number;
}

/** What is given up. */
export interface Condemned {
  readonly message: Message;
  readonly subscription: string;
  readonly attempt: number;
  readonly history: History | undefined;
}

export function packLetter(
  id: string,
  { message, subscription, attempt, history }: Condemned,
  reason: DeadReason,
  error: unknown,
  now: number,
): Uint8Array {
  const { payload, problem } = storable(message);
  const failure = failureRecord(error, now);
  const last = problem === undefined ? failure : { ...failure, message: `${failure.message} (${problem})` };
  return packRecord(recordKind.dead, {
    id,
    subscription,
    messageId: message.id,
    topic: message.topic,
    headers: message.headers,
    ...(message.key === undefined ? {} : { key: message.key }),
    reason,
    attempts: attempt,
    firstError: history?.firstError ?? last,
    lastError: last,
    source: message.source,
    publishedAt: message.publishedAt,
    deadAt: now,
    payload,
    size: message.size,
  } satisfies StoredLetter);
}

/** What no payload begins with: a handler that gets it back finds that it cannot be decoded. */
const unreadable = Uint8Array.of(0xc1);

/** The encoded payload of a message; or why its handler has made something of it that cannot be encoded. */
function storable(message: Message): { payload: Uint8Array; problem?: string } {
  try {
    return { payload: message.bytes(encodePayload) };
  } catch (error) {
    return {
      payload: unreadable,
      problem: `the payload was changed and cannot be kept: ${toError(error).message}`,
    };
  }
}

/** @throws {BusError} `STORE_CORRUPT`. */
export function unpackLetter(key: string, value: Uint8Array): StoredLetter {
  return unpackRecord(recordKind.dead, key, value) as unknown as StoredLetter; // its checksum is right
}

export function letterOf({ size: _, ...stored }: StoredLetter): DeadLetter {
  return { ...stored, payload: readable(stored.payload) };
}

/** The payload of a letter; what cannot be decoded is shown as the bytes that it is. */
function readable(bytes: Uint8Array): unknown {
  try {
    return decodePayload(bytes);
  } catch {
    return bytes;
  }
}

/** The message of a letter, as if it were new: it has no attempts behind it, and no time to live. */
export function messageOf(stored: StoredLetter): Message {
  const { topic, headers, key, publishedAt, source, size, messageId, payload } = stored;
  return new Message(topic, undefined, headers, key, publishedAt, source, size, messageId, 0, payload, decodePayload);
}
