import type { Clock } from '../core/clock.ts';
import { BusError } from '../core/errors.ts';
import type { Store, StoreOperation } from './store.ts';

/** What is to be written in one go. */
export class Batch {
  readonly operations: StoreOperation[] = [];
  /** When it was put together, in milliseconds since the epoch. */
  readonly time: number;
  /** Whether the medium must have it before anybody is told. */
  sync = false;

  constructor(time: number) {
    this.time = time;
  }

  put(key: string, value: Uint8Array): void {
    this.operations.push({ type: 'put', key, value });
  }

  del(key: string): void {
    this.operations.push({ type: 'del', key });
  }
}

/** Who waits for a commit. */
export interface Commitment {
  /** What was given is written: to the medium, when `synced`. */
  committed(synced: boolean): void;
  /** It is not, or that is not known. */
  failed(error: BusError): void;
}

/** Somebody whose changes are written. */
export interface Participant {
  /** Adds what has gathered since the last time. */
  collect(batch: Batch): void;
  /** What was collected last has been written. */
  committed(): void;
  /** Whether what was collected last has been written is not known. `restored` follows, or the end. */
  failed(error: BusError): void;
  /** The store has been opened again: what it holds is to be compared with what is known. */
  restored(): Promise<void>;
}

/** What the commits need of the node's administration. */
export interface CommitsHost {
  readonly clock: Clock;
  /** A commit has failed: the store is to be closed, and opened again when it can be. */
  failed(error: BusError): void;
}

/**
 * Group commit: one atomic batch for all mailboxes of a node. What arrives while a write is under way is the next batch;
 * nothing ever waits for a timer.
 *
 * Commits are started by `setImmediate`: measured, that carries a tenth more than starting them at once, because what the
 * same turn of the event loop brings comes along.
 */
export class Commits {
  readonly #host: CommitsHost;
  #store: Store | undefined;
  #dirty = new Set<Participant>();
  #written: Participant[] = [];
  #scheduled = false;
  #writing = false;
  /** Somebody waits for what is to be written next. */
  #urgent = false;
  /** What is to be written next has given way once. */
  #yielded = false;
  /** Who has come last into `#dirty`. */
  #last: Participant | undefined;
  #error: BusError | undefined = new BusError('CLOSED', 'the store is not open yet');
  /** Who waits for the next commit, and who for the one that is being written. */
  #onNext: (() => void)[] = [];
  #onThis: (() => void)[] = [];
  #onOpen: (() => void)[] = [];
  /** How many batches have been written, and how many of them to the medium. */
  readonly counts = { commits: 0, synced: 0 };

  constructor(host: CommitsHost) {
    this.#host = host;
  }

  /** The store that is written to. @throws {BusError} the failure that it is not open for. */
  get store(): Store {
    if (this.#store === undefined) throw this.#error ?? new BusError('CLOSED', 'the store is not open');
    return this.#store;
  }

  /** Why nothing can be written now. */
  get error(): BusError | undefined {
    return this.#error;
  }

  /** The store can be read, but is not written to yet. */
  prepare(store: Store): void {
    this.#store = store;
  }

  /** The store is open, for the first time or again. */
  open(store: Store): void {
    this.#store = store;
    this.#error = undefined;
    if (this.#dirty.size > 0) this.#schedule();
    const waiting = this.#onOpen;
    this.#onOpen = [];
    for (const fn of waiting) fn();
  }

  /** Nothing is written any more, and who asks is told why. */
  close(error: BusError): void {
    this.#store = undefined;
    this.#error = error;
    const untold = [...this.#dirty];
    this.#dirty.clear();
    this.#last = undefined;
    for (const participant of untold) participant.failed(error);
    this.#onThis.push(...this.#onNext);
    this.#onNext = [];
    this.#release();
  }

  /** Calls `fn` once when the store is open: at once, or when it is open again. */
  whenOpen(fn: () => void): void {
    if (this.#error === undefined) fn();
    else this.#onOpen.push(fn);
  }

  /** A participant has something to write. */
  touch(participant: Participant): void {
    this.#urgent = true;
    this.touchLater(participant);
  }

  /** A participant has something to write for which nobody waits: it gives way to what one more turn brings. */
  touchLater(participant: Participant): void {
    if (participant === this.#last) return; // often the same, many times in a row
    this.#last = participant;
    this.#dirty.add(participant);
    if (!this.#writing) this.#schedule();
  }

  /** Writes single records with the next commit. @throws {BusError} when that fails: whether they are there is unknown. */
  write(operations: readonly StoreOperation[], sync: boolean): Promise<void> {
    if (this.#error !== undefined) return Promise.reject(this.#error);
    return new Promise((resolve, reject) => this.touch(new Single(operations, sync, resolve, reject)));
  }

  /** Resolves when everything that has been given to it until now is written, or cannot be. */
  flushed(): Promise<void> {
    if (this.idle) return Promise.resolve();
    return new Promise((done) => (this.#dirty.size > 0 ? this.#onNext : this.#onThis).push(done));
  }

  /** Whether nothing is to be written. */
  get idle(): boolean {
    return !this.#writing && (this.#dirty.size === 0 || this.#error !== undefined);
  }

  #schedule(): void {
    if (this.#scheduled || this.#store === undefined || this.#error !== undefined) return;
    this.#scheduled = true;
    this.#host.clock.immediate(this.#commit);
  }

  readonly #commit = (): void => {
    this.#scheduled = false;
    const store = this.#store;
    if (store === undefined || this.#error !== undefined || this.#dirty.size === 0) return;
    if (!this.#urgent && !this.#yielded) {
      this.#yielded = true;
      this.#schedule();
      return;
    }
    this.#urgent = this.#yielded = false;
    const batch = new Batch(this.#host.clock.now());
    this.#written = [...this.#dirty];
    this.#dirty.clear();
    this.#last = undefined;
    this.#onThis.push(...this.#onNext);
    this.#onNext = [];
    // Before they are asked: what they touch meanwhile is for the next one.
    this.#writing = true;
    for (const participant of this.#written) participant.collect(batch);
    if (batch.operations.length === 0) this.#done();
    else store.write(batch.operations, batch.sync).then(() => this.#count(batch.sync), this.#lost);
  };

  #count(sync: boolean): void {
    this.counts.commits++;
    if (sync) this.counts.synced++;
    this.#done();
  }

  #done(): void {
    this.#writing = false;
    const written = this.#written;
    this.#written = [];
    // Before what has been written is handed out: handlers then run while the next batch is on its way to the disk.
    this.#schedule();
    for (const participant of written) participant.committed();
    this.#release();
  }

  readonly #lost = (thrown: unknown): void => {
    this.#writing = false;
    const error =
      thrown instanceof BusError ? thrown : new BusError('STORE_FAILED', 'a commit failed', { cause: thrown });
    // Also those that have something to write and were not in it: what belongs together is given again together.
    for (const participant of this.#written) this.#dirty.add(participant);
    this.#written = [];
    this.close(error);
    this.#host.failed(error);
  };

  #release(): void {
    const waiting = this.#onThis;
    this.#onThis = [];
    for (const done of waiting) done();
  }
}

/** Records that are written once, for somebody who waits. */
class Single implements Participant {
  readonly #operations: readonly StoreOperation[];
  readonly #sync: boolean;
  readonly #resolve: () => void;
  readonly #reject: (error: BusError) => void;

  constructor(
    operations: readonly StoreOperation[],
    sync: boolean,
    resolve: () => void,
    reject: (error: BusError) => void,
  ) {
    this.#operations = operations;
    this.#sync = sync;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  collect(batch: Batch): void {
    batch.operations.push(...this.#operations);
    batch.sync ||= this.#sync;
  }

  committed(): void {
    this.#resolve();
  }

  failed(error: BusError): void {
    this.#reject(error);
  }

  async restored(): Promise<void> {}
}
