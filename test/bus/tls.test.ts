import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { inspect } from 'node:util';
import { Bus, createBus } from '../../src/bus/bus.ts';
import { type BusOptions, resolveOptions } from '../../src/bus/options/options.ts';
import type { TlsOptions } from '../../src/bus/options/tls-options.ts';
import { systemClock } from '../../src/core/clock.ts';
import { silentLogger } from '../../src/core/log.ts';
import { SocketTransport } from '../../src/transport/sockets.ts';
import type { TlsCredentials } from '../../src/transport/tls.ts';
import { LogBook, refusal } from '../core/testbed.ts';
import { future, Pki, past } from '../transport/pki.ts';

// TLS over real sockets and the machine's clock: whom a cluster lets in, and why it does not.

const pki = await Pki.make();
const foreign = await Pki.make();
const [lead, a] = [await pki.node('lead'), await pki.node('a')];
const secret = 'a secret of the cluster';

const folder = mkdtempSync(join(tmpdir(), 'mailvan-'));
test.after(() => rmSync(folder, { recursive: true, force: true }));

/** Opens a bus that is closed after the test. */
async function open(t: TestContext, options: BusOptions): Promise<Bus> {
  const bus = await createBus({ logger: silentLogger, ...options });
  t.after(() => bus.close());
  return bus;
}

async function leaderOf(t: TestContext, options: BusOptions): Promise<{ bus: Bus; leader: string; log: LogBook }> {
  const log = new LogBook();
  const bus = await open(t, { node: 'lead', leader: true, listen: 'tls://127.0.0.1:0', logger: log, ...options });
  return { bus, leader: bus.address ?? assert.fail('a leader has an address'), log };
}

/** Resolves once the log tells that somebody was refused for this reason: the listening end sees the end last. */
async function logged(log: LogBook, problem: string): Promise<void> {
  const refused = (): boolean =>
    log.lines.some(({ level, fields }) => level === 'warn' && String(fields.reason).includes(problem));
  while (!refused()) await new Promise<void>((resolve) => systemClock.immediate(resolve));
}

for (const given of [{}, { secret }]) {
  test(`nodes with certificates ${given.secret === undefined ? 'and no secret' : 'and a secret'} exchange messages by tls://`, async (t) => {
    const { bus, leader } = await leaderOf(t, { ...given, tls: lead });
    assert.match(leader, /^tls:\/\/127\.0\.0\.1:\d+$/);
    const leaf = await open(t, { ...given, node: 'a', leader, tls: a });
    const got: unknown[] = [];
    await bus.subscribe('orders', ({ payload }) => void got.push(payload));
    const big = new Uint8Array(1_000_000).fill(7);
    for (const payload of ['hello', big]) assert.equal((await leaf.publish('orders', payload)).matched, 1);
    await bus.drain();
    assert.equal(got[0], 'hello');
    assert.equal(Buffer.compare(got[1] as Uint8Array, big), 0);
    const { members } = await leaf.status();
    assert.deepEqual(members.map(({ node }) => node).sort(), ['a', 'lead']);
  });
}

test('members that listen at tls:// link to each other by tls://, each by its own name', async (t) => {
  const { leader } = await leaderOf(t, { tls: lead });
  const listen = 'tls://127.0.0.1:0';
  const home = await open(t, { node: 'home', leader, listen, tls: await pki.node('home') });
  const pub = await open(t, { node: 'a', leader, listen, tls: a });
  const got: unknown[] = [];
  await home.subscribe('orders', ({ payload }) => void got.push(payload));
  for (let n = 0; (await pub.status()).links.length < 2; n++) await pub.publish('orders', n);
  const from = got.length;
  for (let n = 0; n < 10; n++) assert.equal((await pub.publish('orders', n)).matched, 1);
  assert.equal(got.length, from + 10);
  assert.deepEqual((await pub.status()).links.map(({ node }) => node).sort(), ['home', 'lead']);
});

test('a node that is given no name has the first that its certificate bears; another one has to be among them', async (t) => {
  const { leader } = await leaderOf(t, { tls: lead });
  const tls = await pki.node(['first', 'second']);
  assert.equal((await open(t, { leader, tls })).node, 'first');
  assert.equal((await open(t, { leader, tls, node: 'second' })).node, 'second');
  await assert.rejects(
    createBus({ leader, tls, node: 'third', logger: silentLogger }),
    refusal('OPTION_INVALID', "bears 'first', 'second' and not 'third'"),
  );
});

test('a store keeps the name of its node, and a certificate that does not bear it is refused', async (t) => {
  const { leader } = await leaderOf(t, { tls: lead });
  const dataDir = join(folder, 'kept');
  const first = await createBus({ leader, tls: await pki.node(['kept', 'other']), dataDir, logger: silentLogger });
  assert.equal(first.node, 'kept');
  await first.close();
  const second = await createBus({ leader, tls: await pki.node(['other', 'kept']), dataDir, logger: silentLogger });
  assert.equal(second.node, 'kept');
  await second.close();
  await assert.rejects(
    createBus({ leader, tls: await pki.node('other'), dataDir, logger: silentLogger }),
    refusal('OPTION_INVALID', "bears 'other' and not 'kept'"),
  );
});

/**
 * A node that joins with the credentials of an attacker, whatever its options say: those are checked at home, and an attacker
 * would not do so.
 */
async function joinAs(
  leader: string,
  node: string,
  credentials: TlsCredentials | undefined,
  given: BusOptions = {},
): Promise<void> {
  const tls = leader.startsWith('tls://') ? { tls: await pki.node(node) } : {};
  const transport = new SocketTransport({ clock: systemClock, credentials });
  const options = { node, leader, ...tls, logger: silentLogger, joinTimeout: 4000, ...given };
  const bus = await Bus.open(options, { transport });
  await bus.close();
}

for (const [what, credentials, problem] of [
  ['an expired certificate', () => pki.node('a', { validity: past() }), 'has expired'],
  ['a certificate that is not valid yet', () => pki.node('a', { validity: future() }), 'not valid yet'],
  [
    'a certificate of another authority',
    async () => ({ ...(await foreign.node('a')), ca: lead.ca }),
    'none of the authorities',
  ],
  [
    'a certificate that is only for listening',
    () => pki.node('a', { purposes: ['serverAuth'] }),
    'serverAuth to listen',
  ],
  ["another node's certificate", () => pki.node('b'), "bears 'b' and not 'a'"],
  ['a certificate for a name that differs in case', () => pki.node('A'), "bears 'A' and not 'a'"],
  ['a wildcard certificate', () => pki.node('*'), "bears no node's name and not 'a'"],
] as const) {
  test(`a node with ${what} is refused, and both ends tell why`, { timeout: 20_000 }, async (t) => {
    const { bus, leader, log } = await leaderOf(t, { tls: lead, secret });
    await assert.rejects(
      joinAs(leader, 'a', await credentials(), { secret }),
      refusal('HANDSHAKE_REFUSED', 'refused this node', problem),
    );
    await logged(log, problem);
    assert.deepEqual(
      (await bus.status()).members.map(({ node }) => node),
      ['lead'],
    );
    await joinAs(leader, 'a', a, { secret });
  });

  test(`a node does not join a leader with ${what.replace('listening', 'dialling')}`, async (t) => {
    const theirs = { ...(await credentials()) };
    const { cert, key } = what.includes('only') ? await pki.node('a', { purposes: ['clientAuth'] }) : theirs;
    const transport = new SocketTransport({ clock: systemClock, credentials: { cert, key, ca: lead.ca } });
    const options = {
      node: 'a',
      leader: true,
      listen: 'tls://127.0.0.1:0',
      tls: a,
      secret,
      logger: silentLogger,
    } as const;
    const liar = await Bus.open(options, { transport });
    t.after(() => liar.close());
    await assert.rejects(
      joinAs(liar.address ?? '', 'leaf', await pki.node('leaf'), { secret }),
      refusal('HANDSHAKE_REFUSED', problem),
    );
    assert.deepEqual(
      (await liar.status()).members.map(({ node }) => node),
      ['a'],
    );
  });
}

test('a certificate does not stand in for the secret, nor the secret for a certificate', {
  timeout: 20_000,
}, async (t) => {
  const { leader, log } = await leaderOf(t, { tls: lead, secret });
  await assert.rejects(
    joinAs(leader, 'a', a, { secret: 'another secret of it' }),
    refusal('HANDSHAKE_REFUSED', 'secret'),
  );
  await assert.rejects(joinAs(leader, 'a', a), refusal('HANDSHAKE_REFUSED', 'secret'));
  const bare = connectTls({ port: Number(leader.split(':').pop()), rejectUnauthorized: false });
  bare.on('error', () => {});
  bare.resume();
  await new Promise((closed) => bare.once('close', closed));
  await logged(log, 'shows no certificate');
});

test('plain text against TLS, and TLS against plain text, is refused, and both ends tell why', {
  timeout: 20_000,
}, async (t) => {
  const secured = await leaderOf(t, { tls: lead, secret });
  await assert.rejects(
    joinAs(secured.leader.replace('tls', 'tcp'), 'a', undefined, { secret }),
    refusal('HANDSHAKE_REFUSED', 'refused this node: it speaks no TLS'),
  );
  await logged(secured.log, 'it speaks no TLS, and this node none but TLS');
  const plain = await leaderOf(t, { listen: 'tcp://127.0.0.1:0', secret });
  await assert.rejects(
    joinAs(plain.leader.replace('tcp', 'tls'), 'a', a, { secret }),
    refusal('HANDSHAKE_REFUSED', 'it speaks no TLS'),
  );
  await logged(plain.log, 'it speaks TLS, and this node plain text');
});

test('tls and tls:// go together, and the error says the way out', () => {
  const resolve = (options: BusOptions): unknown => resolveOptions({ logger: silentLogger, ...options });
  const wrong = (options: BusOptions, ...texts: string[]): void =>
    assert.throws(() => resolve(options), refusal('OPTION_INVALID', ...texts));
  wrong({ leader: 'tls://10.0.0.1:1' }, "leader 'tls://10.0.0.1:1' needs a certificate", "'tcp://10.0.0.1:1'");
  wrong({ leader: true, listen: 'tls://127.0.0.1:1' }, "listen 'tls://127.0.0.1:1' needs a certificate");
  wrong({ leader: 'tcp://10.0.0.1:1', tls: a }, "leader 'tcp://10.0.0.1:1' is plain text", "'tls://10.0.0.1:1'");
  wrong(
    { leader: 'tls://10.0.0.1:1', listen: 'tcp://127.0.0.1:1', tls: a },
    "listen 'tcp://127.0.0.1:1' is plain text",
  );
  wrong({ leader: true, listen: 'unix:/tmp/a', tls: a }, 'nothing is at a tls:// address', "listen: 'tls://");
  wrong({ leader: 'unix:/tmp/a', tls: a }, 'nothing is at a tls:// address', "leader: 'tls://");
  wrong({ tls: a }, 'nothing is at a tls:// address');
  resolve({ leader: 'unix:/tmp/a', listen: 'tls://127.0.0.1:1', tls: a });
  const { listen } = resolveOptions({ logger: silentLogger, leader: true, tls: a });
  assert.deepEqual(listen, { scheme: 'tls', host: '127.0.0.1', port: 1900 });
});

test('beyond loopback a certificate is enough to listen, without a secret', () => {
  const given = { logger: silentLogger, leader: true as const };
  resolveOptions({ ...given, listen: 'tls://0.0.0.0:1', tls: a });
  assert.throws(
    () => resolveOptions({ ...given, listen: 'tcp://0.0.0.0:1' }),
    refusal('OPTION_INVALID', 'the same secret or a certificate (tls), or say insecure: true'),
  );
});

test('files are read from their paths; what cannot be read or does not fit is refused by its path, never by its content', async () => {
  const path = (name: string): string => join(folder, name);
  const write = (name: string, text: string): string => {
    writeFileSync(path(name), text);
    return path(name);
  };
  const [cert, key, ca] = [write('a.crt', a.cert), write('a.key', a.key), write('ca.crt', a.ca)];
  const resolve = (tls: object): unknown =>
    resolveOptions({ logger: silentLogger, leader: true, tls: tls as TlsOptions });
  const bytes = { cert: Buffer.from(a.cert), key: new TextEncoder().encode(a.key), ca: Buffer.from(a.ca) };
  for (const tls of [{ cert, key, ca }, bytes, { cert: `\n${a.cert}`, key, ca }]) resolve(tls);
  resolve({ cert, key, ca: write('both.crt', `${foreign.authority.cert}${a.ca}`) });

  const body = a.key.split('\n')[1] as string;
  const wrong = (tls: object, ...texts: string[]): void =>
    assert.throws(
      () => resolve(tls),
      (error) => {
        assert.ok(refusal('OPTION_INVALID', ...texts)(error));
        assert.ok(!inspect(error, { depth: 9, showHidden: true }).includes(body), 'the key is in the error');
        return true;
      },
    );
  wrong({ cert, key }, 'tls.ca must be the path of a PEM file, or PEM itself');
  wrong({ cert, key, ca, passphrase: 'x' }, "tls: there is no option 'passphrase'");
  wrong({ cert: path('none.crt'), key, ca }, `tls.cert "${path('none.crt')}" cannot be read: ENOENT`);
  wrong({ cert, key: folder, ca }, `tls.key "${folder}" cannot be read: EISDIR`);
  wrong({ cert: key, key, ca }, `tls.cert "${key}" holds no certificate`);
  wrong({ cert, key: cert, ca }, `tls.key "${cert}" holds no private key`);
  wrong({ cert, key, ca: key }, `tls.ca "${key}" holds no certificate`);
  for (const bare of [Buffer.from(body), body, `\n${body}\n`, body.repeat(9)])
    wrong({ cert, key: bare, ca }, 'tls.key is neither PEM');
  resolve({ cert, key: `Bag Attributes\n${a.key}`, ca });
  wrong({ cert: a.cert.replace('M', '!'), key, ca }, 'tls.cert holds no certificate');
  wrong({ cert, key: a.key.replace(body, `x${body}`), ca }, 'tls.key holds no private key');
  wrong(
    { cert, key: write('other.key', lead.key), ca },
    `tls.key "${path('other.key')}" is not the key of the certificate`,
  );
  const old = await pki.node('a', { validity: past() });
  wrong(
    { cert: write('old.crt', old.cert), key: old.key, ca },
    `tls.cert "${path('old.crt')}" has expired: it was good until`,
  );
  const early = await pki.node('a', { validity: future() });
  wrong({ ...early, cert: write('early.crt', early.cert) }, `"${path('early.crt')}" is not valid yet: it will be from`);
  wrong(await pki.node('no name!'), "tls.cert bears no node's name");
  const locked = createPrivateKey(a.key).export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: 'x',
  });
  wrong({ cert, key: locked, ca }, 'tls.key is locked by a passphrase');
});
