import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectPlain, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { deferred } from '../../src/core/async.ts';
import { systemClock } from '../../src/core/clock.ts';
import type { BusError } from '../../src/core/errors.ts';
import { VirtualClock } from '../../src/core/virtual-clock.ts';
import { transportSuite } from '../../src/testing/transport-suite.ts';
import { parseAddress } from '../../src/transport/address.ts';
import { SocketTransport } from '../../src/transport/sockets.ts';
import { type TlsCredentials, TlsTransport } from '../../src/transport/tls.ts';
import { nodeNamesOf } from '../../src/transport/tls-problem.ts';
import type { Connection, Listener } from '../../src/transport/transport.ts';
import { refusal } from '../core/testbed.ts';
import { future, Pki, past } from './pki.ts';

const pki = await Pki.make();
const [a, b] = [await pki.node('a'), await pki.node('b')];
const transportOf = (credentials: TlsCredentials): TlsTransport =>
  new TlsTransport({ clock: systemClock, credentials });
const anywhere = parseAddress('tls://127.0.0.1:0');

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const bound = server.address();
  server.close();
  assert.ok(typeof bound === 'object' && bound !== null);
  return bound.port;
}

transportSuite('tls:', async () => ({
  transport: transportOf(a),
  address: () => anywhere,
  dead: parseAddress(`tls://127.0.0.1:${await freePort()}`),
}));

/** What a listening end hears of the one connection that comes in. */
interface Heard {
  readonly listener: Listener;
  readonly port: number;
  readonly connection: Promise<Connection>;
  readonly refused: Promise<string>;
  readonly closed: Promise<Error | undefined>;
  readonly data: Uint8Array[];
}

async function hear(credentials: TlsCredentials, lastWord = ''): Promise<Heard> {
  const [connection, refused, closed] = [deferred<Connection>(), deferred<string>(), deferred<Error | undefined>()];
  const data: Uint8Array[] = [];
  const listener = await transportOf(credentials).listen(anywhere, (accepted) => {
    connection.resolve(accepted);
    accepted.open({
      data: (chunk) => data.push(chunk),
      drain: () => {},
      refused: (problem) => {
        accepted.write(Buffer.from(lastWord));
        refused.resolve(problem);
      },
      closed: (error) => closed.resolve(error),
    });
  });
  const address = parseAddress(listener.address);
  assert.ok(address.scheme === 'tls');
  return {
    ...{ listener, port: address.port, data },
    ...{ connection: connection.promise, refused: refused.promise, closed: closed.promise },
  };
}

const dial = (credentials: TlsCredentials, port: number): Promise<Connection> =>
  transportOf(credentials).dial(parseAddress(`tls://127.0.0.1:${port}`), { timeout: 5000 });

/** What a socket gets until it ends. */
async function endOf(socket: Socket | TLSSocket): Promise<string> {
  let text = '';
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    text += chunk;
  });
  socket.on('error', () => {});
  await new Promise((closed) => socket.once('close', closed));
  return text;
}

test('each end knows the names that the certificate of the other end bears', async () => {
  const heard = await hear(await pki.node(['b', 'b_2.x']));
  const client = await dial(a, heard.port);
  client.open({ data: () => {}, drain: () => {}, closed: () => {} });
  client.write(Buffer.from('x'));
  assert.deepEqual(client.names, ['b', 'b_2.x']);
  const server = await heard.connection;
  while (heard.data.length === 0) await new Promise<void>((resolve) => systemClock.immediate(resolve));
  assert.deepEqual(server.names, ['a']);
  client.destroy();
  await heard.listener.close();
});

test('the host name in an address plays no part: no certificate here bears 127.0.0.1 or localhost', async () => {
  const heard = await hear(b);
  for (const host of ['127.0.0.1', 'localhost']) {
    const address = parseAddress(`tls://${host}:${heard.port}`);
    const client = await transportOf(a).dial(address, { timeout: 5000 });
    client.destroy();
  }
  await heard.listener.close();
});

for (const [what, credentials, problem] of [
  ['has expired', () => pki.node('a', { validity: past() }), /has expired/],
  ['is not valid yet', () => pki.node('a', { validity: future() }), /not valid yet/],
  [
    'is from another authority',
    async () => ({ ...(await (await Pki.make()).node('a')), ca: b.ca }),
    /none of the authorities/,
  ],
  [
    'is only for listening',
    () => pki.node('a', { purposes: ['serverAuth'] }),
    /serverAuth to listen and clientAuth to dial/,
  ],
] as const) {
  test(`of a dialler whose certificate ${what} nothing is handed out; it may be told why`, async () => {
    const heard = await hear(b, 'because');
    const client = await dial(await credentials(), heard.port);
    let told = '';
    const closed = deferred<void>();
    client.open({
      data: (chunk) => {
        told += Buffer.from(chunk).toString();
      },
      drain: () => {},
      closed: () => closed.resolve(),
    });
    client.write(Buffer.from('let me in'));
    assert.match(await heard.refused, problem);
    await Promise.all([closed.promise, heard.closed]);
    assert.equal(told, 'because');
    assert.deepEqual(heard.data, []);
    await heard.listener.close();
  });
}

test('of a dialler without a certificate nothing is handed out', async () => {
  const heard = await hear(b, 'because');
  const socket = connectTls({ host: '127.0.0.1', port: heard.port, rejectUnauthorized: false });
  socket.write('let me in');
  const told = endOf(socket);
  assert.match(await heard.refused, /it shows no certificate/);
  await heard.closed;
  assert.equal(await told, 'because');
  assert.deepEqual(heard.data, []);
  await heard.listener.close();
});

for (const [what, credentials, problem] of [
  ['has expired', () => pki.node('b', { validity: past() }), 'has expired'],
  ['is not valid yet', () => pki.node('b', { validity: future() }), 'not valid yet'],
  [
    'is from another authority',
    async () => ({ ...(await (await Pki.make()).node('b')), ca: a.ca }),
    'none of the authorities',
  ],
  ['is only for dialling', () => pki.node('b', { purposes: ['clientAuth'] }), 'serverAuth to listen'],
] as const) {
  test(`a listener whose certificate ${what} is refused by who dials it`, async () => {
    const heard = await hear(await credentials());
    await assert.rejects(dial(a, heard.port), refusal('HANDSHAKE_REFUSED', `127.0.0.1:${heard.port}`, problem));
    await heard.closed;
    assert.deepEqual(heard.data, []);
    await heard.listener.close();
  });
}

test('the environment cannot switch verification off', async () => {
  const before = process.env.NODE_TLS_REJECT_UNAUTHORIZED;
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
  try {
    const heard = await hear(await pki.node('b', { validity: past() }));
    await assert.rejects(dial(a, heard.port), refusal('HANDSHAKE_REFUSED', 'has expired'));
    await heard.listener.close();
  } finally {
    if (before === undefined) delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
    else process.env.NODE_TLS_REJECT_UNAUTHORIZED = before;
  }
});

test('who speaks plain text to a listener of TLS is refused, and may be told why', async () => {
  for (const words of ['GET / HTTP/1.1\r\n\r\n', '\0\0\0\u0010hello, plainly..']) {
    const heard = await hear(b, 'because');
    const socket = connectPlain(heard.port, '127.0.0.1');
    socket.write(words);
    const told = endOf(socket);
    assert.match(await heard.refused, /it speaks no TLS/);
    await heard.closed;
    assert.equal(await told, 'because');
    assert.deepEqual(heard.data, []);
    await heard.listener.close();
  }
});

test('who dials by TLS where plain text is spoken is told so', async () => {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.end('\0\0\0\u0010hello, plainly..');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  await assert.rejects(dial(a, port), refusal('HANDSHAKE_REFUSED', 'it speaks no TLS'));
  server.close();
});

test('TLS below 1.2 is refused by both ends', async () => {
  const heard = await hear(b);
  const socket = connectTls({
    ...{ host: '127.0.0.1', port: heard.port, ...a, rejectUnauthorized: false },
    ...{ minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' },
  });
  await endOf(socket);
  assert.ok(refusal('HANDSHAKE_REFUSED', 'no version of TLS from 1.2 on')(await heard.closed));
  await heard.listener.close();
  const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
  const server = createTlsServer({ ...b, ...old }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  await assert.rejects(dial(a, port), refusal('HANDSHAKE_REFUSED', 'no version of TLS from 1.2 on'));
  server.close();
});

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`a session of ${version} is not resumed: each connection shows its certificate in full`, async () => {
    const listener = await transportOf(b).listen(anywhere, (connection) =>
      connection.open({ data: (chunk) => void connection.write(chunk), drain: () => {}, closed: () => {} }),
    );
    const { port } = parseAddress(listener.address) as { port: number };
    const connectOnce = async (session?: Buffer): Promise<{ session: Buffer | undefined; reused: boolean }> => {
      const socket = connectTls({
        ...{ host: '127.0.0.1', port, ...a, checkServerIdentity: () => undefined },
        ...{ minVersion: version, maxVersion: version, ...(session === undefined ? {} : { session }) },
      });
      let got: Buffer | undefined;
      socket.on('session', (bytes) => {
        got = bytes;
      });
      await once(socket, 'secureConnect');
      socket.write('x');
      await once(socket, 'data');
      got ??= socket.getSession();
      const reused = socket.isSessionReused();
      socket.destroy();
      return { session: got, reused };
    };
    const first = await connectOnce();
    assert.ok(first.session !== undefined, 'nothing to resume with: the test shows nothing');
    assert.equal((await connectOnce(first.session)).reused, false);
    await listener.close();
  });
}

for (const [what, words] of [
  ['says nothing', []],
  ['stops in the middle of its first words', [0x16, 0x03, 0x01, 0x02]],
] as const) {
  test(`a connection is handed out before TLS is agreed on: one that ${what} can be destroyed`, async () => {
    const accepted = deferred<Connection>();
    const listener = await transportOf(b).listen(anywhere, (connection) => accepted.resolve(connection));
    const { port } = parseAddress(listener.address) as { port: number };
    const socket = connectPlain(port, '127.0.0.1');
    socket.write(Uint8Array.from(words));
    const connection = await accepted.promise;
    assert.match(connection.remote, /^127\.0\.0\.1:\d+$/);
    assert.deepEqual(connection.names, [], 'nobody yet');
    const closed = deferred<Error | undefined>();
    connection.open({ data: () => {}, drain: () => {}, closed: closed.resolve });
    for (let turn = 0; turn < 20; turn++) await new Promise<void>((done) => systemClock.immediate(done));
    const reason = new Error('too slow');
    connection.destroy(reason);
    assert.equal(await closed.promise, reason);
    assert.equal(await endOf(socket), '');
    await listener.close();
  });
}

test('a dial is given up when the clock says so, also in the middle of the handshake', async () => {
  const silent = createServer(() => {}).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as { port: number };
  const clock = new VirtualClock();
  const dialled = new TlsTransport({ clock, credentials: a }).dial(parseAddress(`tls://127.0.0.1:${port}`), {
    timeout: 2000,
  });
  const rejected = assert.rejects(dialled, (error: BusError) => refusal('NODE_UNREACHABLE', 'TIMEOUT')(error));
  await once(silent, 'connection');
  await clock.advance(2000);
  await rejected;
  assert.equal(clock.pendingTimers, 0);
  silent.close();
});

test('a node with certificates dials nothing in plain text, and one without dials no TLS', async () => {
  const [secured, plain] = [a, undefined].map(
    (credentials) => new SocketTransport({ clock: systemClock, credentials }),
  );
  const late = (transport: SocketTransport | undefined, address: string): Promise<unknown> =>
    (transport as SocketTransport).dial(parseAddress(address), { timeout: 1000 });
  await assert.rejects(late(secured, 'tcp://127.0.0.1:1'), refusal('NODE_UNREACHABLE', 'plain text'));
  await assert.rejects(late(plain, 'tls://127.0.0.1:1'), refusal('NODE_UNREACHABLE', "has no 'tls'"));
});

test('the names in a certificate are its DNS entries, letter by letter, and nothing that only looks like one', () => {
  assert.deepEqual(nodeNamesOf(undefined), []);
  assert.deepEqual(nodeNamesOf('DNS:a, DNS:B_c.d-1, IP Address:10.0.0.1, URI:mailvan:x'), ['a', 'B_c.d-1']);
  assert.deepEqual(nodeNamesOf('DNS:*.example.org, DNS:*'), []);
  assert.deepEqual(nodeNamesOf('DNS:"a, DNS:b"'), []);
  assert.deepEqual(nodeNamesOf('URI:"x, DNS:a", DNS:"b\\", DNS:c", DNS:d'), ['d']);
  assert.deepEqual(nodeNamesOf('email:x DNS:a, othername:<unsupported>'), []);
});

test('a name that tries to pass for two, in a real certificate, is the name of nobody', async () => {
  for (const name of ['x, DNS:b', 'x", DNS:b, "', 'b\0', 'b ', '*', 'B']) {
    const heard = await hear(await pki.node(name));
    const client = await dial(a, heard.port);
    assert.ok(!(client.names ?? ['b']).includes('b'), JSON.stringify(name));
    client.destroy();
    await heard.listener.close();
  }
});
