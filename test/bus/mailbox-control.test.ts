import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type Bus, createBus } from '../../src/bus/bus.ts';
import { MemorySource } from '../../src/bus/durable/store-source.ts';
import { silentLogger } from '../../src/core/log.ts';
import { refusal, resolved, type World, world } from '../core/testbed.ts';
import { tempFolder } from '../storage/disk.ts';

const work = { name: 'work', pattern: 'in', retry: { delay: 100, jitter: 0 } };

/** A bus on a virtual clock with a durable mailbox 'work'. */
async function collecting(t: Parameters<typeof world>[0], options: object = {}): Promise<World> {
  const w = await world(t, {}, { source: new MemorySource() });
  await resolved(w.clock, w.bus.mailboxes.add({ ...work, ...options }));
  return w;
}

async function fill(w: World, from: number, to: number, options: object = {}): Promise<void> {
  const many = Array.from({ length: to - from }, (_, i) => ({ topic: 'in', payload: from + i, ...options }));
  await resolved(w.clock, w.bus.publishMany(many));
}

function open(dataDir: string): Promise<Bus> {
  return createBus({ dataDir, logger: silentLogger, durability: 'os' });
}

/** Publishes more than a mailbox has in memory. */
async function backlog(bus: Bus, count: number, options: (n: number) => object = () => ({})): Promise<void> {
  const many = Array.from({ length: count }, (_, n) => ({ topic: 'in', payload: n, ...options(n) }));
  for (let i = 0; i < count; i += 1000) await bus.publishMany(many.slice(i, i + 1000));
}

async function payloads(bus: Bus): Promise<unknown[]> {
  const found: unknown[] = [];
  for (let from: string | undefined; ; ) {
    const page = await bus.mailboxes.peek('work', { limit: 1000, ...(from === undefined ? {} : { from }) });
    for (const { position, payload } of page) if (position !== from) found.push(payload);
    const last = page.at(-1)?.position;
    if (last === undefined || last === from) return found;
    from = last;
  }
}

describe('bus.mailboxes', () => {
  test('lists what there is, with what waits, how long, and under which policy', async (t) => {
    const w = await collecting(t);
    await fill(w, 0, 3);
    await fill(w, 3, 4, { delay: 5000 });
    await w.clock.advance(2000);
    const delivery = await resolved(w.clock, w.bus.receive('work', { timeout: 0 }));
    const [info, ...others] = await w.bus.mailboxes.list();
    assert.deepEqual(others, []);
    const { policy, createdAt, bytes, ...facts } = info ?? assert.fail('there is one');
    assert.deepEqual(facts, {
      ...{ name: 'default/work', pattern: 'in', home: 'here', reachable: true },
      ...{ waiting: 3, parked: 1, running: 1, consumers: 1, oldest: 2000 },
    });
    assert.equal(policy.retry.delay, 100);
    assert.ok(createdAt > 0 && bytes > 0);
    delivery?.ack();
    await w.clock.settle();
    const { handled, waiting, lost } = await w.bus.mailboxes.stats('default/work');
    assert.deepEqual([handled, waiting, lost], [1, 3, 0]);
  });

  test('refuses a name that does not exist, naming the nearest', async (t) => {
    const w = await collecting(t);
    for (const verb of ['stats', 'peek', 'clear', 'prune', 'remove'] as const) {
      await assert.rejects(w.bus.mailboxes[verb]('wok'), refusal('NOT_FOUND', "'default/wok'", "'default/work'"));
    }
  });

  test('add() declares without attaching, finds what exists, and tells what differs', async (t) => {
    const w = await collecting(t);
    const add = (more: object) => resolved(w.clock, w.bus.mailboxes.add({ ...work, ...more }));
    assert.equal((await add({})).outcome, 'existed');
    await assert.rejects(add({ pattern: 'out' }), refusal('NAME_TAKEN', 'the pattern is in, asked for was out'));
    assert.deepEqual(await add({ pattern: 'out', update: true }), {
      ...{ name: 'default/work', home: 'here', outcome: 'changed' },
    });
    assert.deepEqual((await add({ name: 'other/work' })).outcome, 'created');
    await assert.rejects(add({ concurrency: 2 }), refusal('OPTION_INVALID', "'concurrency'", 'subscribe()'));
    assert.equal((await w.bus.mailboxes.stats('work')).consumers, 0);
  });

  test('remove() keeps what waits from being lost by mistake', async (t) => {
    const w = await collecting(t);
    await fill(w, 0, 1);
    await assert.rejects(w.bus.mailboxes.remove('work'), refusal('OPTION_INVALID', '1 messages'));
    await resolved(w.clock, w.bus.mailboxes.remove('work', { discard: true }));
    assert.deepEqual(await w.bus.mailboxes.list(), []);
  });

  test('peek() shows what waits and what is parked, and not what runs, without taking any of it', async (t) => {
    const w = await collecting(t);
    await fill(w, 0, 2, { headers: { a: 'b' }, key: 'k' });
    await fill(w, 2, 3, { delay: 1000 });
    const delivery = await resolved(w.clock, w.bus.receive('work', { timeout: 0 }));
    const shown = await resolved(w.clock, w.bus.mailboxes.peek('work'));
    assert.deepEqual(
      shown.map(({ payload, attempt, key, dueAt }) => [payload, attempt, key, dueAt]),
      [
        [1, 1, 'k', undefined],
        [2, 1, undefined, w.clock.now() + 1000],
      ],
    );
    assert.deepEqual(shown[0]?.headers, { a: 'b' });
    delivery?.nack();
    await w.clock.settle();
    const after = await resolved(w.clock, w.bus.mailboxes.peek('work'));
    assert.deepEqual(
      after.map(({ payload, attempt }) => [payload, attempt]),
      [
        [1, 1],
        [2, 1],
        [0, 2],
      ],
    );
    const rest = await resolved(w.clock, w.bus.mailboxes.peek('work', { limit: 1, from: after[1]?.position ?? '' }));
    assert.deepEqual(rest, after.slice(1, 2));
    await assert.rejects(w.bus.mailboxes.peek('work', { from: 'x' }), refusal('OPTION_INVALID', 'from'));
  });

  test('peek() shows at most as many as it is told, else 20, and fewer when they are large', async (t) => {
    await using bus = await open(tempFolder(t));
    await bus.mailboxes.add(work);
    await backlog(bus, 30);
    const count = async (options: object = {}) => (await bus.mailboxes.peek('work', options)).length;
    assert.deepEqual([await count(), await count({ limit: 3 }), await count({ limit: 30 })], [20, 3, 30]);
    await bus.mailboxes.clear('work');
    for (let i = 0; i < 3; i++) await bus.publish('in', new Uint8Array(900_000));
    assert.equal(await count(), 2);
  });

  test('clear() removes everything that is not running, parked and waiting behind its key as well', async (t) => {
    const w = await collecting(t);
    await fill(w, 0, 3, { key: 'a' });
    const running = await resolved(w.clock, w.bus.receive('work', { timeout: 0 }));
    await w.clock.settle();
    await fill(w, 3, 6);
    (await resolved(w.clock, w.bus.receive('work', { timeout: 0 })))?.nack();
    await fill(w, 6, 7, { delay: 1000 });
    assert.equal(await resolved(w.clock, w.bus.mailboxes.clear('work')), 6);
    assert.deepEqual(
      w.seen('message.dropped').map(({ reason, count }) => [reason, count]),
      [['cleared', 6]],
    );
    await w.clock.advance(5000);
    const { waiting, running: out, parked, bytes } = await w.bus.mailboxes.stats('work');
    assert.deepEqual([waiting, out, parked], [0, 1, 0]);
    assert.ok(bytes > 0);
    assert.equal(running?.ack(), true);
    await fill(w, 7, 8, { key: 'a' });
    const next = await resolved(w.clock, w.bus.receive('work', { timeout: 0 }));
    assert.equal(next?.message.payload, 7);
    next?.ack();
    await w.clock.settle();
    assert.equal((await w.bus.mailboxes.stats('work')).bytes, 0);
  });

  test('prune() removes what has expired, by its own time or by that of the mailbox', async (t) => {
    const w = await collecting(t, { limits: { age: 10_000 } });
    await fill(w, 0, 2);
    await w.clock.advance(6000);
    await fill(w, 2, 4, { ttl: 1000 });
    await fill(w, 4, 5);
    await w.clock.advance(5000);
    assert.equal(await resolved(w.clock, w.bus.mailboxes.prune('work')), 4);
    assert.deepEqual(await payloads(w.bus), [4]);
    assert.deepEqual(
      w
        .seen('message.expired')
        .map(({ reason, count }) => [reason, count])
        .sort(),
      [
        ['age', 2],
        ['expired', 2],
      ],
    );
    assert.equal(await resolved(w.clock, w.bus.mailboxes.prune('work')), 0);
  });

  test('what prune() removes becomes a dead letter where the limits say so', async (t) => {
    const w = await collecting(t, { limits: { deadLetters: true } });
    await fill(w, 0, 2, { ttl: 1000 });
    await w.clock.advance(1000);
    assert.equal(await resolved(w.clock, w.bus.mailboxes.prune('work')), 2);
    assert.equal((await w.bus.status()).deadLetters.size, 2);
  });
});

describe('bus.mailboxes with a backlog larger than memory', () => {
  const count = 24_000;

  test('peek() goes on on disk', async (t) => {
    await using bus = await open(tempFolder(t));
    await bus.mailboxes.add(work);
    await backlog(bus, count);
    assert.deepEqual(
      await payloads(bus),
      Array.from({ length: count }, (_, n) => n),
    );
  });

  test('clear() removes it from the disk, for good', async (t) => {
    const dataDir = tempFolder(t);
    {
      await using bus = await open(dataDir);
      await bus.mailboxes.add(work);
      await backlog(bus, count, (n) => (n % 8 === 0 ? { delay: 3_600_000 } : {}));
    }
    {
      await using bus = await open(dataDir);
      assert.equal(await bus.mailboxes.clear('work'), count);
      const { waiting, bytes, parked } = await bus.mailboxes.stats('work');
      assert.deepEqual([waiting, bytes, parked], [0, 0, 0]);
      await bus.publish('in', 'after');
    }
    await using bus = await open(dataDir);
    assert.deepEqual(await payloads(bus), ['after']);
    const [{ waiting } = { waiting: -1 }] = await bus.mailboxes.list();
    assert.equal(waiting, 1);
  });

  test('clear() removes what is parked on disk only', async (t) => {
    const dataDir = tempFolder(t);
    {
      await using bus = await open(dataDir);
      await bus.mailboxes.add(work);
      await backlog(bus, count, (n) => ({ delay: 3_600_000 + n }));
    }
    await using bus = await open(dataDir);
    assert.equal(await bus.mailboxes.clear('work'), count);
    const { waiting, bytes } = await bus.mailboxes.stats('work');
    assert.deepEqual([waiting, bytes], [0, 0]);
    assert.deepEqual(await payloads(bus), []);
  });

  test('prune() removes what has expired where it lies; the rest is handed out, also after a restart', async (t) => {
    const dataDir = tempFolder(t);
    const expires = (n: number): boolean => n > 100 && (n % 3 === 0 || (n > 12_000 && n < 14_500));
    const left = Array.from({ length: count }, (_, n) => n).filter((n) => !expires(n));
    {
      await using bus = await open(dataDir);
      await bus.mailboxes.add(work);
      await backlog(bus, count, (n) => (expires(n) ? { ttl: 1 } : {}));
      assert.equal(await bus.mailboxes.prune('work'), count - left.length);
      assert.equal((await bus.mailboxes.stats('work')).waiting, left.length);
      assert.equal(await bus.mailboxes.prune('work'), 0);
      assert.deepEqual(await payloads(bus), left);
    }
    await using bus = await open(dataDir);
    assert.equal((await bus.mailboxes.stats('work')).waiting, left.length);
    const seen: unknown[] = [];
    await bus.subscribe('in', ({ payload }) => void seen.push(payload), { name: 'work', durable: true });
    await bus.drain();
    assert.deepEqual(seen, left);
    const { waiting, bytes, lost } = await bus.mailboxes.stats('work');
    assert.deepEqual([waiting, bytes, lost], [0, 0, 0]);
  });
});

describe('createBus({ config })', () => {
  test('takes options and subscriptions from the file; what is given beside it counts', async (t) => {
    const folder = tempFolder(t);
    const config = join(folder, 'mailvan.config.json');
    const subscriptions = [{ name: 'orders', pattern: 'orders\\..*', limits: { messages: 5 } }];
    writeFileSync(config, JSON.stringify({ node: 'a', service: 'shop', store: { folder: './data' }, subscriptions }));
    {
      await using bus = await createBus({ config, node: 'b', logger: silentLogger, cluster: undefined } as object);
      assert.equal(bus.node, 'b');
      const [info] = await bus.mailboxes.list();
      assert.deepEqual([info?.name, info?.policy.limits.messages, info?.consumers], ['shop/orders', 5, 0]);
      assert.equal((await bus.publish('orders.new', 1)).stored, 1);
    }
    await using again = await createBus({ config, node: 'b', logger: silentLogger });
    assert.equal((await again.front('orders'))?.message.payload, 1);
    await assert.rejects(createBus({ config: 5 as unknown as string }), refusal('OPTION_INVALID', 'config 5'));
  });
});
