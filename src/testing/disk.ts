import type { StoreSource } from '../actors/admin.ts';
import type { Clock } from '../core/clock.ts';
import { BusError } from '../core/errors.ts';
import type { KeyRange, Store, StoreOperation } from '../storage/store.ts';

/** What becomes of the next write: it fails, and the batch stands on the disk or does not. */
export type Fault = 'applied' | 'lost';

/** What outlives a process: batches in the order of their writing, of which a crash of the machine may take the unsynced end. */
export class Disk {
  /** What the medium has. */
  #safe = new Map<string, Uint8Array>();
  /** What only the operating system has. */
  #unsafe: (readonly StoreOperation[])[] = [];
  /** All of it. */
  values = new Map<string, Uint8Array>();
  /** How many batches were written. */
  batches = 0;

  apply(operations: readonly StoreOperation[], sync: boolean): void {
    this.batches++;
    change(this.values, operations);
    this.#unsafe.push(operations);
    if (sync) this.sync();
  }

  sync(): void {
    for (const operations of this.#unsafe) change(this.#safe, operations);
    this.#unsafe = [];
  }

  /** The machine stops: of the batches that the medium does not have, the first `share` of 0 to 1 are there afterwards. */
  powerOff(share: number): void {
    const kept = Math.floor(share * (this.#unsafe.length + 1));
    for (const operations of this.#unsafe.slice(0, kept)) change(this.#safe, operations);
    this.#unsafe = [];
    this.values = new Map(this.#safe);
  }

  /** Changes a value behind everybody's back. */
  tamper(key: string, value: Uint8Array | undefined): void {
    this.sync();
    change(this.#safe, [value === undefined ? { type: 'del', key } : { type: 'put', key, value }]);
    this.values = new Map(this.#safe);
  }

  keys(prefix: string): string[] {
    return [...this.values.keys()].filter((key) => key.startsWith(prefix)).sort();
  }
}

function change(values: Map<string, Uint8Array>, operations: readonly StoreOperation[]): void {
  for (const operation of operations) {
    if (operation.type === 'put') values.set(operation.key, operation.value);
    else values.delete(operation.key);
  }
}

/** How a store behaves. */
export interface Behaviour {
  /** The longest that a write takes, in milliseconds. */
  delay: number;
  /** Of the writes to come, which fail: by their place, 0 being the next. */
  faults: Map<number, Fault>;
  /** How often opening fails before it succeeds. */
  refusals: number;
  /** There is no room: every write is refused. */
  full: boolean;
  /** How often a write right after opening fails. */
  scanFaults: number;
}

/** A store over a {@link Disk}, which takes its time and fails when it is told to; after that it refuses everything. */
export class FaultyStore implements Store {
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #behaviour: Behaviour;
  readonly #dead: () => boolean;
  #turn: Promise<unknown> = Promise.resolve();
  #failed = false;
  #closed = false;

  constructor(disk: Disk, clock: Clock, behaviour: Behaviour, dead: () => boolean) {
    this.#disk = disk;
    this.#clock = clock;
    this.#behaviour = behaviour;
    this.#dead = dead;
  }

  write(operations: readonly StoreOperation[], sync: boolean): Promise<void> {
    if (this.#closed) return Promise.reject(new BusError('CLOSED', 'the store is closed'));
    const copy = operations.map((each) =>
      each.type === 'put' ? { ...each, value: new Uint8Array(each.value) } : each,
    );
    const write = this.#turn.then(() => this.#write(copy, sync));
    this.#turn = write.catch(() => undefined);
    return write;
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    this.#check();
    await this.#wait();
    return this.#disk.values.get(key);
  }

  async *scan({ gte, lt, reverse }: KeyRange): AsyncGenerator<readonly [string, Uint8Array]> {
    this.#check();
    const found = [...this.#disk.values].filter(([key]) => key >= gte && key < lt);
    found.sort(([a], [b]) => (a < b ? -1 : 1));
    if (reverse === true) found.reverse();
    for (const entry of found) {
      if (this.#clock.random() < 0.3) await this.#wait();
      this.#check();
      if (this.#behaviour.scanFaults > 0 && this.#clock.random() < 0.5) {
        this.#behaviour.scanFaults--;
        throw new BusError('STORE_FAILED', 'a read failed');
      }
      yield entry;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#turn;
  }

  async #write(operations: readonly StoreOperation[], sync: boolean): Promise<void> {
    if (this.#failed) throw new BusError('STORE_FAILED', 'the store takes no writes after one that failed');
    const { delay, faults } = this.#behaviour;
    const time = Math.floor(this.#clock.random() * (delay + 1));
    if (time > 0) await new Promise<void>((done) => void this.#clock.timer(time, done));
    if (this.#dead()) await never;
    if (this.#behaviour.full) {
      this.#failed = true;
      throw new BusError('STORE_FULL', 'there is no room on the disk');
    }
    const fault = faults.get(0);
    this.#behaviour.faults = new Map([...faults].filter(([at]) => at > 0).map(([at, which]) => [at - 1, which]));
    if (fault !== 'lost') this.#disk.apply(operations, sync && fault === undefined);
    if (fault === undefined) return;
    this.#failed = true;
    throw new BusError('STORE_FAILED', `a write failed (${fault})`);
  }

  #wait(): Promise<void> {
    return new Promise((done) => this.#clock.immediate(done));
  }

  #check(): void {
    if (this.#closed) throw new BusError('CLOSED', 'the store is closed');
  }
}

const never = new Promise<never>(() => {});

/** Opens stores over one disk, one after the other. */
export class FaultySource implements StoreSource {
  readonly name = 'faulty';
  readonly disk: Disk;
  readonly behaviour: Behaviour;
  readonly #clock: Clock;
  dead = false;

  constructor(disk: Disk, clock: Clock, delay = 0) {
    this.disk = disk;
    this.#clock = clock;
    this.behaviour = { delay, faults: new Map(), refusals: 0, scanFaults: 0, full: false };
  }

  async open(): Promise<Store> {
    if (this.behaviour.refusals > 0) {
      this.behaviour.refusals--;
      throw new BusError('STORE_FAILED', 'the store cannot be opened');
    }
    // What a failed write has left behind is read back by LevelDB into a new table, and that is synced.
    this.disk.sync();
    return new FaultyStore(this.disk, this.#clock, this.behaviour, () => this.dead);
  }

  async relieve(): Promise<void> {}
  async restore(): Promise<void> {}
}
