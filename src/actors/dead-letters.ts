import type { Clock } from '../core/clock.ts';
import { BusError, describe, toError } from '../core/errors.ts';
import { type Logger, silentLogger } from '../core/log.ts';
import type { Message } from '../core/message.ts';
import type { DeadReason } from '../core/retry.ts';
import type { Commits } from '../storage/commits.ts';
import {
  type Condemned,
  type DeadLetter,
  type DeadLetterBox,
  type DeadLetterChanges,
  type DeadLetterChoice,
  type DeadLetterFilter,
  type DeadLetterGroup,
  letterOf,
  messageOf,
  packLetter,
  type StoredLetter,
  unpackLetter,
} from './dead-letter.ts';
import { editedMessage, type Prepare } from './dead-letter-edit.ts';
import { checkChoice, LetterFilter, letterPrefix } from './dead-letter-filter.ts';
import { Grouping } from './dead-letter-groups.ts';
import { LetterRecords, type ReadLetter } from './dead-letter-records.ts';

export type {
  Condemned,
  DeadLetter,
  DeadLetterBox,
  DeadLetterChanges,
  DeadLetterChoice,
  DeadLetterFilter,
  DeadLetterGroup,
} from './dead-letter.ts';

/** Takes a replayed message into the tail of its lane. */
export type Replay = (letter: Message) => 'accepted' | 'full' | 'closed';

interface DeadLettersOptions {
  commits: Commits;
  clock: Clock;
  /** How much is kept. */
  limits: { readonly messages: number; readonly bytes: number };
  /** Hears of letters that cannot be read. @default nobody does */
  log?: Logger;
  /** How a subscription takes a message back; undefined when there is none of that name. */
  replayTo(subscription: string): Replay | undefined;
  /** Checks and makes a message as `publish()` does; without it nothing can be edited. */
  prepare?: Prepare;
}

/** What is moved with one commit, and is in memory meanwhile. */
const page = { letters: 256, bytes: 4 * 1024 * 1024 };
const defaultLimit = { list: 1000, groups: 100 };

/** The dead letters of a node. When they are full, nothing is thrown away: what gives up more has to wait. */
export class DeadLetters extends LetterRecords implements DeadLetterBox {
  readonly #options: DeadLettersOptions;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: DeadLettersOptions) {
    super(options.commits, options.log ?? silentLogger);
    this.#options = options;
  }

  /** Keeps a message that was given up. @returns false, and keeps nothing, when they are full. */
  add(condemned: Condemned, reason: DeadReason, error: unknown): Promise<void> | false {
    const record = this.record(condemned, reason, error);
    if (record === undefined) return false;
    return this.put(record.key, record.value);
  }

  /**
   * The record of a message that is given up, to be written in the next commit, with the message's removal from where it
   * was. @returns undefined when they are full.
   */
  record(condemned: Condemned, reason: DeadReason, error: unknown): { key: string; value: Uint8Array } | undefined {
    const { clock, limits } = this.#options;
    if (this.size >= limits.messages || this.bytes >= limits.bytes) return undefined;
    const now = clock.now();
    const id = this.newId(now);
    const value = packLetter(id, condemned, reason, error, now);
    this.entered(value);
    return { key: letterPrefix + id, value };
  }

  /** The oldest first. @throws {BusError} `OPTION_INVALID`, `PATTERN_INVALID`. */
  async list(filter: DeadLetterFilter = {}): Promise<DeadLetter[]> {
    const found: DeadLetter[] = [];
    for await (const { stored } of this.matching(new LetterFilter(filter), defaultLimit.list)) {
      found.push(letterOf(stored));
    }
    return found;
  }

  async groups(filter: DeadLetterFilter = {}): Promise<DeadLetterGroup[]> {
    const { limit, ...rest } = filter;
    const checked = new LetterFilter(filter);
    const grouping = new Grouping();
    for await (const { stored } of this.matching(new LetterFilter(rest))) grouping.add(stored);
    return grouping.largest(checked.limit ?? defaultLimit.groups);
  }

  /** @throws {BusError} `NOT_FOUND`, `STORE_CORRUPT`. */
  async get(id: string): Promise<DeadLetter> {
    return letterOf(await this.stored(id));
  }

  /** As `get`, with its payload as it is stored. */
  async stored(id: string): Promise<StoredLetter> {
    await this.commits.flushed();
    return (await this.#get(id)).stored;
  }

  replay(what: DeadLetterChoice): Promise<number> {
    return this.#inTurn(async () => {
      const choice = checkChoice('replay()', what);
      if ('filter' in choice) return this.#replay(this.matching(choice.filter));
      for (const id of choice.ids) this.#target((await this.#get(id)).stored);
      return this.#replay(this.#each(choice.ids), choice.ids.length);
    });
  }

  edit(id: string, changes: DeadLetterChanges): Promise<void> {
    return this.#inTurn(async () => {
      const { prepare } = this.#options;
      if (prepare === undefined) throw new BusError('OPTION_INVALID', 'letters cannot be edited here');
      const { stored, length } = await this.#get(id);
      const outcome = this.#target(stored)(editedMessage(stored, changes, prepare));
      if (outcome !== 'accepted') throw refused(outcome, stored.subscription, 'the letter stays');
      this.remove(id, length);
      await this.written();
    });
  }

  drop(what: DeadLetterChoice): Promise<number> {
    return this.#inTurn(async () => {
      const choice = checkChoice('drop()', what);
      let dropped = 0;
      let gone: [id: string, length: number][] = [];
      const drop = async (): Promise<void> => {
        for (const [id, length] of gone) this.remove(id, length);
        await this.written();
        dropped += gone.length;
        gone = [];
      };
      if ('ids' in choice) {
        for (const id of choice.ids) gone.push([id, (await this.#record(id)).length]);
      } else {
        for await (const { stored, length } of this.matching(choice.filter)) {
          if (gone.push([stored.id, length]) >= 4 * page.letters) await drop();
        }
      }
      await drop();
      return dropped;
    });
  }

  /** Letters as they are stored, the oldest first, read as fast as somebody asks for them. */
  async *matching(filter: LetterFilter, limit = Number.POSITIVE_INFINITY): AsyncGenerator<ReadLetter> {
    let left = filter.limit ?? limit;
    if (left === 0) return;
    for await (const letter of this.read(filter.range)) {
      if (!filter.matches(letter.stored)) continue;
      yield letter;
      if (--left === 0) return;
    }
  }

  /** One after the other: two that move the same letter would both find it. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(() => this.commits.flushed()).then(work);
    this.#last = done.catch(() => undefined);
    return done;
  }

  /** Moves letters into their mailboxes, as many with one commit as may be in memory. @param of how many there are. */
  async #replay(letters: AsyncIterable<ReadLetter>, of?: number): Promise<number> {
    let moved = 0;
    let waiting: ReadLetter[] = [];
    let bytes = 0;
    const move = async (): Promise<void> => {
      const given = waiting;
      [waiting, bytes] = [[], 0];
      let count = 0;
      let problem: BusError | undefined;
      for (const letter of given) {
        problem = this.#move(letter, () => `${moved + count}${of === undefined ? '' : ` of ${of}`} were replayed`);
        if (problem !== undefined) break;
        count++;
      }
      await this.written();
      moved += count;
      if (problem !== undefined) throw problem;
    };
    for await (const letter of letters) {
      bytes += letter.length;
      if (waiting.push(letter) >= page.letters || bytes >= page.bytes) await move();
    }
    await move();
    return moved;
  }

  /** Its removal and its entry are in one batch. @returns why it is not moved. */
  #move({ stored, length }: ReadLetter, progress: () => string): BusError | undefined {
    try {
      const outcome = this.#target(stored)(messageOf(stored));
      if (outcome !== 'accepted') return refused(outcome, stored.subscription, `${progress()}, repeat the rest later`);
      this.remove(stored.id, length);
      return undefined;
    } catch (thrown) {
      const error = toError(thrown);
      const code = error instanceof BusError ? error.code : 'INTERNAL';
      return new BusError(code, `${error.message}; ${progress()}`, { cause: error });
    }
  }

  #target({ id, subscription }: StoredLetter): Replay {
    const replay = this.#options.replayTo(subscription);
    if (replay !== undefined) return replay;
    throw new BusError(
      'NOT_FOUND',
      `dead letter ${id} belongs to subscription '${subscription}', which does not exist now: subscribe it again, or drop the letter`,
    );
  }

  async *#each(ids: readonly string[]): AsyncGenerator<ReadLetter> {
    for (const id of ids) yield await this.#get(id);
  }

  async #get(id: string): Promise<ReadLetter> {
    const value = await this.#record(id);
    return { stored: unpackLetter(letterPrefix + id, value), length: value.length };
  }

  async #record(id: string): Promise<Uint8Array> {
    const value = await this.commits.store.get(letterPrefix + id);
    if (value === undefined) throw new BusError('NOT_FOUND', `there is no dead letter ${describe(id)}`);
    return value;
  }
}

function refused(outcome: 'full' | 'closed', subscription: string, rest: string): BusError {
  const code = outcome === 'full' ? 'MAILBOX_FULL' : 'CLOSED';
  return new BusError(code, `the mailbox of '${subscription}' is ${outcome}: ${rest}`);
}
