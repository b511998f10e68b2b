import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Bus, createBus } from '../../src/bus/bus.ts';
import type { BusOptions } from '../../src/bus/options/options.ts';
import type { FolderOwner } from '../../src/bus/shared/shared-files.ts';
import type { EventOf, EventType } from '../../src/core/events.ts';
import { silentLogger } from '../../src/core/log.ts';
import { openFolder } from '../../src/storage/folder.ts';
import { Child } from '../cli/child.ts';
import { tempFolder } from '../storage/disk.ts';

/** A bus of this process in a shared folder, closed after the test. */
async function member(t: TestContext, shared: string, node: string, options: BusOptions = {}): Promise<Bus> {
  const bus = await createBus({ shared, node, logger: silentLogger, ...options });
  t.after(() => bus.close({ timeout: 0 }));
  return bus;
}

/** Another process in a shared folder. */
async function process_(t: TestContext, shared: string, node: string): Promise<Child> {
  const script = new URL('./shared-child.ts', import.meta.url).pathname;
  const child = new Child(t, process.execPath, ['--import', 'tsx', script, shared, node]);
  await child.says('stdout', `${node} is in`);
  return child;
}

const current = (folder: string): FolderOwner & { socket: string } =>
  JSON.parse(readFileSync(join(folder, 'current'), 'utf8'));

const ownerOf = async (bus: Bus): Promise<string | undefined> => (await bus.status()).shared?.owner?.node;

function next<K extends EventType>(bus: Bus, type: K): Promise<EventOf<K>> {
  return new Promise((come) => {
    const end = bus.on('*', (event) => {
      if (event.type !== type) return;
      end();
      come(event as EventOf<K>);
    });
  });
}

/** Has a bus handle the numbers. @returns what it has handled, as `<number>.<attempt>`, and how to wait for so many numbers. */
async function handling(bus: Bus): Promise<{ got: string[]; count(n: number): Promise<void> }> {
  const got: string[] = [];
  const numbers = new Set<unknown>();
  const waiting: { n: number; done: () => void }[] = [];
  await bus.subscribe(
    'numbers',
    ({ payload }, { attempt }) => {
      got.push(`${payload}.${attempt}`);
      numbers.add(payload);
      for (const { n, done } of waiting) if (numbers.size >= n) done();
    },
    { name: 'work', durable: true },
  );
  const count = (n: number): Promise<void> =>
    new Promise((done) => (numbers.size >= n ? done() : void waiting.push({ n, done })));
  return { got, count };
}

test('those that name one folder are one bus: the first serves it, and durable mailboxes are in it', async (t) => {
  const folder = join(tempFolder(t), 'new');
  const one = await member(t, folder, 'one');
  const two = await member(t, `${folder}/.`, 'two');
  const { got, count } = await handling(two);
  const receipt = await one.publish('numbers', 1);
  assert.deepEqual([receipt.matched, receipt.stored, receipt.level], [1, 1, 'fsync']);
  await two.publish('numbers', 2);
  await count(2);
  assert.deepEqual(got, ['1.1', '2.1']);
  for (const bus of [one, two]) {
    const { role, leader, shared, members, store } = await bus.status();
    assert.deepEqual([role, leader?.node, store], ['leaf', 'folder', undefined]);
    assert.deepEqual(shared, { folder, owner: { epoch: 1, node: 'one', pid: process.pid } });
    assert.deepEqual(members.map(({ node }) => node).sort(), ['folder', 'one', 'two']);
  }
  const [mailbox] = await one.mailboxes.list();
  assert.deepEqual([mailbox?.name, mailbox?.home], ['default/work', 'folder']);
  // What is in memory works as in any cluster.
  const told: unknown[] = [];
  const heard = new Promise<void>((done) => {
    void two
      .subscribe('news', ({ payload }) => {
        told.push(payload);
        done();
      })
      .then(() => one.publish('news', 'x', { atLeast: 1 }));
  });
  await heard;
  assert.deepEqual(told, ['x']);
});

test('when the owner closes another takes over, and what is published meanwhile is confirmed, once and in order', async (t) => {
  const folder = tempFolder(t);
  const one = await member(t, folder, 'one');
  const two = await member(t, folder, 'two');
  const three = await member(t, folder, 'three');
  const { got, count } = await handling(three);
  const events = [next(two, 'leader.lost'), next(two, 'leader.found')] as const;
  const many = Array.from({ length: 500 }, (_, n) => two.publish('numbers', n));
  const closed = one.close();
  many.push(...Array.from({ length: 500 }, (_, n) => two.publish('numbers', 500 + n)));
  await closed;
  const receipts = await Promise.all(many);
  assert.ok(receipts.every(({ stored, level }) => stored === 1 && level === 'fsync'));
  const [lost, found] = await Promise.all(events);
  assert.deepEqual([lost.node, found.node], ['folder', 'folder']);
  await count(1000);
  // A consumer has what it held once more when its home has gone; new is everything once, and in order.
  const first = got.map((each) => Number.parseInt(each, 10)).filter((n, i, all) => all.indexOf(n) === i);
  assert.deepEqual(
    first,
    Array.from({ length: 1000 }, (_, n) => n),
  );
  const attempts = got.filter((each) => each.endsWith('.1'));
  assert.equal(new Set(attempts).size, attempts.length, 'none is in the mailbox twice');
  assert.equal(current(folder).epoch, 2);
  assert.ok(['two', 'three'].includes((await ownerOf(two)) ?? ''));
});

test('the folder keeps what is in it, and the last one leaves nothing that others could take for an owner', async (t) => {
  const folder = tempFolder(t);
  const one = await member(t, folder, 'one');
  await one.subscribe('numbers', null, { name: 'work', durable: true });
  await one.publish('numbers', 7);
  await one.close();
  assert.deepEqual(readdirSync(join(folder, 'run')), []);
  assert.deepEqual(readdirSync(folder).sort(), ['LOCK', 'ballast', 'current', 'run', 'store']);
  const two = await member(t, folder, 'two');
  assert.deepEqual((await two.status()).shared?.owner, { epoch: 2, node: 'two', pid: process.pid });
  await two.receive('work', { timeout: 10_000 }, ({ payload }) => assert.equal(payload, 7));
});

test('of many that start at the same time in an empty folder one serves it, and all are in', async (t) => {
  const folder = tempFolder(t);
  const names = ['a', 'b', 'c', 'd', 'e', 'f'];
  const buses = await Promise.all(names.map((node) => member(t, folder, node)));
  const owners = new Set(await Promise.all(buses.map(ownerOf)));
  assert.equal(owners.size, 1);
  assert.equal(current(folder).epoch, 1);
  const { members } = (await (buses[0] as Bus).status({ node: 'folder' })) as { members: unknown[] };
  assert.equal(members.length, 7);
});

test('a killed owner is followed within two seconds by another process, and what it has left is swept away', async (t) => {
  const folder = tempFolder(t);
  const child = await process_(t, folder, 'child');
  const bus = await member(t, folder, 'bus');
  await bus.subscribe('numbers', null, { name: 'work', durable: true });
  child.write('publish 1\n');
  await child.says('stdout', '1 is stored 1 times');
  const began = performance.now();
  child.kill('SIGKILL');
  const receipt = await bus.publish('numbers', 2);
  const ms = performance.now() - began;
  assert.deepEqual([receipt.stored, receipt.level], [1, 'fsync']);
  assert.ok(ms < 2000, `${ms} ms`);
  const { got, count } = await handling(bus);
  await count(2);
  assert.deepEqual(got, ['1.1', '2.1']);
  assert.deepEqual((await bus.status()).shared?.owner, { epoch: 2, node: 'bus', pid: process.pid });
  assert.deepEqual(readdirSync(join(folder, 'run')), ['2.sock'], 'the socket of the dead one is gone');
});

test('a process that exits without closing anything is as one that is killed', async (t) => {
  const folder = tempFolder(t);
  const child = await process_(t, folder, 'child');
  const bus = await member(t, folder, 'bus');
  await bus.subscribe('numbers', null, { name: 'work', durable: true });
  child.write('publish 1\nexit\n');
  assert.equal((await child.ends()).code, 0);
  assert.equal((await bus.publish('numbers', 2)).stored, 1);
  const { waiting } = await bus.mailboxes.stats('work');
  assert.equal(waiting, 2);
});

test('a frozen owner stalls the bus and is not doubled; when it goes on, so does what has waited', async (t) => {
  const folder = tempFolder(t);
  const child = await process_(t, folder, 'child');
  const quick = { ping: 100, suspect: 300, down: 60_000 };
  const bus = await member(t, folder, 'bus', { liveness: quick });
  const { got, count } = await handling(bus);
  child.kill('SIGSTOP');
  const lost = next(bus, 'leader.lost');
  await assert.rejects(bus.publish('numbers', 1, { timeout: 100 }), { code: 'TIMEOUT' });
  await lost;
  // It has a deadline, and is not refused because the home is away.
  const patient = bus.publish('numbers', 2);
  const failed = await bus.publish('numbers', 3, { timeout: 500 }).catch((error: unknown) => error);
  const { code, receipt } = failed as { code: string; receipt: { id: string } };
  assert.equal(code, 'TIMEOUT');
  assert.deepEqual([current(folder).epoch, current(folder).node], [1, 'child'], 'nobody has taken its place');
  child.kill('SIGCONT');
  assert.equal((await patient).stored, 1);
  // The outcome was not known: repeated under its id it is not taken twice.
  assert.equal((await bus.publish('numbers', 3, { id: receipt.id })).stored, 1);
  await bus.publish('numbers', 4);
  await count(4);
  assert.deepEqual(got, ['1.1', '2.1', '3.1', '4.1']);
});

/** A bus with a durable subscription whose owner of the folder, a process, does not answer. */
async function behindFrozenOwner(t: TestContext) {
  const folder = tempFolder(t);
  const child = await process_(t, folder, 'child');
  const bus = await member(t, folder, 'bus', { liveness: { ping: 100, suspect: 300, down: 60_000 } });
  await bus.subscribe('numbers', null, { name: 'work', durable: true });
  child.kill('SIGSTOP');
  await next(bus, 'leader.lost');
  return { child, bus };
}

test('while nobody serves the folder what waits in memory is bounded', async (t) => {
  const { child, bus } = await behindFrozenOwner(t);
  const waiting = Array.from({ length: 2 * 8192 }, (_, n) => bus.publish('numbers', n));
  await assert.rejects(bus.publish('numbers', -1), { code: 'MAILBOX_FULL' });
  child.kill('SIGCONT');
  const receipts = await Promise.all(waiting);
  assert.ok(receipts.every(({ stored }) => stored === 1));
  assert.equal((await bus.mailboxes.stats('work')).waiting, 2 * 8192);
});

test('while nobody serves the folder large messages are bounded by their bytes', async (t) => {
  const { child, bus } = await behindFrozenOwner(t);
  const large = 'x'.repeat(1_000_000);
  const outcomes = Array.from({ length: 24 }, () =>
    bus.publish('numbers', large).then(
      () => 'stored',
      (error: { code: string }) => error.code,
    ),
  );
  const full = await Promise.race(outcomes);
  assert.equal(full, 'MAILBOX_FULL');
  child.kill('SIGCONT');
  const ended = await Promise.all(outcomes);
  const stored = ended.filter((outcome) => outcome === 'stored').length;
  assert.ok(stored >= 8 && stored <= 17, `${stored} stored`);
  assert.equal(ended.filter((outcome) => outcome === 'MAILBOX_FULL').length, 24 - stored);
  assert.equal((await bus.mailboxes.stats('work')).waiting, stored);
});

test('a process that closes while nobody serves the folder waits for its receipts, and takes the place for that', async (t) => {
  const folder = tempFolder(t);
  const child = await process_(t, folder, 'child');
  const bus = await member(t, folder, 'bus');
  await bus.subscribe('numbers', null, { name: 'work', durable: true });
  child.kill('SIGKILL');
  await next(bus, 'leader.lost');
  const published = bus.publish('numbers', 1);
  await bus.close();
  assert.equal((await published).stored, 1);
  const after = await member(t, folder, 'after');
  assert.equal((await after.mailboxes.stats('work')).waiting, 1);
});

test('while nobody serves the folder subscribing, draining and asking wait for who does so next', async (t) => {
  const folder = tempFolder(t);
  const child = await process_(t, folder, 'child');
  const bus = await member(t, folder, 'bus');
  await handling(bus);
  child.kill('SIGKILL');
  await next(bus, 'leader.lost');
  const [sub, list] = await Promise.all([
    bus.subscribe('other', null, { name: 'other', durable: true }),
    bus.mailboxes.list(),
    bus.deadLettersOf('folder').list(),
    bus.drain(),
  ]);
  assert.equal(sub.name, 'default/other');
  assert.ok(list.some(({ name }) => name === 'default/work'));
});

test('a receive whose time ends while nobody serves the folder hears from who does so next', async (t) => {
  const folder = tempFolder(t);
  const child = await process_(t, folder, 'child');
  const bus = await member(t, folder, 'bus');
  await bus.subscribe('numbers', null, { name: 'work', durable: true });
  const nothing = bus.receive('work', { timeout: 1 });
  child.kill('SIGKILL');
  await next(bus, 'leader.lost');
  const late = bus.receive('work', { timeout: 1 });
  assert.deepEqual([await nothing, await late], [null, null]);
  await bus.publish('numbers', 2);
  assert.equal((await bus.receive('work', { timeout: 10_000 }))?.message.payload, 2);
});

test('a path that is too long for a socket has it under the temporary folder, for this user alone', async (t) => {
  const folder = join(tempFolder(t), 'long'.repeat(40));
  const one = await member(t, folder, 'one');
  const { socket } = current(folder);
  assert.equal(dirname(dirname(socket)), tmpdir());
  assert.equal(statSync(dirname(socket)).mode & 0o777, 0o700);
  const two = await member(t, folder, 'two');
  assert.equal(await ownerOf(two), 'one');
  await one.close();
  await next(two, 'leader.found');
  assert.throws(() => statSync(dirname(socket)), { code: 'ENOENT' });
  assert.equal(await ownerOf(two), 'two');
  const { socket: second } = current(folder);
  await two.close();
  assert.throws(() => statSync(dirname(second)), { code: 'ENOENT' });
});

test('only this user can connect: a folder that is made is 0700, and in any other the sockets are in one that is', async (t) => {
  const parent = tempFolder(t);
  const made = join(parent, 'made');
  const open = join(parent, 'open');
  mkdirSync(open);
  chmodSync(open, 0o755);
  for (const folder of [made, open]) {
    await member(t, folder, `in-${folder.slice(parent.length + 1)}`);
    const mode = (path: string): number => statSync(join(folder, path)).mode & 0o777;
    assert.deepEqual([mode('run'), mode('run/1.sock'), mode('current')], [0o700, 0o600, 0o600]);
  }
  assert.deepEqual([statSync(made).mode & 0o777, statSync(open).mode & 0o777], [0o700, 0o755]);
});

test('a folder with a secret lets in who has it', async (t) => {
  const folder = tempFolder(t);
  const secret = 'sixteen bytes or more';
  await member(t, folder, 'one', { secret });
  await member(t, folder, 'two', { secret });
  for (const wrong of [{}, { secret: 'another one of 16 bytes' }]) {
    await assert.rejects(member(t, folder, 'three', wrong), { code: 'HANDSHAKE_REFUSED' });
  }
});

test('what cannot be shared is refused, saying why', async (t) => {
  const parent = tempFolder(t);
  const file = join(parent, 'file');
  writeFileSync(file, 'no folder');
  const refused = (options: BusOptions, ...says: string[]): Promise<void> =>
    assert.rejects(createBus({ logger: silentLogger, ...options }), (error: { code: string; message: string }) => {
      assert.equal(error.code, 'OPTION_INVALID');
      for (const text of says) assert.ok(error.message.includes(text), error.message);
      return true;
    });
  const shared = join(parent, 'new');
  await refused({ shared, leader: true }, "'leader'", "'shared'", 'serves the folder leads');
  await refused({ shared, leader: 'tcp://10.0.0.1:1' }, "'leader'");
  await refused({ shared, listen: 'tcp://127.0.0.1:0' }, "'listen'", 'a socket of its own');
  await refused({ shared, dataDir: './data' }, "'dataDir'", 'the store is in the shared folder');
  await refused({ shared, promote: 'a' }, "'promote'");
  await refused({ shared, node: 'folder' }, "'folder'", 'choose another');
  await refused({ shared: '' }, 'must be the path of a folder');
  await refused({ shared: 5 } as never, 'must be the path of a folder');
  assert.throws(() => statSync(shared), { code: 'ENOENT' }, 'what is refused makes nothing');
  await refused({ shared: file }, file, 'is a file');
  await refused({ shared: join(file, 'below') }, 'is a file');
  const dataDir = join(parent, 'data');
  await (await createBus({ dataDir, node: 'orders', logger: silentLogger })).close();
  await refused({ shared: dataDir }, "belongs to node 'orders'");
  if (process.platform !== 'linux') return;
  await assert.rejects(createBus({ shared: '/sys/mailvan', logger: silentLogger }), { code: 'STORE_FAILED' });
});

test('a store in the folder that somebody else holds is waited for', async (t) => {
  const folder = tempFolder(t);
  const { store } = await openFolder(join(folder, 'store'));
  await assert.rejects(member(t, folder, 'one', { joinTimeout: 300 }), (error: { code: string; message: string }) => {
    assert.equal(error.code, 'NO_LEADER');
    return error.message.includes('is open in this process');
  });
  const opening = member(t, folder, 'two');
  await store.close();
  assert.equal(await ownerOf(await opening), 'two');
});
