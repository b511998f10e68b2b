// Durable subscriptions between nodes, each a bus of its own over a Unix socket, with a store on the disk.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type Bus, createBus } from '../../src/bus/bus.ts';
import type { BusOptions } from '../../src/bus/options/options.ts';
import { spoolLimits } from '../../src/bus/streams/spool.ts';
import { silentLogger } from '../../src/core/log.ts';
import { refusal } from '../core/testbed.ts';
import { tempFolder } from '../storage/disk.ts';

/** Nodes of one cluster, whose stores lie in one folder. */
class Site {
  readonly #t: TestContext;
  readonly #folder: string;

  constructor(t: TestContext) {
    this.#t = t;
    this.#folder = tempFolder(t);
  }

  async open(node: string, options: BusOptions & { store?: boolean } = {}): Promise<Bus> {
    const { store = true, ...rest } = options;
    const address = `unix:${this.#folder}/socket`;
    const bus = await createBus({
      node,
      logger: silentLogger,
      redial: { delay: 10, maxDelay: 50 },
      ...(node === 'hub' ? { leader: true, listen: address } : { leader: address }),
      ...(store ? { dataDir: `${this.#folder}/${node}` } : {}),
      ...rest,
    });
    this.#t.after(() => bus.close({ timeout: 1000 }));
    return bus;
  }
}

async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 15_000;
  while (!(await condition())) {
    assert.ok(Date.now() < end, `it never came: ${what}`);
    await new Promise((done) => setTimeout(done, 5));
  }
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);
const work = { name: 'work', durable: true } as const;

/** Collects what a handler gets. */
async function collect(bus: Bus, options: object = {}): Promise<unknown[]> {
  const got: unknown[] = [];
  await bus.subscribe('in', ({ payload }) => void got.push(payload), { ...work, ...options });
  return got;
}

test('a message for a home that is away waits in the spool and is forwarded in order when it is back', async (t) => {
  const site = new Site(t);
  await site.open('hub', { store: false });
  let publisher = await site.open('publisher');
  const home = await site.open('home');
  await home.subscribe('in', null, work);
  const publish = async (from: number, to: number) => {
    const sums = { stored: 0, spooled: 0 };
    for (const n of range(from, to)) {
      const { stored, spooled, level } = await publisher.publish('in', n, { atLeast: 1 });
      assert.equal(level, 'fsync');
      sums.stored += stored;
      sums.spooled += spooled;
    }
    return sums;
  };
  assert.deepEqual(await publish(0, 20), { stored: 20, spooled: 0 });
  await home.close();
  assert.deepEqual(await publish(20, 40), { stored: 0, spooled: 20 });
  assert.deepEqual(
    (await publisher.status()).spools.map(({ subscription, home: at, messages }) => [subscription, at, messages]),
    [['default/work', 'home', 20]],
  );
  await publisher.close();
  publisher = await site.open('publisher'); // its spool is of an earlier life now
  assert.deepEqual(await publish(40, 60), { stored: 0, spooled: 20 });
  const got = await collect(await site.open('home'));
  await until('everything is there', () => got.length >= 60);
  assert.deepEqual(got, range(0, 60));
  await until('the spools are empty', async () => (await publisher.status()).spools.length === 0);
  let next = 60;
  await until('they are done with, and it goes straight to the home', async () => {
    const { stored } = await publish(next, ++next);
    return stored === 1;
  });
  await until('these are there, too', () => got.length >= next);
  assert.deepEqual(got, range(0, next));
});

test('without a store a publish to a home that is away is NODE_UNREACHABLE, and repeating it completes it once', async (t) => {
  const site = new Site(t);
  await site.open('hub', { store: false });
  const publisher = await site.open('publisher', { store: false });
  let home = await site.open('home');
  const other = await site.open('other');
  await home.subscribe('in', null, work);
  await other.subscribe('in', null, { name: 'copy', durable: true });
  await home.close();
  const id = 'order-4711';
  await assert.rejects(publisher.publish('in', 1, { id, timeout: 5000 }), (error: unknown) => {
    refusal('NODE_UNREACHABLE')(error);
    const { receipt } = error as { receipt?: { stored: number } };
    assert.equal(receipt?.stored, 1, 'the other one has it');
    return true;
  });
  home = await site.open('home');
  await until('it is reached', () => publisher.explain('in').routes.every(({ reachable }) => reachable));
  assert.equal((await publisher.publish('in', 1, { id })).stored, 2);
  const waiting = async (bus: Bus) => (await bus.status()).mailboxes.map((mailbox) => mailbox.waiting);
  assert.deepEqual([await waiting(home), await waiting(other)], [[1], [1]]);
});

test('two services with the same pattern and the same bare name do not share a mailbox', async (t) => {
  const site = new Site(t);
  const hub = await site.open('hub');
  const billing = await site.open('billing', { service: 'billing', store: false });
  const mailing = await site.open('mailing', { service: 'mailing', store: false });
  const [bills, mails] = [await collect(billing), await collect(mailing)];
  assert.equal((await hub.publish('in', 1)).stored, 2);
  await until('both have it', () => bills.length === 1 && mails.length === 1);
  assert.deepEqual((await hub.status()).mailboxes.map(({ name }) => name).sort(), ['billing/work', 'mailing/work']);
});

test('consumers on several nodes share one mailbox, and what one leaves unsettled another one gets', async (t) => {
  const site = new Site(t);
  const hub = await site.open('hub');
  const first = await site.open('first', { store: false });
  const second = await site.open('second', { store: false });
  const attempts = new Map<number, number>();
  let stuck = 0;
  await first.subscribe('in', () => new Promise<void>(() => void stuck++), { ...work, concurrency: 5 });
  await second.subscribe<number>('in', ({ payload }, { attempt }) => void attempts.set(payload, attempt), work);
  for (const n of range(0, 100)) await hub.publish('in', n);
  await until('the first one holds as many as it may', () => stuck === 5);
  await until('the second one has the rest', () => attempts.size === 95);
  await first.close({ timeout: 0 });
  await until('it has all of them', () => attempts.size === 100);
  assert.equal([...attempts.values()].filter((attempt) => attempt === 2).length, 5, 'cut off: one attempt more');
});

test('a publisher that is started again while messages flow loses nothing and doubles nothing', async (t) => {
  const site = new Site(t);
  const hub = await site.open('hub');
  const got = await collect(hub);
  let next = 0;
  for (let life = 0; life < 4; life++) {
    const publisher = await site.open('publisher');
    const receipts = range(0, 50).map(() => publisher.publish('in', next++));
    if (life % 2 === 0) await Promise.all(receipts);
    else await Promise.all(receipts.slice(0, 25));
    const settled = Promise.allSettled(receipts);
    await publisher.close();
    for (const { status } of await settled) assert.equal(status, 'fulfilled');
  }
  await until('everything is there', () => got.length >= next);
  assert.deepEqual(got, range(0, next));
});

test('what has been spooled enters a full mailbox when there is room, and a full spool is MAILBOX_FULL', async (t) => {
  const { messages } = spoolLimits;
  t.after(() => {
    spoolLimits.messages = messages;
  });
  spoolLimits.messages = 30;
  const site = new Site(t);
  await site.open('hub', { store: false });
  const publisher = await site.open('publisher');
  let home = await site.open('home');
  await home.subscribe('in', null, { ...work, limits: { messages: 10 } });
  await home.close();
  for (const n of range(0, 30)) assert.equal((await publisher.publish('in', n)).spooled, 1);
  await assert.rejects(publisher.publish('in', 30), refusal('MAILBOX_FULL'));
  home = await site.open('home');
  const waiting = async () => (await home.status()).mailboxes[0]?.waiting;
  await until('the mailbox is full', async () => (await waiting()) === 10);
  const got = await collect(home);
  await until('all of them are there', () => got.length >= 30);
  assert.deepEqual(got, range(0, 30));
});

test('a spool is full by its bytes, too', async (t) => {
  const { bytes } = spoolLimits;
  t.after(() => {
    spoolLimits.bytes = bytes;
  });
  spoolLimits.bytes = 10_000;
  const site = new Site(t);
  await site.open('hub', { store: false });
  const publisher = await site.open('publisher');
  const home = await site.open('home');
  await home.subscribe('in', null, work);
  await home.close();
  let spooled = 0;
  const publish = async (): Promise<void> => {
    for (let i = 0; i < 50; i++) spooled += (await publisher.publish('in', new Uint8Array(1000))).spooled;
  };
  await assert.rejects(publish(), refusal('MAILBOX_FULL'));
  assert.ok(spooled >= 8 && spooled <= 10, `${spooled} were spooled`);
});

test('while the leader is away, what two nodes publish to each other waits in their spools', async (t) => {
  const site = new Site(t);
  const hub = await site.open('hub', { store: false });
  const [left, right] = [await site.open('left'), await site.open('right')];
  const got = await collect(right);
  await left.publish('in', 0, { atLeast: 1 });
  await hub.close();
  for (const n of range(1, 10)) assert.deepEqual((await left.publish('in', n, { timeout: 5000 })).spooled, 1);
  await site.open('hub', { store: false });
  await until('all of them are there', () => got.length >= 10);
  assert.deepEqual(got, range(0, 10));
});
