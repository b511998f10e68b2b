import type { Clock } from '../core/clock.ts';
import { BusError } from '../core/errors.ts';
import type { EventHub } from '../core/events.ts';
import type { Logger } from '../core/log.ts';
import { backoff } from '../core/retry.ts';
import { Commits, type CommitsHost, type Participant } from '../storage/commits.ts';
import type { Store } from '../storage/store.ts';

/** Where a node's store comes from. */
export interface StoreSource {
  /** What it is called in messages: its folder. */
  readonly name: string;
  /** Opens it, for the first time or again. @throws {BusError} */
  open(): Promise<Store>;
  /** The disk is full: gives back what was kept for that. @returns whether there was anything. */
  relieve(): Promise<void>;
  /** All is well again. */
  restore(): Promise<void>;
}

/** What the administration needs of its node. */
export interface AdminHost {
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: EventHub;
  readonly source: StoreSource;
  /** Everybody knows what the disk holds; the first commit follows. */
  restored(): void;
}

/** How long to wait between attempts to open a store again, in milliseconds. */
const retry = { delay: 50, factor: 2, maxDelay: 2000, jitter: 0.2 };

/**
 * Administers a node's store: opens it, and after a failed commit closes it and opens it again, because what LevelDB
 * acknowledges after a failed append can be lost (measured). Until it is open, everybody is refused at once.
 */
export class Admin implements CommitsHost {
  readonly clock: Clock;
  readonly commits: Commits;
  readonly #host: AdminHost;
  readonly #participants = new Set<Participant>();
  #store: Store | undefined;
  #recovering: Promise<void> | undefined;
  #restoring: Promise<void> | undefined;
  #closed = false;

  constructor(host: AdminHost) {
    this.#host = host;
    this.clock = host.clock;
    this.commits = new Commits(this);
  }

  /** @throws {BusError} `STORE_LOCKED`, `STORE_FULL`, `STORE_FAILED`, `STORE_CORRUPT`. */
  async open(): Promise<void> {
    this.#store = await this.#host.source.open();
    this.commits.open(this.#store);
  }

  /** Somebody whose knowledge is compared with the disk after a failure. */
  join(participant: Participant): void {
    this.#participants.add(participant);
  }

  leave(participant: Participant): void {
    this.#participants.delete(participant);
  }

  failed(error: BusError): void {
    const { events, source, log } = this.#host;
    events.emit({ type: 'store.failed', folder: source.name, error });
    if (this.#closed) return;
    this.#recovering ??= this.#recover().catch((err: unknown) => log.error({ err }, 'the store stays closed'));
  }

  /** Writes what there is, and lets go of the store. */
  async close(): Promise<void> {
    while (!this.commits.idle) await this.commits.flushed();
    this.#closed = true;
    await this.#recovering;
    await this.#restoring;
    this.commits.close(new BusError('CLOSED', 'the store is closed'));
    await this.#store?.close();
    this.#store = undefined;
  }

  async #recover(): Promise<void> {
    const { clock, events, source, log } = this.#host;
    const since = clock.monotonic();
    for (let failures = 1; !this.#closed; failures++) {
      try {
        await source.relieve();
        await this.#store?.close();
        this.#store = undefined;
        const store = await source.open();
        this.#store = store;
        // A write to the medium shows that there is room before anybody is let in.
        await store.write([{ type: 'put', key: 'probe', value: new Uint8Array(4096) }], true);
        this.commits.prepare(store);
        for (const participant of this.#participants) await participant.restored();
        this.#host.restored();
        this.commits.open(store);
        this.#recovering = undefined;
        events.emit({ type: 'store.recovered', folder: source.name, after: Math.round(clock.monotonic() - since) });
        // The store is in use again: what fails now is no reason to close it.
        this.#restoring = source.restore().catch((err: unknown) => log.warn({ err }, 'no room is kept on the disk'));
        return;
      } catch (err) {
        log.warn({ err, folder: source.name, failures }, 'the store cannot be opened yet; trying again');
        await pause(clock, backoff(retry, failures, clock.random()));
      }
    }
  }
}

function pause(clock: Clock, ms: number): Promise<void> {
  return new Promise((done) => {
    clock.timer(ms, done);
  });
}
