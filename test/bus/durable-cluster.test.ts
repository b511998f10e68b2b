import assert from 'node:assert/strict';
import { test } from 'node:test';
import { spoolKey, unpackSpool } from '../../src/bus/streams/spool.ts';
import { BusError } from '../../src/core/errors.ts';
import { packRecord, recordKind } from '../../src/storage/record.ts';
import type { Disk } from '../../src/testing/disk.ts';
import { refusal } from '../core/testbed.ts';
import { DurableWorld } from './durable-world.ts';

type Options = ConstructorParameters<typeof DurableWorld>[0];

function inWorld(name: string, run: (world: DurableWorld) => Promise<void>, options?: Options): void {
  test(name, { timeout: 60_000 }, async () => {
    const world = new DurableWorld(options);
    await run(world);
    await world.close();
  });
}

const numbers = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** Publishes payloads one after the other. @returns the receipts. */
async function publishAll(world: DurableWorld, node: string, payloads: readonly unknown[], options = {}) {
  const all = payloads.map((payload) => world.bus(node).publish('t', payload, options));
  return world.until(Promise.all(all));
}

// Names

inWorld('a durable name is given by the leader, and everybody attaches to the mailbox that it names', async (w) => {
  await w.start('lead');
  await w.start('home');
  await w.start('leaf', { stored: false });
  const got: unknown[] = [];
  await w.durable('home', 'work', null);
  await w.durable('leaf', 'work', ({ payload }) => got.push(payload));
  const [receipt] = await publishAll(w, 'lead', [1]);
  assert.deepEqual(
    { ...receipt, id: '' },
    { id: '', matched: 1, stored: 1, spooled: 0, level: 'fsync', unreachable: [] },
  );
  await w.when(() => got.length === 1);
});

inWorld(
  'a name that exists with other options is NAME_TAKEN, telling the difference; update: true changes them',
  async (w) => {
    await w.start('lead');
    await w.start('home');
    await w.start('leaf', { stored: false });
    await w.durable('home', 'work', null, { retry: { attempts: 3 } });
    await assert.rejects(
      w.durable('leaf', 'work', () => {}, { retry: { attempts: 7 } }),
      refusal('NAME_TAKEN', 'attempts'),
    );
    await assert.rejects(
      w.durable('leaf', 'work', () => {}, { pattern: 'x' }),
      refusal('NAME_TAKEN', 'pattern'),
    );
    const got: unknown[] = [];
    await w.durable('leaf', 'work', ({ payload }) => got.push(payload), { pattern: 't|u', update: true });
    await w.until(w.bus('lead').publish('u', 5));
    await w.when(() => got.length === 1);
  },
);

inWorld('two nodes that create one name at once get one mailbox', async (w) => {
  await w.start('lead', { stored: false });
  await w.start('a');
  await w.start('b');
  await w.clock.advance(10_000);
  const got: unknown[] = [];
  await Promise.all(['a', 'b'].map((node) => w.durable(node, 'work', ({ payload }) => got.push(payload))));
  for (const node of ['lead', 'a', 'b']) assert.equal(w.bus(node).explain('t').routes.length, 1, node);
  await publishAll(w, 'a', numbers(1, 20));
  await w.when(() => got.length === 20);
});

inWorld(
  'without a store here or at the leader a durable subscription is STORE_REQUIRED; with one there it is made there',
  async (w) => {
    await w.start('lead', { stored: false });
    await w.start('leaf', { stored: false });
    await w.clock.advance(10_000);
    await assert.rejects(w.durable('leaf', 'work', null), refusal('STORE_REQUIRED', 'leader has no store'));
    await w.die('lead');
    await w.start('lead');
    await w.when(() => w.seen('leaf', 'leader.found').length > 0);
    await w.durable('leaf', 'work', null);
    assert.equal(w.bus('leaf').explain('t').routes[0]?.node, 'lead');
  },
);

inWorld('a durable subscription counts as stored by its own durability, whatever the bus says', async (w) => {
  await w.start('lead');
  await w.start('quick', { durability: 'os' });
  await w.durable('lead', 'plain', null, { pattern: 'plain' });
  await w.durable('lead', 'quick', null, { pattern: 'quick|both', durability: 'os' });
  await w.durable('quick', 'quick-bus', null, { pattern: 'bus' });
  await w.durable('quick', 'sure', null, { pattern: 'sure|both', durability: 'fsync' });
  const levels: string[] = [];
  for (const topic of ['plain', 'quick', 'bus', 'sure', 'both']) {
    levels.push((await w.until(w.bus('lead').publish(topic, 1))).level);
  }
  assert.deepEqual(levels, ['fsync', 'os', 'os', 'fsync', 'os']);
});

for (const node of ['lead', 'leaf']) {
  const where = node === 'lead' ? 'at its home' : 'on another node';
  inWorld(`a consumer ${where} holds as many deliveries as its credit says, whatever its concurrency`, async (w) => {
    await w.start('lead');
    await w.start('leaf', { stored: false });
    let running = 0;
    const stuck = () => {
      running++;
      return new Promise(() => {});
    };
    await w.durable(node, 'plain', stuck, { pattern: 'plain', concurrency: 5 });
    await w.durable(node, 'less', stuck, { pattern: 'less', concurrency: 5, credit: 2 });
    const counts: number[] = [];
    for (const topic of ['plain', 'less']) {
      running = 0;
      for (const n of numbers(1, 9)) await w.until(w.bus('lead').publish(topic, n));
      await w.clock.advance(1_000);
      counts.push(running);
    }
    assert.deepEqual(counts, [5, 2]);
  });
}

// Restarts

inWorld('a home that restarts gets its consumers back: nothing is lost, and only what ran comes again', async (w) => {
  await w.start('lead');
  await w.start('home');
  await w.start('leaf', { stored: false });
  await w.durable('home', 'work', null);
  const got: number[] = [];
  await w.durable('leaf', 'work', ({ payload }) => got.push(payload as number), { concurrency: 4 });
  await publishAll(w, 'leaf', numbers(1, 50));
  await w.when(() => got.length === 50);
  await w.clock.advance(100);
  await w.die('home');
  await w.start('home');
  await w.clock.advance(5_000);
  await publishAll(w, 'leaf', numbers(51, 100));
  await w.when(() => new Set(got).size === 100);
  assert.deepEqual(got, numbers(1, 100));
});

inWorld('a consumer that dies loses nothing: another life of it goes on', async (w) => {
  await w.start('lead');
  await w.start('leaf', { stored: false });
  await w.durable('lead', 'work', null);
  const handled = new Map<number, number>();
  await w.durable('leaf', 'work', () => new Promise(() => {}), { concurrency: 3 });
  await publishAll(w, 'lead', numbers(1, 30));
  await w.clock.advance(100);
  await w.die('leaf');
  await w.start('leaf', { stored: false });
  const attempts: number[] = [];
  await w.durable('leaf', 'work', ({ payload }, attempt) => {
    attempts.push(attempt);
    handled.set(payload as number, (handled.get(payload as number) ?? 0) + 1);
  });
  await w.when(() => handled.size === 30);
  await w.clock.advance(1_000);
  assert.ok([...handled.values()].every((count) => count === 1));
  assert.equal(attempts.filter((attempt) => attempt === 2).length, 3);
});

for (const stored of [true, false]) {
  inWorld(
    `a leader ${stored ? 'with' : 'without'} a store that restarts forgets no durable subscription`,
    async (w) => {
      await w.start('lead', { stored });
      await w.start('home');
      await w.start('leaf', { stored: false });
      await w.clock.advance(10_000);
      const got: number[] = [];
      await w.durable('home', 'work', null);
      await w.durable('leaf', 'work', ({ payload }) => got.push(payload as number));
      await publishAll(w, 'leaf', numbers(1, 10));
      await w.when(() => got.length === 10);
      await w.die('lead');
      await w.clock.advance(1_000);
      await w.start('lead', { stored });
      await w.clock.advance(10_000);
      await publishAll(w, 'leaf', numbers(11, 20));
      await publishAll(w, 'lead', numbers(21, 30));
      await w.when(() => got.length >= 30);
      assert.deepEqual(got, numbers(1, 30));
    },
  );
}

// Store and forward

inWorld(
  'what is published while the home is away arrives in order, once, after home, publisher and leader have each died',
  async (w) => {
    await w.start('lead');
    await w.start('home');
    await w.start('pub');
    const got: number[] = [];
    const handler = ({ payload }: { payload: unknown }) => void got.push(payload as number);
    await w.durable('home', 'work', handler);
    await publishAll(w, 'pub', numbers(1, 10));
    await w.when(() => got.length === 10);
    await w.clock.advance(50);
    await w.die('home');
    await w.clock.advance(4_000);
    const [receipt] = await publishAll(w, 'pub', numbers(11, 40));
    assert.deepEqual(
      { ...receipt, id: '' },
      { id: '', matched: 1, stored: 0, spooled: 1, level: 'fsync', unreachable: [] },
    );
    await w.die('pub');
    await w.start('pub');
    await publishAll(w, 'pub', numbers(41, 60));
    await w.die('lead');
    await w.die('pub');
    await w.start('pub'); // the leader is away: it starts from what it knows
    await publishAll(w, 'pub', numbers(61, 80));
    await w.start('lead');
    await w.clock.advance(10_000);
    await publishAll(w, 'pub', numbers(81, 100));
    await w.start('home');
    await w.durable('home', 'work', handler);
    await w.clock.advance(3_000);
    await publishAll(w, 'pub', numbers(101, 120));
    await w.when(() => got.length >= 120);
    await w.clock.advance(5_000);
    assert.deepEqual(got, numbers(1, 120));
    // Nothing of it is left.
    assert.deepEqual((await w.until(w.bus('pub').status())).spools ?? [], []);
  },
);

inWorld(
  'without a store a publish to a home that is away is NODE_UNREACHABLE, and completes later with its id',
  async (w) => {
    await w.start('lead');
    await w.start('home');
    await w.start('leaf', { stored: false });
    const got: unknown[] = [];
    await w.durable('home', 'work', ({ payload }) => got.push(payload));
    w.cut('home');
    const first = w.bus('leaf').publish('t', 'x', { timeout: 5_000 });
    const error = await w.until(
      first.then(
        () => assert.fail('it resolved'),
        (thrown: unknown) => thrown as BusError,
      ),
    );
    assert.ok(error instanceof BusError);
    assert.ok(error.code === 'NODE_UNREACHABLE' || error.code === 'TIMEOUT', error.code);
    assert.deepEqual(error.receipt?.unreachable, []);
    await w.clock.advance(3_000);
    await assert.rejects(w.until(w.bus('leaf').publish('t', 'y')), refusal('NODE_UNREACHABLE'));
    w.heal('home');
    await w.clock.advance(5_000);
    const again = await w.until(w.bus('leaf').publish('t', 'x', { id: error.receipt?.id as string }));
    assert.equal(again.stored, 1);
    await w.clock.advance(1_000);
    assert.deepEqual(got, ['x']);
  },
);

inWorld(
  'the link of the home cut in the middle of a stream: every receipt is honoured, in order, once',
  async (w) => {
    await w.start('lead');
    await w.start('home');
    await w.start('pub');
    const got: number[] = [];
    await w.durable('home', 'work', ({ payload }) => void got.push(payload as number));
    const pending: Promise<unknown>[] = [];
    let next = 1;
    const during = async (ms: number): Promise<void> => {
      for (let t = 0; t < ms; t += 5) {
        pending.push(w.bus('pub').publish('t', next++));
        await w.clock.advance(5);
      }
    };
    await during(500);
    w.cut('home');
    await during(5_000);
    w.heal('home');
    await during(3_000);
    w.cut('pub');
    await during(5_000);
    w.heal('pub');
    await during(3_000);
    await w.until(Promise.all(pending));
    await w.when(() => got.length >= next - 1);
    await w.clock.advance(1_000);
    assert.deepEqual(got, numbers(1, next - 1));
  },
  { delay: { min: 1, max: 15 }, storeDelay: 3 },
);

inWorld('a message whose time to live ends in the spool is not delivered, and told', async (w) => {
  await w.start('lead');
  await w.start('home');
  await w.start('pub');
  const got: unknown[] = [];
  await w.durable('home', 'work', ({ payload }) => got.push(payload));
  w.cut('home');
  await w.clock.advance(4_000);
  await publishAll(w, 'pub', ['short'], { ttl: 1_000 });
  await publishAll(w, 'pub', ['long']);
  await w.clock.advance(2_000);
  w.heal('home');
  await w.when(() => got.length > 0);
  await w.clock.advance(2_000);
  assert.deepEqual(got, ['long']);
  assert.equal(w.seen('pub', 'message.expired').length, 1);
});

inWorld('a full mailbox that rejects: who has no receipt is refused, what is spooled waits for room', async (w) => {
  await w.start('lead');
  await w.start('home');
  await w.start('pub');
  const limits = { messages: 5, overflow: 'reject' as const };
  await w.durable('home', 'work', null, { limits });
  await publishAll(w, 'pub', numbers(1, 5));
  await assert.rejects(w.until(w.bus('pub').publish('t', 'too many')), refusal('MAILBOX_FULL'));
  w.cut('home');
  await w.clock.advance(4_000);
  const receipts = await publishAll(w, 'pub', numbers(6, 30));
  assert.ok(receipts.every(({ spooled }) => spooled === 1));
  w.heal('home');
  await w.clock.advance(5_000);
  const got: unknown[] = [];
  await w.durable('home', 'work', ({ payload }) => got.push(payload), { limits });
  await w.when(() => got.length >= 30);
  await w.clock.advance(2_000);
  assert.deepEqual(got, numbers(1, 30));
});

inWorld(
  'a home whose store fails for a while: nothing that has a receipt is missing afterwards, nothing is there twice',
  async (w) => {
    await w.start('lead');
    await w.start('home');
    await w.start('pub');
    await w.start('plain', { stored: false });
    const got: unknown[] = [];
    await w.durable('home', 'work', ({ payload }) => got.push(payload));
    const given = new Set<unknown>();
    const pending: Promise<unknown>[] = [];
    const publish = (node: string, payload: unknown): void => {
      const sent = w.bus(node).publish('t', payload, { timeout: 3_000 });
      pending.push(
        sent.then(
          () => given.add(payload),
          () => undefined,
        ),
      );
    };
    for (let round = 0; round < 4; round++) {
      for (let i = 0; i < 20; i++) {
        publish('pub', `p${round}.${i}`);
        publish('plain', `q${round}.${i}`);
        await w.clock.advance(3);
      }
      const { behaviour } = w.source('home');
      behaviour.faults = new Map([[round % 3, round % 2 === 0 ? 'lost' : 'applied']]);
      behaviour.refusals = 5;
    }
    await w.clock.advance(20_000);
    await w.until(Promise.all(pending));
    assert.equal([...given].filter((payload) => String(payload).startsWith('p')).length, 80);
    await w.when(() => [...given].every((payload) => got.includes(payload)));
    assert.equal(new Set(got).size, got.length);
    assert.ok(w.seen('home', 'store.failed').length > 0);
  },
);

// Consumers on other nodes

inWorld(
  'competing consumers on three nodes share the work; with a key its messages are handled one at a time, in order',
  async (w) => {
    await w.start('lead');
    for (const node of ['a', 'b', 'c']) await w.start(node, { stored: false });
    await w.durable('lead', 'work', null);
    const by = new Map<string, number>();
    const running = new Set<string>();
    const order = new Map<string, number[]>();
    for (const node of ['a', 'b', 'c']) {
      await w.durable(
        node,
        'work',
        async ({ payload, key }) => {
          by.set(node, (by.get(node) ?? 0) + 1);
          if (key === undefined) return;
          assert.ok(!running.has(key), `two of ${key} at once`);
          running.add(key);
          await new Promise<void>((done) => void w.clock.timer(w.clock.random() * 20, done));
          order.set(key, [...(order.get(key) ?? []), payload as number]);
          running.delete(key);
        },
        { concurrency: 2 },
      );
    }
    for (const n of numbers(1, 90))
      await w.until(w.bus('lead').publish('t', n, n % 3 === 0 ? {} : { key: `k${n % 5}` }));
    await w.until(w.bus('lead').drain());
    await w.when(() => [...by.values()].reduce((a, b) => a + b, 0) === 90);
    assert.equal(by.size, 3);
    for (const list of order.values())
      assert.deepEqual(
        list,
        [...list].sort((x, y) => x - y),
      );
  },
);

inWorld(
  'nack, term and an unreadable payload of a consumer on another node become retries and dead letters at the home',
  async (w) => {
    await w.start('lead');
    await w.start('leaf', { stored: false });
    await w.durable('lead', 'work', null, { retry: { attempts: 3, delay: 10, jitter: 0 } });
    const attempts: [unknown, number][] = [];
    await w.until(
      w.bus('leaf').subscribe(
        't',
        ({ payload }, context) => {
          attempts.push([payload, context.attempt]);
          if (payload === 'term') context.term('no way');
          else throw new Error(`cannot do ${String(payload)}`);
        },
        { name: 'work', durable: true },
      ),
    );
    await publishAll(w, 'lead', ['nack', 'term']);
    await w.clock.advance(5_000);
    const dead = await w.until(w.bus('lead').deadLetters.list());
    assert.deepEqual(dead.map(({ payload, reason, attempts: n }) => [payload, reason, n]).sort(), [
      ['nack', 'attempts', 3],
      ['term', 'permanent', 1],
    ]);
    assert.match(String(dead.find(({ payload }) => payload === 'nack')?.lastError.message), /cannot do nack/);
    assert.equal(attempts.length, 4);
  },
);

inWorld(
  'the link cut while a keyed message runs: its key waits until the handler has returned, the others go on elsewhere',
  async (w) => {
    await w.start('lead');
    await w.start('a', { stored: false });
    await w.start('b', { stored: false });
    await w.durable('lead', 'work', null);
    const log: string[] = [];
    let release: () => void = () => {};
    await w.durable('a', 'work', ({ payload }) => {
      log.push(`a:${String(payload)}`);
      return new Promise<void>((done) => {
        release = done;
      });
    });
    await w.until(w.bus('lead').publish('t', 1, { key: 'k' }));
    await w.until(w.bus('lead').publish('t', 2, { key: 'k' }));
    await w.until(w.bus('lead').publish('t', 3, { key: 'other' }));
    await w.when(() => log.length === 1);
    await w.durable('b', 'work', ({ payload }, attempt) => void log.push(`b:${String(payload)}#${attempt}`));
    await w.clock.advance(100);
    w.cut('a');
    await w.clock.advance(4_000);
    assert.deepEqual(log, ['a:1', 'b:3#1']);
    w.heal('a');
    await w.clock.advance(5_000);
    assert.deepEqual(log, ['a:1', 'b:3#1'], 'the handler on a still runs');
    const before = w.clock.monotonic();
    release();
    await w.when(() => log.length >= 4);
    assert.ok(w.clock.monotonic() - before < 1_000, 'it was told');
    assert.equal(log.filter((line) => line.includes(':1')).length, 2);
    assert.ok(
      log.findIndex((line) => /[ab]:1#2/.test(line)) < log.findIndex((line) => line.includes(':2')) ||
        log.includes('a:1'),
    );
  },
);

inWorld('an acknowledgement that comes after its delivery was taken away is refused', async (w) => {
  await w.start('lead');
  await w.start('a', { stored: false });
  await w.durable('lead', 'work', null);
  let runs = 0;
  const open: (() => void)[] = [];
  const outputs: unknown[] = [];
  await w.until(w.bus('lead').subscribe('out', ({ payload }) => void outputs.push(payload)));
  await w.until(
    w.bus('a').subscribe(
      't',
      async (_message, context) => {
        const run = ++runs;
        await new Promise<void>((done) => open.push(done));
        await context.publish('out', run).catch(() => undefined);
      },
      { name: 'work', durable: true },
    ),
  );
  await publishAll(w, 'lead', [1]);
  await w.when(() => runs === 1);
  w.cut('a');
  await w.clock.advance(4_000);
  w.heal('a');
  await w.when(() => runs === 2);
  open[0]?.(); // the first run ends only now
  await w.clock.advance(1_000);
  assert.deepEqual(outputs, []);
  open[1]?.();
  await w.when(() => outputs.length > 0);
  await w.clock.advance(1_000);
  assert.deepEqual(outputs, [2]);
});

inWorld(
  'an atomic step of a consumer on another node reaches local, remote and memory targets, with the settlement',
  async (w) => {
    await w.start('lead');
    await w.start('home');
    await w.start('other');
    await w.start('leaf', { stored: false });
    const got = { local: [] as unknown[], remote: [] as unknown[], memory: [] as unknown[] };
    await w.durable('home', 'in', null);
    await w.durable('home', 'local', ({ payload }) => got.local.push(payload), { pattern: 'out' });
    await w.durable('other', 'remote', ({ payload }) => got.remote.push(payload), { pattern: 'out' });
    await w.until(w.bus('lead').subscribe('out', ({ payload }) => void got.memory.push(payload)));
    await w.until(
      w.bus('leaf').subscribe(
        't',
        async ({ payload }, context) => {
          await context.publish('out', payload);
          if (context.attempt === 1) throw new Error('not yet');
        },
        { name: 'in', durable: true, retry: { delay: 10, attempts: 5 }, update: true },
      ),
    );
    await publishAll(w, 'leaf', numbers(1, 20));
    await w.when(() => got.local.length >= 20 && got.remote.length >= 20 && got.memory.length >= 20);
    await w.clock.advance(5_000);
    for (const list of Object.values(got))
      assert.deepEqual(
        [...list].sort((a, b) => Number(a) - Number(b)),
        numbers(1, 20),
      );
  },
);

// Ends

inWorld('drain and unsubscribe reach the home from any node, and a removed name does not come back', async (w) => {
  await w.start('lead');
  await w.start('home');
  await w.start('away');
  await w.start('leaf', { stored: false });
  await w.durable('home', 'work', null);
  await publishAll(w, 'leaf', numbers(1, 5));
  await assert.rejects(w.until(w.bus('leaf').unsubscribe('work')), refusal('OPTION_INVALID', 'discard'));
  w.cut('away');
  await w.clock.advance(4_000);
  await w.until(w.bus('leaf').unsubscribe('work', { discard: true }));
  await w.clock.advance(100);
  await w.die('lead');
  await w.start('lead');
  w.heal('away');
  await w.clock.advance(10_000);
  for (const node of ['lead', 'home', 'away', 'leaf']) assert.equal(w.bus(node).explain('t').routes.length, 0, node);
  await w.durable('away', 'work', null);
  for (const node of ['lead', 'home', 'away', 'leaf']) assert.equal(w.bus(node).explain('t').routes.length, 1, node);
});

inWorld(
  'a lost home: what was spooled for it becomes dead letters; a home that returns keeps what it holds',
  async (w) => {
    await w.start('lead');
    await w.start('home');
    await w.start('pub');
    await w.durable('home', 'work', null);
    await publishAll(w, 'pub', numbers(1, 3));
    await assert.rejects(
      w.until(w.bus('pub').unsubscribe('work', { lost: true })),
      refusal('OPTION_INVALID', 'is there'),
    );
    await w.clock.advance(100);
    await w.die('home');
    await w.clock.advance(20_000);
    await publishAll(w, 'pub', numbers(4, 8));
    await w.die('pub');
    await w.start('pub');
    await publishAll(w, 'pub', numbers(9, 10));
    await w.until(w.bus('pub').unsubscribe('work', { lost: true }));
    await w.clock.advance(1_000);
    const dead = await w.until(w.bus('pub').deadLetters.list());
    assert.deepEqual(
      dead.map(({ payload, reason, subscription }) => [payload, reason, subscription]),
      numbers(4, 10).map((n) => [n, 'unreachable', 'test/work']),
    );
    assert.equal(w.bus('pub').explain('t').routes.length, 0);
    await w.start('home');
    await w.clock.advance(5_000);
    assert.equal(w.bus('pub').explain('t').routes.length, 1);
    const got: unknown[] = [];
    await w.durable('home', 'work', ({ payload }) => got.push(payload));
    await w.when(() => got.length === 3);
  },
);

// Through the leader's relay

for (const [what, time] of [
  ['for a moment', 1_500],
  ['until it is taken for lost', 5_000],
] as const) {
  inWorld(
    `deliveries that fill the relay's lane while a link is cut ${what} are all handled, none twice at a time`,
    async (w) => {
      await w.start('lead');
      await w.start('home');
      await w.start('cons', { stored: false });
      await w.durable('home', 'work', null);
      const count = 400;
      const text = 'x'.repeat(100_000);
      for (const n of numbers(1, count))
        await w.until(w.bus('home').publish('t', { n, text }, n % 2 === 0 ? {} : { key: `k${n % 7}` }));
      const handled: number[] = [];
      const running = new Set<number>();
      const order = new Map<string, number[]>();
      const handler = async ({ payload, key }: { payload: unknown; key?: string | undefined }) => {
        const { n } = payload as { n: number };
        assert.ok(!running.has(n));
        running.add(n);
        await new Promise<void>((done) => void w.clock.timer(20, done));
        running.delete(n);
        handled.push(n);
        if (key !== undefined) order.set(key, [...(order.get(key) ?? []), n]);
      };
      w.clock.timer(60, () => w.cut('cons'));
      await w.durable('cons', 'work', handler, { concurrency: 300 });
      await w.clock.advance(time);
      w.heal('cons');
      await w.when(() => new Set(handled).size === count, 120_000);
      await w.until(w.bus('home').drain({ timeout: 60_000 }));
      if (time < 3_000) assert.equal(handled.length, count);
      for (const list of order.values()) {
        const once = list.filter((n, i) => list.indexOf(n) === i);
        assert.deepEqual(
          once,
          [...once].sort((x, y) => x - y),
        );
      }
    },
  );
}

inWorld('a durable stream through a relay whose lane is full discards, and goes on by number', async (w) => {
  await w.start('lead');
  await w.start('home');
  await w.start('pub');
  const got: number[] = [];
  await w.durable('home', 'work', ({ payload }) => void got.push((payload as { n: number }).n));
  const text = 'x'.repeat(200_000);
  const pending: Promise<unknown>[] = [];
  w.cut('home');
  for (const n of numbers(1, 15)) pending.push(w.bus('pub').publish('t', { n, text }));
  await w.clock.advance(1_000);
  w.heal('home');
  for (const n of numbers(16, 100)) {
    pending.push(
      w
        .bus('pub')
        .publish('t', { n, text })
        .catch(() => undefined),
    );
    await w.clock.advance(2);
    if (n === 40) w.cut('home');
    if (n === 60) w.heal('home');
  }
  await w.until(Promise.all(pending));
  await w.when(() => got.length >= 100);
  assert.deepEqual(got, numbers(1, 100));
});

inWorld(
  'a publisher without a store that is away for long after its confirmations were lost doubles nothing',
  async (w) => {
    await w.start('lead');
    await w.start('home');
    await w.start('plain', { stored: false });
    const got: unknown[] = [];
    await w.durable('home', 'work', ({ payload }) => got.push(payload));
    await publishAll(w, 'plain', [1]);
    w.network.cut('lead', 'plain', 'forth'); // what it sends arrives, what it should hear does not
    const sent = w
      .bus('plain')
      .publish('t', 2, { timeout: 1_000 })
      .catch((error: BusError) => error.code);
    await w.clock.advance(500);
    w.cut('plain');
    await w.until(sent);
    await w.clock.advance(180_000);
    w.heal('plain');
    await w.clock.advance(10_000);
    assert.deepEqual(got, [1, 2]);
    await publishAll(w, 'plain', [3]);
    await w.when(() => got.length >= 3);
    assert.deepEqual(got, [1, 2, 3]);
  },
);

inWorld('a spool of an earlier life that holds nothing does not hold up those behind it', async (w) => {
  for (const node of ['lead', 'home', 'pub']) await w.start(node);
  await w.durable('home', 'work', null);
  await w.die('home');
  await w.clock.advance(5_000);
  for (let n = 0; n < 3; n++) assert.equal((await w.until(w.bus('pub').publish('t', n))).spooled, 1);
  await w.die('pub');
  // A life in which a spool was begun, and nothing got into it.
  const disk = w.disks.get('pub') as Disk;
  const [key = ''] = disk.keys('ob/');
  const record = unpackSpool(key, disk.values.get(key) as Uint8Array);
  const later = { ...record, origin: 'f'.repeat(16), start: record.start + 1 };
  disk.tamper(spoolKey(later), packRecord(recordKind.spool, later));
  await w.start('pub');
  for (let n = 3; n < 6; n++) assert.equal((await w.until(w.bus('pub').publish('t', n))).spooled, 1);
  await w.clock.advance(1_000);
  await w.start('home');
  const got: unknown[] = [];
  await w.durable('home', 'work', ({ payload }) => void got.push(payload));
  await w.when(() => got.length >= 6);
  assert.deepEqual(got, [0, 1, 2, 3, 4, 5]);
});

inWorld(
  'spools that a life began one after the other, as its store failed, are sent in that order by the next',
  async (w) => {
    for (const node of ['lead', 'home', 'pub']) await w.start(node);
    await w.durable('home', 'work', null);
    await w.die('home');
    await w.clock.advance(5_000);
    const sent: number[] = [];
    for (let n = 0; n < 8; n++) {
      assert.equal((await w.until(w.bus('pub').publish('t', n))).spooled, 1);
      sent.push(n);
      w.source('pub').behaviour.faults = new Map([[0, 'lost']]);
      await assert.rejects(w.until(w.bus('pub').publish('t', 'not written')));
      await w.when(() => w.seen('pub', 'store.recovered').length === n + 1);
    }
    assert.equal((w.disks.get('pub') as Disk).keys('ob/').length, 8);
    await w.die('pub');
    await w.start('pub');
    await w.start('home');
    const got: unknown[] = [];
    await w.durable('home', 'work', ({ payload }) => void got.push(payload));
    await w.when(() => got.length >= 8);
    assert.deepEqual(got, sent);
  },
);

test('a consumer that attaches again before its first stream has opened settles nothing but what it was given', async () => {
  // The link is cut for longer than a consumer waits, at every moment of its attaching.
  for (let at = 0; at < 60; at += 4) {
    const w = new DurableWorld({ seed: at + 1, delay: { min: 1, max: 8 } });
    for (const node of ['lead', 'home', 'edge']) await w.start(node, { stored: node === 'home' });
    const outputs: string[] = [];
    await w.durable('home', 'out', ({ payload }) => void outputs.push(String(payload)), { pattern: 'out' });
    await w.durable('home', 'work', null);
    const subscribed = w.bus('edge').subscribe(
      't',
      async ({ payload }, context) => {
        await new Promise<void>((done) => void w.clock.timer(5, done));
        await context.publish('out', payload);
      },
      { name: 'work', durable: true, concurrency: 2 },
    );
    await w.clock.advance(at);
    w.cut('edge');
    await w.clock.advance(520);
    for (let n = 0; n < 6; n++) await w.until(w.bus('home').publish('t', n));
    w.heal('edge');
    await w.until(subscribed);
    await w.when(() => outputs.length >= 6);
    await w.clock.advance(5_000);
    assert.deepEqual([...outputs].sort(), ['0', '1', '2', '3', '4', '5'], `cut after ${at} ms`);
    await w.close();
  }
});
