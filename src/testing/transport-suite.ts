import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Deferred, deferred } from '../core/async.ts';
import { systemClock } from '../core/clock.ts';
import { BusError, type ErrorCode } from '../core/errors.ts';
import { type Address, parseAddress } from '../transport/address.ts';
import type { Connection, Listener, Transport } from '../transport/transport.ts';

/** What {@link transportSuite} needs of a driver; made anew for each test. */
export interface TransportFixture {
  readonly transport: Transport;
  /** Where to listen: a new address at each call, or one with port 0. */
  address(): Address;
  /** Where nobody listens. */
  readonly dead: Address;
  /** Called after the test. */
  close?(): Promise<void>;
}

const patience = 20_000;
const dialTimeout = 5000;

/**
 * The contract of {@link Transport} as tests of node:test: call it in a test file of your own driver.
 *
 * @example transportSuite('carrier pigeons', async () => ({ transport: new PigeonTransport(), address, dead }));
 */
export function transportSuite(name: string, create: () => Promise<TransportFixture>): void {
  const check = (title: string, body: (world: World) => Promise<void>): void => {
    test(title, { timeout: patience }, async () => {
      const world = new World(await create());
      try {
        await body(world);
      } finally {
        await world.close();
      }
    });
  };
  describe(`transport: ${name}`, () => {
    exchangeTests(check);
    closingTests(check);
    listeningTests(check);
    for (const state of ['open', 'closing', 'closed'] as const) stateTests(check, state);
  });
}

type Check = (title: string, body: (world: World) => Promise<void>) => void;

function exchangeTests(check: Check): void {
  check('what is written arrives, so does the answer, and each end names the other', async (world) => {
    const [client, server] = await world.pair();
    assert.match(client.connection.remote, /./);
    assert.match(server.connection.remote, /./);
    client.connection.write(Buffer.from('ping'));
    assert.equal((await server.received(4)).toString(), 'ping');
    assert.equal(server.connection.write(new Uint8Array(0)), true, 'an empty chunk changes nothing');
    server.connection.write(Buffer.from('pong'));
    assert.equal((await client.received(4)).toString(), 'pong');
  });

  check('bytes arrive in order, however they are cut into chunks', async (world) => {
    const [client, server] = await world.pair();
    const all = pattern(300_000);
    const after = (length: number): number => ((length * 7) % 1021) + 1;
    for (let at = 0, length = 1; at < all.length; at += length, length = after(length)) {
      client.connection.write(all.subarray(at, at + length));
    }
    assert.equal(Buffer.compare(await server.received(all.length), all), 0);
  });

  check('32 MiB arrive whole, and a writer that heeds write() never has much under way', async (world) => {
    const [client, server] = await world.pair({ openServer: false });
    const chunk = pattern(65_521); // a prime, so that the pattern does not repeat with the chunks
    const total = 512 * chunk.length;
    let written = 0;
    let most = 0;
    let waits = 0;
    while (written < total) {
      written += chunk.length;
      const more = client.connection.write(chunk);
      most = Math.max(most, written - server.size);
      if (more) continue;
      waits++;
      const drained = client.drained();
      server.open();
      await drained;
    }
    server.open();
    const received = await server.received(total);
    assert.ok(waits > 0, 'write() never returned false');
    assert.ok(most <= 16_777_216, `${most} bytes were under way`);
    for (let at = 0; at < total; at += chunk.length) {
      assert.ok(received.subarray(at, at + chunk.length).equals(chunk), `wrong bytes in the chunk at ${at}`);
    }
  });

  check('nothing that came before open() is lost, nor an end behind it', async (world) => {
    const [client, server] = await world.pair({ openServer: false });
    client.connection.write(Buffer.from('last words'));
    client.connection.close();
    await turns();
    server.open();
    assert.equal(await server.closed, undefined);
    assert.equal(server.bytes().toString(), 'last words');
  });

  check('100 connections are kept apart', async (world) => {
    const [listening, next] = await world.collect();
    const name = (i: number): string => `this is number ${String(i).padStart(3, '0')}`;
    const clients = await Promise.all(Array.from({ length: 100 }, () => world.dial(listening.address)));
    for (const [i, client] of clients.entries()) {
      client.open();
      client.connection.write(Buffer.from(name(i)));
      const server = await next();
      server.open();
      void server.received(18).then((bytes) => server.connection.write(bytes));
    }
    for (const [i, client] of clients.entries()) assert.equal((await client.received(18)).toString(), name(i));
  });
}

function closingTests(check: Check): void {
  check('close() sends what was written, then both ends hear that it closed in order', async (world) => {
    const [client, server] = await world.pair();
    const all = pattern(1_000_000);
    client.connection.write(all.subarray(0, 500_000));
    client.connection.write(all.subarray(500_000));
    client.connection.close();
    assert.equal(await server.closed, undefined);
    assert.equal(Buffer.compare(server.bytes(), all), 0);
    assert.equal(await client.closed, undefined);
  });

  check('what the other end wrote before it saw the close is discarded, not delivered', async (world) => {
    const [client, server] = await world.pair();
    server.connection.write(Buffer.from('too late'));
    client.connection.close();
    await Promise.all([client.closed, server.closed]);
    assert.equal(client.size, 0);
  });

  check('both ends may close at the same time', async (world) => {
    const [client, server] = await world.pair();
    client.connection.close();
    server.connection.close();
    assert.equal(await client.closed, undefined);
    assert.equal(await server.closed, undefined);
  });

  for (const who of ['writer', 'reader'] as const) {
    check(
      `destroy() by the ${who} in the middle of a large write ends both ends, and its reason is told`,
      async (world) => {
        const [client, server] = await world.pair();
        const [mine, other] = who === 'writer' ? [client, server] : [server, client];
        const reason = new Error('enough');
        client.connection.write(Buffer.alloc(33_554_432));
        await server.received(1);
        mine.connection.destroy(reason);
        assert.equal(await mine.closed, reason);
        const heard = await other.closed;
        assert.ok(heard === undefined || isBusError(heard, 'NODE_UNREACHABLE'), String(heard));
        assert.notEqual(server.size, 33_554_432, 'all of it arrived');
      },
    );
  }

  check('close() gives up after a second when nobody reads, and says so; destroy() cuts it short', async (world) => {
    const [patient] = await world.pair({ openServer: false });
    const [hasty] = await world.pair({ openServer: false });
    for (const { connection } of [patient, hasty]) {
      connection.write(Buffer.alloc(33_554_432));
      connection.close();
    }
    const reason = new Error('no time');
    hasty.connection.destroy(reason);
    assert.equal(await hasty.closed, reason);
    assert.equal(patient.closings, 0);
    assert.ok(isBusError(await patient.closed, 'TIMEOUT'), 'closed without TIMEOUT');
  });

  check('closed is never called from within close() or destroy()', async (world) => {
    for (const verb of ['close', 'destroy'] as const) {
      const [client] = await world.pair();
      client.connection[verb]();
      assert.equal(client.closings, 0);
      await client.closed;
    }
  });
}

function listeningTests(check: Check): void {
  check('dialling where nobody listens is NODE_UNREACHABLE, with the cause', async (world) => {
    await assert.rejects(world.fixture.transport.dial(world.fixture.dead, { timeout: dialTimeout }), (error) => {
      assert.ok(isBusError(error, 'NODE_UNREACHABLE'));
      assert.ok(error.cause instanceof Error);
      assert.equal(error.retryable, true);
      return true;
    });
  });

  check('listening twice at one address is ADDRESS_IN_USE, and the first goes on', async (world) => {
    const [listening, next] = await world.collect();
    const again = world.fixture.transport.listen(parseAddress(listening.address), nothing);
    await assert.rejects(again, (error) => isBusError(error, 'ADDRESS_IN_USE'));
    await world.dial(listening.address);
    await next();
  });

  check('a listener tells its real address, with the port that was chosen', async (world) => {
    const [{ address }] = await world.collect();
    assert.doesNotMatch(address, /:0$/);
    assert.equal(parseAddress(address).scheme, world.fixture.address().scheme);
  });

  check('a closed listener takes no more connections; closed again, it leaves the next owner alone', async (world) => {
    const [listening] = await world.collect();
    await listening.close();
    const address = parseAddress(listening.address);
    const late = world.fixture.transport.dial(address, { timeout: dialTimeout });
    await assert.rejects(late, (error) => isBusError(error, 'NODE_UNREACHABLE'));
    const [, next] = await world.collect(address);
    await listening.close();
    await world.dial(listening.address);
    await next();
  });

  check('connections outlive their listener', async (world) => {
    const [client, server] = await world.pair();
    await world.closeListeners();
    client.connection.write(Buffer.from('still here'));
    assert.equal((await server.received(10)).toString(), 'still here');
  });
}

function stateTests(check: Check, state: 'open' | 'closing' | 'closed'): void {
  const reach = async (world: World): Promise<[End, End]> => {
    const [client, server] = await world.pair();
    if (state !== 'open') client.connection.close();
    if (state === 'closed') await client.closed;
    return [client, server];
  };

  check(
    `while ${state}, write() ${state === 'open' ? 'sends' : 'drops'} its chunk and open() is refused`,
    async (world) => {
      const [client, server] = await reach(world);
      assert.throws(() => client.connection.open({ data: nothing, drain: nothing, closed: nothing }), BusError);
      assert.equal(client.connection.write(Buffer.from('word')), state === 'open');
      if (state === 'open') assert.equal((await server.received(4)).toString(), 'word');
      client.connection.close();
      await server.closed;
      assert.equal(server.size, state === 'open' ? 4 : 0);
    },
  );

  for (const verb of ['close', 'destroy'] as const) {
    check(`while ${state}, ${verb}() is harmless when repeated, and closed is called once`, async (world) => {
      const [client, server] = await reach(world);
      for (let i = 0; i < 3; i++) client.connection[verb]();
      await Promise.all([client.closed, server.closed]);
      client.connection[verb]();
      client.connection.destroy(new Error('too late'));
      await turns();
      assert.deepEqual([client.closings, server.closings], [1, 1]);
    });
  }
}

/** One end of a connection, and what it was told. */
class End {
  readonly connection: Connection;
  readonly closed: Promise<Error | undefined>;
  /** How many bytes came in. */
  size = 0;
  /** How often `closed` was called. */
  closings = 0;
  readonly #chunks: Uint8Array[] = [];
  readonly #end = deferred<Error | undefined>();
  #opened = false;
  #wanted = 0;
  #enough = deferred<void>();
  #drain = deferred<void>();

  constructor(connection: Connection) {
    this.connection = connection;
    this.closed = this.#end.promise;
  }

  /** Starts reading, if it has not yet. */
  open(): void {
    if (this.#opened) return;
    this.#opened = true;
    this.connection.open({
      data: (chunk) => this.#data(chunk),
      drain: () => this.#drain.resolve(),
      closed: (error) => {
        this.closings++;
        this.#end.resolve(error);
      },
    });
  }

  #data(chunk: Uint8Array): void {
    assert.equal(this.closings, 0, 'data after closed');
    this.#chunks.push(chunk);
    this.size += chunk.length;
    if (this.size >= this.#wanted) this.#enough.resolve();
  }

  /** All that came in. */
  bytes = (): Buffer => Buffer.concat(this.#chunks);

  /** All that came in, once it is `count` bytes. */
  async received(count: number): Promise<Buffer> {
    if (this.size < count) {
      this.#wanted = count;
      this.#enough = deferred<void>();
      await Promise.race([this.#enough.promise, this.closed]);
    }
    assert.ok(this.size >= count, `closed after ${this.size} of ${count} bytes`);
    return this.bytes();
  }

  /** Resolves at the next drain. */
  drained(): Promise<void> {
    this.#drain = deferred<void>();
    return this.#drain.promise;
  }
}

/** What a test opened, closed after it. */
class World {
  readonly fixture: TransportFixture;
  readonly #listeners: Listener[] = [];
  readonly #connections: Connection[] = [];

  constructor(fixture: TransportFixture) {
    this.fixture = fixture;
  }

  /** Listens; each call of the function that is returned resolves to the next connection that came in. */
  async collect(address = this.fixture.address()): Promise<[listener: Listener, next: () => Promise<End>]> {
    const places: Deferred<End>[] = [];
    const place = (i: number): Deferred<End> => (places[i] = places[i] ?? deferred<End>());
    let came = 0;
    let taken = 0;
    const listener = await this.fixture.transport.listen(address, (connection) => {
      this.#connections.push(connection);
      place(came++).resolve(new End(connection));
    });
    this.#listeners.push(listener);
    return [listener, () => place(taken++).promise];
  }

  async dial(address: string): Promise<End> {
    const connection = await this.fixture.transport.dial(parseAddress(address), { timeout: dialTimeout });
    this.#connections.push(connection);
    return new End(connection);
  }

  /** The two ends of a connection, both open unless asked otherwise. */
  async pair({ openServer = true } = {}): Promise<[client: End, server: End]> {
    const [listener, next] = await this.collect();
    const client = await this.dial(listener.address);
    const server = await next();
    client.open();
    if (openServer) server.open();
    return [client, server];
  }

  async closeListeners(): Promise<void> {
    for (const listener of this.#listeners) await listener.close();
  }

  async close(): Promise<void> {
    for (const connection of this.#connections) connection.destroy();
    await this.closeListeners();
    await this.fixture.close?.();
  }
}

function nothing(): void {}

/** Bytes that show when some are missing, doubled or swapped. */
function pattern(length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >>> 8) * 17 + (i >>> 16)) & 0xff;
  return bytes;
}

/** Lets what is pending happen. */
async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise<void>((resolve) => systemClock.immediate(resolve));
}

function isBusError(error: unknown, code: ErrorCode): error is BusError {
  return error instanceof BusError && error.code === code;
}
