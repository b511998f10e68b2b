import { writeSync } from 'node:fs';
import type { StoreSource } from '../../src/actors/admin.ts';
import { systemClock } from '../../src/core/clock.ts';
import type { KeyRange, Store, StoreOperation } from '../../src/storage/store.ts';
import type { Address } from '../../src/transport/address.ts';
import { TcpTransport } from '../../src/transport/tcp.ts';
import type { Connection, ConnectionEvents, Listener, Transport } from '../../src/transport/transport.ts';

/** Counts the moments of a step, and ends the process at one of them, as a crash would. */
export class Points {
  readonly #killAt: number;
  readonly passed: string[] = [];
  counting = false;

  /** @param killAt which one, from 1; 0 for none. */
  constructor(killAt: number) {
    this.#killAt = killAt;
  }

  pass(what: string): void {
    if (!this.counting) return;
    this.passed.push(what);
    if (this.passed.length === this.#killAt) {
      writeSync(1, `${JSON.stringify({ event: 'killed', what })}\n`);
      process.kill(process.pid, 'SIGKILL');
    }
  }
}

/** A store that tells before and after each write, and while LevelDB is at it. */
class WatchedStore implements Store {
  readonly #store: Store;
  readonly #points: Points;

  constructor(store: Store, points: Points) {
    [this.#store, this.#points] = [store, points];
  }

  async write(operations: readonly StoreOperation[], sync: boolean): Promise<void> {
    this.#points.pass('before a write');
    const written = this.#store.write(operations, sync);
    setImmediate(() => this.#points.pass('in a write'));
    await written;
    this.#points.pass('after a write');
  }

  get(key: string): Promise<Uint8Array | undefined> {
    return this.#store.get(key);
  }

  scan(range: KeyRange): AsyncIterable<readonly [string, Uint8Array]> {
    return this.#store.scan(range);
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}

export class WatchedSource implements StoreSource {
  readonly name: string;
  readonly #source: StoreSource;
  readonly #points: Points;

  constructor(source: StoreSource, points: Points) {
    this.name = source.name;
    [this.#source, this.#points] = [source, points];
  }

  async open(): Promise<Store> {
    return new WatchedStore(await this.#source.open(), this.#points);
  }

  relieve(): Promise<void> {
    return this.#source.relieve();
  }

  restore(): Promise<void> {
    return this.#source.restore();
  }
}

class WatchedConnection implements Connection {
  readonly #connection: Connection;
  readonly #points: Points;

  constructor(connection: Connection, points: Points) {
    [this.#connection, this.#points] = [connection, points];
  }

  get remote(): string {
    return this.#connection.remote;
  }

  open(events: ConnectionEvents): void {
    this.#connection.open({
      data: (chunk) => {
        this.#points.pass('before something received');
        events.data(chunk);
      },
      drain: () => events.drain(),
      closed: (error) => events.closed(error),
    });
  }

  write(chunk: Uint8Array): boolean {
    this.#points.pass('before a send');
    const more = this.#connection.write(chunk);
    this.#points.pass('after a send');
    return more;
  }

  close(): void {
    this.#connection.close();
  }

  destroy(reason?: Error): void {
    this.#connection.destroy(reason);
  }
}

export class WatchedTransport implements Transport {
  readonly #transport = new TcpTransport({ clock: systemClock });
  readonly #points: Points;

  constructor(points: Points) {
    this.#points = points;
  }

  listen(address: Address, accept: (connection: Connection) => void): Promise<Listener> {
    return this.#transport.listen(address, (connection) => accept(new WatchedConnection(connection, this.#points)));
  }

  async dial(address: Address, options: { readonly timeout: number }): Promise<Connection> {
    return new WatchedConnection(await this.#transport.dial(address, options), this.#points);
  }
}
