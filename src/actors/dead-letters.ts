import type { Clock } from '../core/clock.ts';
import { BusError, describe, toError } from '../core/errors.ts';
import { type Headers, Message } from '../core/message.ts';
import type { DeadReason } from '../core/retry.ts';
import { compilePattern, type PatternInput } from '../routing/pattern.ts';
import { prefixRange, type Store } from '../storage/store.ts';
import { decodePayload, encodePayload } from '../wire/codec.ts';
import { type Delivery, type FailureRecord, failureRecord } from './delivery.ts';

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
  /** `attempts`: they are used up; `permanent`: the handler said so; `payload`: it cannot be decoded. */
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
  /** The name of a subscription. */
  subscription?: string;
  /** A pattern over topics. */
  topic?: PatternInput;
  /** Given up at or after this time. */
  since?: Date | number;
  /** At most so many. @default 1_000 */
  limit?: number;
}

/** The dead letters of a node, as its user sees them. */
export interface DeadLetterBox {
  /** The oldest first. @throws {BusError} `OPTION_INVALID`, `PATTERN_INVALID`. */
  list(filter?: DeadLetterFilter): Promise<DeadLetter[]>;
  /** @throws {BusError} `NOT_FOUND`. */
  get(id: string): Promise<DeadLetter>;
  /**
   * Puts messages back into the tail of their subscriptions' mailboxes, with their attempts counted anew. Unless every id and
   * every subscription is found, nothing is moved.
   *
   * @returns how many were moved.
   * @throws {BusError} `NOT_FOUND`; `MAILBOX_FULL`, saying how many were moved before.
   */
  replay(ids: readonly string[]): Promise<number>;
  /** Throws messages away for good. @returns how many. @throws {BusError} `NOT_FOUND`, and nothing is dropped. */
  drop(ids: readonly string[]): Promise<number>;
}

/** Takes a replayed message into the tail of its lane. */
export type Replay = (letter: Message) => 'accepted' | 'full' | 'closed';

interface DeadLettersOptions {
  store: Store;
  clock: Clock;
  /** How many are kept. */
  limit: number;
  /** How a subscription takes a message back; undefined when there is none of that name. */
  replayTo(subscription: string): Replay | undefined;
}

const prefix = 'dead/';

/** The dead letters of a node. When they are full, nothing is thrown away: what gives up more has to wait. */
export class DeadLetters implements DeadLetterBox {
  readonly #options: DeadLettersOptions;
  readonly #waiters = new Set<() => void>();
  #size = 0;
  #counter = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: DeadLettersOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#size;
  }

  /** Keeps a message that was given up. @returns false, and keeps nothing, when they are full. */
  add(delivery: Delivery, reason: DeadReason, error: unknown): Promise<void> | false {
    const { store, clock, limit } = this.#options;
    if (this.#size >= limit) return false;
    this.#size++;
    const now = clock.now();
    const id = `${now.toString(36).padStart(9, '0')}-${(this.#counter++).toString(36).padStart(6, '0')}`;
    const { message } = delivery;
    const { payload, problem } = storable(message);
    const failure = failureRecord(error, now);
    const last = problem === undefined ? failure : { ...failure, message: `${failure.message} (${problem})` };
    const record = {
      v: 1,
      id,
      subscription: delivery.subscription,
      messageId: message.id,
      topic: message.topic,
      headers: message.headers,
      ...(message.key === undefined ? {} : { key: message.key }),
      reason,
      attempts: delivery.attempt,
      firstError: delivery.history?.firstError ?? last,
      lastError: last,
      source: message.source,
      publishedAt: message.publishedAt,
      deadAt: now,
      payload,
      size: message.size,
    };
    return store.write([{ type: 'put', key: prefix + id, value: encodePayload(record) }], true);
  }

  /** Calls `fn` once when there is room again. @returns a function that stops the waiting. */
  whenRoom(fn: () => void): () => void {
    this.#waiters.add(fn);
    return () => this.#waiters.delete(fn);
  }

  /** The oldest first. @throws {BusError} `OPTION_INVALID`, `PATTERN_INVALID`. */
  async list(filter: DeadLetterFilter = {}): Promise<DeadLetter[]> {
    const { subscription, topic, since, limit = 1000 } = checkFilter(filter);
    const pattern = topic === undefined ? undefined : compilePattern(topic);
    const found: DeadLetter[] = [];
    for await (const [, value] of this.#options.store.scan(prefixRange(prefix))) {
      const stored = decodePayload(value) as StoredLetter;
      if (subscription !== undefined && stored.subscription !== subscription) continue;
      if (pattern !== undefined && !pattern.test(stored.topic)) continue;
      if (since !== undefined && stored.deadAt < Number(since)) continue;
      if (found.length >= limit) break;
      found.push(letterOf(stored));
    }
    return found;
  }

  /** @throws {BusError} `NOT_FOUND`. */
  async get(id: string): Promise<DeadLetter> {
    return letterOf(await this.#read(id));
  }

  replay(ids: readonly string[]): Promise<number> {
    return this.#inTurn(() => this.#replay(checkIds('replay()', ids)));
  }

  drop(ids: readonly string[]): Promise<number> {
    return this.#inTurn(() => this.#drop(checkIds('drop()', ids)));
  }

  /** One after the other: two that move the same letter would both find it. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => undefined);
    return done;
  }

  async #replay(ids: readonly string[]): Promise<number> {
    const letters: { stored: StoredLetter; replay: Replay }[] = [];
    for (const id of ids) {
      const stored = await this.#read(id);
      const replay = this.#options.replayTo(stored.subscription);
      if (replay === undefined) {
        throw new BusError(
          'NOT_FOUND',
          `dead letter ${id} belongs to subscription '${stored.subscription}', which does not exist now: subscribe it again, or drop the letter`,
        );
      }
      letters.push({ stored, replay });
    }
    let moved = 0;
    for (const { stored, replay } of letters) {
      const outcome = replay(messageOf(stored));
      if (outcome !== 'accepted') {
        throw new BusError(
          outcome === 'full' ? 'MAILBOX_FULL' : 'CLOSED',
          `the mailbox of '${stored.subscription}' is ${outcome}: ${moved} of ${letters.length} were replayed, repeat the rest later`,
        );
      }
      await this.#remove(stored.id);
      moved++;
    }
    return moved;
  }

  async #drop(ids: readonly string[]): Promise<number> {
    for (const id of ids) await this.#read(id);
    for (const id of ids) await this.#remove(id);
    return ids.length;
  }

  async #read(id: string): Promise<StoredLetter> {
    const value = await this.#options.store.get(prefix + id);
    if (value === undefined) throw new BusError('NOT_FOUND', `there is no dead letter ${describe(id)}`);
    return decodePayload(value) as StoredLetter;
  }

  async #remove(id: string): Promise<void> {
    await this.#options.store.write([{ type: 'del', key: prefix + id }], true);
    this.#size--;
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiters) waiter();
  }
}

/** A dead letter as it is stored: its payload stays encoded. */
interface StoredLetter extends Omit<DeadLetter, 'payload'> {
  /** The format version. */
  readonly v: number;
  readonly payload: Uint8Array;
  readonly size: number;
}

function letterOf({ v: _, size: __, ...stored }: StoredLetter): DeadLetter {
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

function messageOf(stored: StoredLetter): Message {
  const { topic, headers, key, publishedAt, source, size, messageId, payload } = stored;
  return new Message(topic, undefined, headers, key, publishedAt, source, size, messageId, 0, payload, decodePayload);
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

function checkIds(what: string, ids: readonly string[]): string[] {
  if (!Array.isArray(ids) || !ids.every((id) => typeof id === 'string')) {
    throw new BusError('OPTION_INVALID', `${what} takes a list of the ids of dead letters, not ${describe(ids)}`);
  }
  return [...new Set(ids)];
}

const filterKeys = ['subscription', 'topic', 'since', 'limit'];

function checkFilter(filter: DeadLetterFilter): DeadLetterFilter {
  if (typeof filter !== 'object' || filter === null)
    throw new BusError('OPTION_INVALID', `a filter is an object, not ${describe(filter)}`);
  const wrong = (name: string, value: unknown, rule: string): BusError =>
    new BusError('OPTION_INVALID', `filter: ${name} ${describe(value)} must be ${rule}`);
  for (const key of Object.keys(filter)) {
    if (!filterKeys.includes(key)) {
      throw new BusError(
        'OPTION_INVALID',
        `filter: there is no '${key}'; it has ${filterKeys.map((name) => `'${name}'`).join(', ')}`,
      );
    }
  }
  const { subscription, since, limit } = filter;
  if (subscription !== undefined && typeof subscription !== 'string')
    throw wrong('subscription', subscription, 'a name');
  if (limit !== undefined && !(Number.isSafeInteger(limit) && limit >= 0))
    throw wrong('limit', limit, 'a whole number from 0');
  if (since !== undefined && !((typeof since === 'number' || since instanceof Date) && !Number.isNaN(Number(since)))) {
    throw wrong('since', since, 'a Date or milliseconds since 1970');
  }
  return filter;
}
