import { type Deferred, deferred } from '../core/async.ts';
import { BusError, toError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import type { Batch, Commits, Participant } from '../storage/commits.ts';
import { packRecord, recordKind, unpackRecord } from '../storage/record.ts';
import { type KeyRange, prefixRange } from '../storage/store.ts';
import { type StoredLetter, unpackLetter } from './dead-letter.ts';
import { letterPrefix, timeOf } from './dead-letter-filter.ts';
import { Moves } from './moves.ts';

/** The key of the record that says how many there are. It is written in the batch of every change. */
export const summaryKey = 'dl';

/** A letter that has been read, and what its record takes. */
export interface ReadLetter {
  readonly stored: StoredLetter;
  readonly length: number;
}

/**
 * The records of a node's dead letters, and how many there are: exactly, after a crash or a failed commit too.
 *
 * What is to be added is written again after a failed commit, for whoever gave it up waits. What is to be removed is not:
 * where its message was to go, in the same batch, may have been told that nothing came. Once the store is open again it
 * holds both or neither, and is asked.
 */
export class LetterRecords implements Participant {
  protected readonly commits: Commits;
  protected readonly log: Logger;
  readonly #waiters = new Set<() => void>();
  readonly #added = new Moves();
  /** By id, what their records take: to be removed with the next commit, being removed, and by one that failed. */
  #removed = new Map<string, number>();
  #leaving = new Map<string, number>();
  readonly #unsure = new Map<string, number>();
  /** Who waits for the next commit, and who for the one that is being written. */
  #waiting: Waiter[] = [];
  #flying: Waiter[] = [];
  #size = 0;
  #bytes = 0;
  #lastTime = '';
  #counter = 0;

  constructor(commits: Commits, log: Logger) {
    this.commits = commits;
    this.log = log;
  }

  get size(): number {
    return this.#size;
  }

  /** What they take in the store. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Reads how many there are; counts them when that is not written, or cannot be read. */
  async open(): Promise<void> {
    const { store } = this.commits;
    for await (const [key] of store.scan({ ...prefixRange(letterPrefix), reverse: true })) {
      const [, time = '', count = ''] = /^dead\/([0-9a-z]{9})-([0-9a-z]+)$/.exec(key) ?? [];
      if (time !== '') [this.#lastTime, this.#counter] = [time, Number.parseInt(count, 36) + 1];
      break;
    }
    const value = await store.get(summaryKey);
    try {
      if (value !== undefined) {
        const { count, bytes } = unpackRecord(recordKind.dead, summaryKey, value);
        this.#size = count as number; // the record's checksum is right
        this.#bytes = bytes as number;
        return;
      }
    } catch (error) {
      this.log.error({ err: toError(error) }, 'how many dead letters there are cannot be read: they are counted');
    }
    [this.#size, this.#bytes] = [0, 0];
    for await (const [, record] of store.scan(prefixRange(letterPrefix))) {
      this.#size++;
      this.#bytes += record.length;
    }
    if (this.#size > 0) this.commits.touch(this);
  }

  /** Calls `fn` once when there is room again. @returns a function that stops the waiting. */
  whenRoom(fn: () => void): () => void {
    this.#waiters.add(fn);
    return () => this.#waiters.delete(fn);
  }

  collect(batch: Batch): void {
    this.#added.collect(batch);
    for (const id of this.#removed.keys()) batch.del(letterPrefix + id);
    [this.#leaving, this.#removed] = [this.#removed, this.#leaving]; // the other one is empty
    batch.put(summaryKey, packRecord(recordKind.dead, { count: this.#size, bytes: this.#bytes }));
    batch.sync ||= this.#waiting.length > 0;
    this.#flying = this.#waiting;
    this.#waiting = [];
  }

  committed(): void {
    this.#added.committed();
    this.#leaving.clear();
    const flying = this.#flying;
    this.#flying = [];
    for (const { done } of flying) done.resolve();
  }

  failed(error: BusError): void {
    this.#added.failed();
    for (const [id, length] of this.#leaving) this.#unsure.set(id, length);
    for (const length of [...this.#leaving.values(), ...this.#removed.values()]) this.#count(1, length);
    this.#leaving.clear();
    this.#removed.clear();
    const waiting = [...this.#flying, ...this.#waiting];
    this.#flying = [];
    this.#waiting = waiting.filter(({ patient }) => patient);
    const text = `${error.message}: which dead letters were moved is not known, list them when the store is open again`;
    const failure = error.code === 'CLOSED' ? error : new BusError(error.code, text, { cause: error });
    for (const { patient, done } of waiting) if (!patient) done.reject(failure);
  }

  async restored(): Promise<void> {
    for (const [id, length] of [...this.#unsure]) {
      const there = (await this.commits.store.get(letterPrefix + id)) !== undefined;
      this.#unsure.delete(id);
      if (!there) this.#count(-1, length);
    }
    this.commits.touch(this);
  }

  /** An id above all there are, whatever the clock does. */
  protected newId(now: number): string {
    const time = timeOf(now);
    if (time > this.#lastTime) [this.#lastTime, this.#counter] = [time, 0];
    return `${this.#lastTime}-${(this.#counter++).toString(36).padStart(6, '0')}`;
  }

  /** A record is written with the next commit, by whoever asked for it. */
  protected entered(value: Uint8Array): void {
    this.#count(1, value.length);
    this.commits.touch(this);
  }

  /** Writes a record. Resolves when the medium has it, however long the store is away. */
  protected put(key: string, value: Uint8Array): Promise<void> {
    this.#added.put(key, value);
    return this.written(true);
  }

  /** Removes a record with the next commit. */
  protected remove(id: string, length: number): void {
    this.#removed.set(id, length);
    this.#count(-1, length);
    this.commits.touch(this);
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiters) waiter();
  }

  /** Resolves when the medium has all changes. @param patient whether to wait for the store when that fails. */
  protected written(patient = false): Promise<void> {
    const done = deferred<void>();
    this.#waiting.push({ done, patient });
    this.commits.touch(this);
    return done.promise;
  }

  /** What is in a range. What cannot be read is logged and passed over. */
  protected async *read(range: KeyRange): AsyncGenerator<ReadLetter> {
    await this.commits.flushed();
    for await (const [key, value] of this.commits.store.scan(range)) {
      let stored: StoredLetter;
      try {
        stored = unpackLetter(key, value);
      } catch (error) {
        this.log.error({ err: toError(error), key }, 'a dead letter cannot be read; it is passed over');
        continue;
      }
      yield { stored, length: value.length };
    }
  }

  #count(by: 1 | -1, length: number): void {
    this.#size += by;
    this.#bytes += by * length;
  }
}

interface Waiter {
  readonly done: Deferred<void>;
  readonly patient: boolean;
}
