// What the tests of persipubsub and persizmq check, by the names of those tests, on the bus that takes their place.
import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { describe, type TestContext, test } from 'node:test';
import { maxSize, minPeriod } from '../../src/actors/filters.ts';
import { type Bus, createBus } from '../../src/bus/bus.ts';
import type { BusOptions } from '../../src/bus/options/options.ts';
import type { SubscriptionOptions } from '../../src/bus/options/subscription-options.ts';
import { PermanentError } from '../../src/core/errors.ts';
import type { BusEvent } from '../../src/core/events.ts';
import { silentLogger } from '../../src/core/log.ts';
import { Child, pathOf } from '../cli/child.ts';
import { refusal } from '../core/testbed.ts';
import { tempFolder } from '../storage/disk.ts';

/** A bus with a store; it is closed after the test. */
async function open(t: TestContext, dataDir: string, options: BusOptions = {}): Promise<Bus> {
  const bus = await createBus({ dataDir, logger: silentLogger, durability: 'os', ...options });
  t.after(() => bus.close({ timeout: 1000 }));
  return bus;
}

/** Makes a mailbox that only collects. */
async function queue(bus: Bus, name: string, options: SubscriptionOptions = {}): Promise<void> {
  await bus.subscribe('queue', null, { name, durable: true, ...options });
}

/** Puts messages into the queue, one after the other. */
async function send(bus: Bus, ...payloads: unknown[]): Promise<void> {
  for (const payload of payloads) await bus.publish('queue', payload);
}

/** Takes everything out of a mailbox, as its handler would. */
async function takeAll(bus: Bus, name: string): Promise<unknown[]> {
  const taken: unknown[] = [];
  const sub = await bus.subscribe('queue', ({ payload }) => void taken.push(payload), { name, durable: true });
  await sub.drain();
  await sub.close();
  return taken;
}

async function waiting(bus: Bus, name: string): Promise<number> {
  const { mailboxes } = await bus.status();
  const found = mailboxes.find((mailbox) => mailbox.name === `default/${name}`);
  assert.ok(found, `there is no mailbox ${name}`);
  return found.waiting;
}

/** A mailbox at a glance. */
async function numbers(bus: Bus, name: string) {
  const { mailboxes } = await bus.status();
  const found = mailboxes.find((mailbox) => mailbox.name === `default/${name}`);
  assert.ok(found, `there is no mailbox ${name}`);
  const { waiting, dropped, expired, filtered, refused } = found;
  return { waiting, dropped, expired, filtered, refused };
}

const none = { waiting: 0, dropped: 0, expired: 0, filtered: 0, refused: 0 };
const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

describe('persipubsub', () => {
  test('put to one subscriber', async (t) => {
    const bus = await open(t, tempFolder(t));
    await queue(bus, 'sub');
    const receipt = await bus.publish('queue', Buffer.from('Hello there!'));
    assert.deepEqual([receipt.matched, receipt.stored, receipt.level], [1, 1, 'os']);
    const [payload] = await takeAll(bus, 'sub');
    assert.equal(Buffer.from(payload as Uint8Array).toString(), 'Hello there!');
    assert.deepEqual(await takeAll(bus, 'sub'), []);
  });

  test('put to several subscribers', async (t) => {
    const bus = await open(t, tempFolder(t));
    for (const name of ['one', 'two', 'three']) await queue(bus, name);
    assert.equal((await bus.publish('queue', 'hello')).stored, 3);
    assert.deepEqual(await takeAll(bus, 'one'), ['hello']);
    assert.equal(await waiting(bus, 'two'), 1, 'what one has taken the others still have');
    assert.deepEqual(await takeAll(bus, 'two'), ['hello']);
    assert.deepEqual(await takeAll(bus, 'three'), ['hello']);
  });

  test('send many', async (t) => {
    const bus = await open(t, tempFolder(t));
    await queue(bus, 'sub');
    const receipts = await bus.publishMany(range(1000).map((payload) => ({ topic: 'queue', payload })));
    assert.ok(receipts.every(({ stored }) => stored === 1));
    assert.deepEqual(await takeAll(bus, 'sub'), range(1000));
  });

  test('front', async (t) => {
    const folder = tempFolder(t);
    const bus = await open(t, folder);
    await queue(bus, 'sub');
    assert.equal(await bus.front('sub'), null);
    await send(bus, 1, 2);
    const front = await bus.front('sub');
    assert.deepEqual([front?.message.payload, front?.attempt, front?.fresh], [1, 1, true]);
    assert.equal((await bus.front('sub'))?.fresh, false, 'it was shown before');
    assert.equal(await waiting(bus, 'sub'), 2, 'nothing is taken');
    await bus.close();
    const again = await (await open(t, folder)).front('sub');
    assert.deepEqual([again?.message.payload, again?.fresh], [1, false]);
  });

  test('pop', async (t) => {
    const bus = await open(t, tempFolder(t));
    await queue(bus, 'sub');
    await send(bus, 1, 2);
    const popped: unknown[] = [];
    const pop = () => bus.receive('sub', { timeout: 0 }, ({ payload }) => void popped.push(payload));
    assert.equal(await pop(), true);
    assert.equal((await bus.front('sub'))?.message.payload, 2);
    assert.equal(await pop(), true);
    assert.deepEqual(popped, [1, 2]);
  });

  test('pop on empty', async (t) => {
    const bus = await open(t, tempFolder(t));
    await queue(bus, 'sub');
    assert.equal(await bus.receive('sub', { timeout: 0 }), null);
    assert.equal(await bus.receive('sub', { timeout: 0 }, () => assert.fail('there is nothing')), false);
    await assert.rejects(bus.receive('sud', { timeout: 0 }), refusal('NOT_FOUND', 'default/sub'));
  });

  test('receive timeout', async (t) => {
    const bus = await open(t, tempFolder(t));
    await queue(bus, 'sub');
    const start = performance.now();
    assert.equal(await bus.receive('sub', { timeout: 50 }), null);
    assert.ok(performance.now() - start >= 45);
    const received = bus.receive('sub', { timeout: 10_000 });
    await send(bus, 'at last');
    const delivery = await received;
    assert.equal(delivery?.message.payload, 'at last');
    assert.equal(delivery?.ack(), true);
    await send(bus, 'left alone');
    {
      await using left = await bus.receive('sub', { timeout: 1000 });
      assert.equal(left?.attempt, 1);
    }
    const again = await bus.receive('sub', { timeout: 5000 });
    assert.deepEqual([again?.message.payload, again?.attempt], ['left alone', 2], 'what was not settled comes again');
    again?.ack();
  });

  test('receive to top', async (t) => {
    const bus = await open(t, tempFolder(t));
    await queue(bus, 'sub');
    await send(bus, 1, 2, 3);
    const newest = await bus.receiveLatest('sub', { timeout: 0 });
    assert.equal(newest?.message.payload, 3);
    newest?.ack();
    assert.equal(await bus.receive('sub', { timeout: 0 }), null, 'the older ones are superseded');
    assert.equal((await numbers(bus, 'sub')).dropped, 2);
  });

  test('queue initialisation', async (t) => {
    const folder = tempFolder(t);
    const config = `${folder}/mailvan.config.json`;
    const subscriptions = [
      { name: 'sub-1', pattern: 'queue' },
      { name: 'sub-2', pattern: 'queue', limits: { messages: 1, overflow: 'drop-oldest' } },
    ];
    writeFileSync(config, JSON.stringify({ store: { folder: 'queues', durability: 'os' }, subscriptions }));
    const bus = await createBus({ config, logger: silentLogger });
    t.after(() => bus.close({ timeout: 1000 }));
    assert.deepEqual(
      (await bus.mailboxes.list()).map(({ name, pattern, waiting }) => [name, pattern, waiting]),
      [
        ['default/sub-1', 'queue', 0],
        ['default/sub-2', 'queue', 0],
      ],
    );
    await send(bus, 1, 2);
    await bus.close();
    const again = await createBus({ config, logger: silentLogger });
    t.after(() => again.close({ timeout: 1000 }));
    assert.deepEqual(await takeAll(again, 'sub-1'), [1, 2]);
    assert.deepEqual(await takeAll(again, 'sub-2'), [2]);
  });

  test('add subscriber', async (t) => {
    const bus = await open(t, tempFolder(t));
    await bus.mailboxes.add({ name: 'one', pattern: 'queue' });
    await send(bus, 1);
    const added = await bus.mailboxes.add({ name: 'two', pattern: 'queue' });
    assert.deepEqual([added.name, added.outcome], ['default/two', 'created']);
    assert.equal((await bus.mailboxes.add({ name: 'two', pattern: 'queue' })).outcome, 'existed');
    await send(bus, 2);
    assert.deepEqual(await takeAll(bus, 'one'), [1, 2]);
    assert.deepEqual(await takeAll(bus, 'two'), [2], 'what came before is not for it');
  });

  test('remove subscriber', async (t) => {
    const bus = await open(t, tempFolder(t));
    for (const name of ['one', 'two']) await queue(bus, name);
    await send(bus, 1);
    await assert.rejects(bus.mailboxes.remove('one'), refusal('OPTION_INVALID', 'holds 1 message'));
    await bus.mailboxes.remove('one', { discard: true });
    assert.deepEqual(
      (await bus.mailboxes.list()).map(({ name }) => name),
      ['default/two'],
    );
    assert.equal((await bus.publish('queue', 2)).stored, 1);
    assert.deepEqual(await takeAll(bus, 'two'), [1, 2]);
  });

  test('clear', async (t) => {
    const bus = await open(t, tempFolder(t));
    for (const name of ['one', 'two']) await queue(bus, name);
    await send(bus, 1, 2, 3);
    assert.equal(await bus.mailboxes.clear('one'), 3);
    assert.deepEqual(await numbers(bus, 'one'), { ...none, dropped: 3 });
    assert.equal(await waiting(bus, 'two'), 3, "another one's are its own");
    await send(bus, 4);
    const running = await bus.receive('one', { timeout: 5000 });
    await send(bus, 5);
    assert.equal(await bus.mailboxes.clear('one'), 1, 'what is being handled is left alone');
    assert.equal(running?.message.payload, 4);
    assert.equal(running?.ack(), true);
    assert.deepEqual(await takeAll(bus, 'one'), []);
  });

  test('prune dangling', async (t) => {
    const bus = await open(t, tempFolder(t));
    await queue(bus, 'sub');
    await bus.publish('queue', 'short', { ttl: 30 });
    await bus.publish('queue', 'long');
    await bus.publish('queue', 'short, too', { ttl: 30 });
    await new Promise((done) => setTimeout(done, 50));
    assert.equal(await waiting(bus, 'sub'), 3, 'nobody has looked at them');
    assert.equal(await bus.mailboxes.prune('sub'), 2);
    assert.deepEqual(await numbers(bus, 'sub'), { ...none, waiting: 1, expired: 2 });
    assert.equal(await bus.mailboxes.prune('sub'), 0);
    assert.deepEqual(await takeAll(bus, 'sub'), ['long']);
  });

  test('overflow by count', async (t) => {
    const bus = await open(t, tempFolder(t));
    await queue(bus, 'sub', { limits: { messages: 3 } });
    await send(bus, 1, 2, 3);
    await assert.rejects(bus.publish('queue', 4), refusal('MAILBOX_FULL'));
    assert.deepEqual(await numbers(bus, 'sub'), { ...none, waiting: 3, refused: 1 });
    assert.deepEqual(await takeAll(bus, 'sub'), [1, 2, 3]);
    await send(bus, 5);
    assert.deepEqual(await takeAll(bus, 'sub'), [5]);
  });

  test('overflow by size', async (t) => {
    const bus = await open(t, tempFolder(t));
    await queue(bus, 'sub', { limits: { bytes: 10_000 } });
    await send(bus, 'a'.repeat(4000), 'b'.repeat(4000));
    await assert.rejects(bus.publish('queue', 'c'.repeat(4000)), refusal('MAILBOX_FULL'));
    await send(bus, 'd');
    assert.deepEqual(
      (await takeAll(bus, 'sub')).map((payload) => String(payload)[0]),
      ['a', 'b', 'd'],
    );
  });

  test('timeout of a message', async (t) => {
    const folder = tempFolder(t);
    const bus = await open(t, folder);
    await queue(bus, 'sub');
    await queue(bus, 'aged', { limits: { age: 30 } });
    await bus.publish('queue', 'short', { ttl: 30 });
    await bus.publish('queue', 'long', { ttl: 60_000 });
    await bus.close();
    await new Promise((done) => setTimeout(done, 50)); // its time passes while nobody is there
    const later = await open(t, folder);
    assert.deepEqual(await takeAll(later, 'sub'), ['long']);
    assert.deepEqual(await takeAll(later, 'aged'), []);
    assert.equal((await numbers(later, 'sub')).expired, 1);
    assert.equal((await numbers(later, 'aged')).expired, 2);
  });

  test('prune first', async (t) => {
    const bus = await open(t, tempFolder(t));
    const events: BusEvent[] = [];
    bus.on('message.dropped', (event) => events.push(event));
    await queue(bus, 'sub', { limits: { messages: 3, overflow: 'drop-oldest' } });
    await send(bus, 1, 2, 3, 4, 5);
    assert.deepEqual(await numbers(bus, 'sub'), { ...none, waiting: 3, dropped: 2 });
    assert.deepEqual(await takeAll(bus, 'sub'), [3, 4, 5]);
    const counts = events.map((event) => (event.type === 'message.dropped' ? [event.reason, event.count] : []));
    assert.ok(counts.every(([reason]) => reason === 'drop-oldest'));
    assert.equal(
      counts.reduce((sum, [, count]) => sum + Number(count), 0),
      2,
    );
  });

  test('prune last', async (t) => {
    const bus = await open(t, tempFolder(t));
    await queue(bus, 'sub', { limits: { messages: 3, overflow: 'drop-newest' } });
    await send(bus, 1, 2, 3, 4, 5);
    assert.deepEqual(await numbers(bus, 'sub'), { ...none, waiting: 3, dropped: 2 });
    assert.deepEqual(await takeAll(bus, 'sub'), [1, 2, 3]);
  });

  test('what is pruned can be kept as dead letters', async (t) => {
    const bus = await open(t, tempFolder(t));
    await queue(bus, 'sub', { limits: { messages: 1, overflow: 'drop-oldest', deadLetters: true } });
    await send(bus, 1, 2);
    const letters = await bus.deadLetters.list();
    assert.deepEqual(
      letters.map(({ payload, reason, subscription }) => [payload, reason, subscription]),
      [[1, 'drop-oldest', 'default/sub']],
    );
  });

  test('two publishers and two subscribers, each a process', { timeout: 60_000 }, async (t) => {
    const folder = tempFolder(t);
    const address = `unix:${folder}/socket`;
    const bus = await open(t, `${folder}/data`, { node: 'hub', leader: true, listen: address });
    const count = 200;
    const child = (role: string, name: string, messages: number): Child =>
      new Child(t, process.execPath, [
        '--import',
        'tsx',
        pathOf('test/bus/persi-child.ts'),
        role,
        address,
        name,
        String(messages),
      ]);
    const subscribers = ['sub-1', 'sub-2'].map((name) => child('subscriber', name, 2 * count));
    await Promise.all(subscribers.map((subscriber) => subscriber.says('stdout', 'ready')));
    const publishers = ['pub-1', 'pub-2'].map((name) => child('publisher', name, count));
    for (const publisher of publishers) assert.equal((await publisher.ends()).code, 0, publisher.stderr);
    for (const subscriber of subscribers) {
      const { code, stdout, stderr } = await subscriber.ends();
      assert.equal(code, 0, stderr);
      const lines = stdout.trim().split('\n').slice(1);
      assert.equal(lines.length, 2 * count, 'each message once');
      for (const name of ['pub-1', 'pub-2']) {
        assert.deepEqual(
          lines.filter((line) => line.startsWith(name)),
          range(count).map((n) => `${name} ${n}`),
          'those of one publisher in order',
        );
      }
    }
    assert.equal(await waiting(bus, 'sub-1'), 0);
    assert.equal(await waiting(bus, 'sub-2'), 0);
  });
});

describe('persizmq', () => {
  test('persistence', async (t) => {
    const folder = tempFolder(t);
    const bus = await open(t, folder);
    await queue(bus, 'storage');
    await send(bus, 'first', 'second');
    await bus.close();
    assert.ok(existsSync(`${folder}/store`));
    const again = await open(t, folder);
    assert.equal(await waiting(again, 'storage'), 2, 'the mailbox is there before anybody subscribes');
    assert.deepEqual(await takeAll(again, 'storage'), ['first', 'second']);
    await again.close();
    assert.deepEqual(await takeAll(await open(t, folder), 'storage'), [], 'what was handled does not come back');
  });

  test('order', async (t) => {
    const folder = tempFolder(t);
    for (const start of [0, 100, 200]) {
      await using bus = await open(t, folder);
      await queue(bus, 'storage');
      await send(bus, ...range(100).map((n) => start + n));
    }
    assert.deepEqual(await takeAll(await open(t, folder), 'storage'), range(300));
  });

  test('the latest message only', async (t) => {
    const folder = tempFolder(t);
    const bus = await open(t, folder);
    await queue(bus, 'latest', { latestOnly: true });
    await send(bus, 1, 2, 3);
    await bus.close();
    const again = await open(t, folder);
    assert.equal(await waiting(again, 'latest'), 1);
    await send(again, 4);
    assert.deepEqual(await takeAll(again, 'latest'), [4]);
  });

  test('the latest message of each topic only', async (t) => {
    const bus = await open(t, tempFolder(t));
    await bus.subscribe('t\\..*', null, { name: 'latest', durable: true, latestOnly: 'topic' });
    for (const [topic, payload] of [
      ['t.a', 1],
      ['t.b', 2],
      ['t.a', 3],
    ] as const) {
      await bus.publish(topic, payload);
    }
    const taken: unknown[] = [];
    const sub = await bus.subscribe('t\\..*', ({ payload }) => void taken.push(payload), {
      name: 'latest',
      durable: true,
    });
    await sub.drain();
    assert.deepEqual(taken, [2, 3]);
  });

  test('exception callback', async (t) => {
    const bus = await open(t, tempFolder(t));
    const told: unknown[] = [];
    bus.on('message.retried', ({ error, attempt }) => told.push([error.message, attempt]));
    bus.on('message.dead', ({ error, attempts, reason }) => told.push([error.message, attempts, reason]));
    const sub = await bus.subscribe<string>(
      'queue',
      ({ payload }, { attempt }) => {
        if (payload === 'never') throw new PermanentError('no use');
        if (attempt < 3) throw new Error('not yet');
      },
      { name: 'sub', durable: true, retry: { delay: 1, jitter: 0 } },
    );
    await send(bus, 'flaky');
    await sub.drain();
    await send(bus, 'never');
    await sub.drain();
    assert.deepEqual(told, [
      ['not yet', 1],
      ['not yet', 2],
      ['no use', 1, 'permanent'],
    ]);
    assert.equal((await bus.deadLetters.list())[0]?.payload, 'never');
  });

  test('maximum size', async (t) => {
    const bus = await open(t, tempFolder(t));
    await queue(bus, 'storage', { filters: [maxSize(1000)] });
    await send(bus, 'small', 'x'.repeat(1000));
    assert.deepEqual(await numbers(bus, 'storage'), { ...none, waiting: 1, filtered: 1 });
    assert.deepEqual(await takeAll(bus, 'storage'), ['small']);
  });

  test('minimum period', async (t) => {
    const bus = await open(t, tempFolder(t));
    await queue(bus, 'storage', { filters: [minPeriod(100)] });
    const start = Date.now();
    await send(bus, 1, 2);
    const inTime = Date.now() - start < 100; // else the machine was too slow to tell
    while (Date.now() - start < 300) await new Promise((done) => setTimeout(done, 20));
    await send(bus, 3);
    if (inTime) assert.deepEqual(await takeAll(bus, 'storage'), [1, 3]);
  });

  test('minimum period, which survives a restart', async (t) => {
    const folder = tempFolder(t);
    const bus = await open(t, folder);
    await queue(bus, 'storage', { filters: [minPeriod(3_600_000)] });
    await send(bus, 1, 2);
    await bus.close();
    const again = await open(t, folder);
    await send(again, 3);
    assert.equal((await numbers(again, 'storage')).filtered, 1);
    assert.deepEqual(await takeAll(again, 'storage'), [1]);
  });

  test('filters can be chained', async (t) => {
    const bus = await open(t, tempFolder(t));
    const taken: unknown[] = [];
    const sub = await bus.subscribe('queue', ({ payload }) => void taken.push(payload), {
      name: 'storage',
      durable: true,
      filters: [maxSize(1000), minPeriod(3_600_000), ({ payload }) => payload !== 'odd'],
    });
    await send(bus, 'x'.repeat(2000), 'odd', 'late');
    await sub.drain();
    assert.deepEqual(taken, [], "the large one and the late one do not enter, the odd one is not its handler's");
    assert.equal((await numbers(bus, 'storage')).filtered, 3);
  });
});

describe('time', () => {
  for (const durable of [true, false]) {
    const where = durable ? 'on disk' : 'in memory';
    test(`${where}: delay and deliverAt keep a message back, and what has expired is counted and told`, async (t) => {
      const bus = await open(t, tempFolder(t));
      const events: BusEvent[] = [];
      bus.on('message.expired', (event) => events.push(event));
      const got: [unknown, number][] = [];
      const start = Date.now();
      const sub = await bus.subscribe('queue', ({ payload }) => void got.push([payload, Date.now() - start]), {
        name: 'sub',
        durable,
      });
      await bus.publish('queue', 'now');
      await bus.publish('queue', 'delayed', { delay: 120 });
      await bus.publish('queue', 'at', { deliverAt: new Date(start + 60) });
      await bus.publish('queue', 'gone', { delay: 90, ttl: 30 });
      await sub.drain();
      assert.deepEqual(
        got.map(([payload]) => payload),
        ['now', 'at', 'delayed'],
      );
      const [, at = 0] = got[1] ?? [];
      const [, delayed = 0] = got[2] ?? [];
      assert.ok(at >= 60 && delayed >= 120, `it came after ${at} and ${delayed} ms`);
      assert.equal(sub.stats().expired, 1);
      assert.deepEqual(
        events.map((event) => (event.type === 'message.expired' ? [event.reason, event.count] : [])),
        [['expired', 1]],
      );
    });
  }

  test('a delayed message is delivered after a restart, not before its time', async (t) => {
    const folder = tempFolder(t);
    const bus = await open(t, folder);
    await queue(bus, 'sub');
    const start = Date.now();
    await bus.publish('queue', 'later', { delay: 400 });
    await bus.close();
    const again = await open(t, folder);
    const taken = await takeAll(again, 'sub');
    assert.deepEqual(taken, ['later']);
    assert.ok(Date.now() - start >= 400);
  });
});
