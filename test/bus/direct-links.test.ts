import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { BusOptions } from '../../src/bus/options/options.ts';
import type { BusError } from '../../src/core/errors.ts';
import { parseAddress } from '../../src/transport/address.ts';
import { prove } from '../../src/transport/proof.ts';
import { FrameDecoder } from '../../src/wire/decoder.ts';
import { type ControlFrame, decodeFrame, encodeFrame, type Hello } from '../../src/wire/frame.ts';
import { DurableWorld } from './durable-world.ts';

const numbers = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);
const listening = (n: number): BusOptions => ({ listen: `tcp://10.0.0.${n}:1900`, insecure: true });

/** A leader, and members of which those named with a number listen. */
async function world(
  members: Readonly<Record<string, number | undefined>>,
  options: ConstructorParameters<typeof DurableWorld>[0] = {},
  stored = true,
): Promise<DurableWorld> {
  const w = new DurableWorld(options);
  await w.start('lead');
  for (const [node, n] of Object.entries(members)) {
    await w.start(node, { stored, ...(n !== undefined && listening(n)) });
  }
  return w;
}

/** The nodes that a node has links to. */
async function linked(w: DurableWorld, node: string): Promise<string[]> {
  return (await w.bus(node).status()).links.map((link) => link.node).sort();
}

async function untilLinked(w: DurableWorld, from: string, to: string): Promise<void> {
  for (let i = 0; !(await linked(w, from)).includes(to); i++) {
    assert.ok(i < 1000, `${from} has no link to ${to}`);
    await w.clock.advance(10);
  }
}

/** Publishes one message after the other. @returns what became of them: a receipt's `matched`, or a code. */
async function publishAll(w: DurableWorld, node: string, payloads: readonly unknown[], topic = 't') {
  const all = payloads.map((payload) =>
    w
      .bus(node)
      .publish(topic, payload)
      .then(
        ({ matched, unreachable }) => (unreachable.length > 0 ? 'unreachable' : matched),
        (error: BusError) => error.code,
      ),
  );
  return w.until(Promise.all(all));
}

describe('members that listen', () => {
  test('link to each other when there is something to send, and the leader carries it no more', async () => {
    const w = await world({ home: 2, pub: 3, leaf: undefined });
    const got: unknown[] = [];
    await w.until(w.bus('home').subscribe('t', ({ payload }) => void got.push(payload)));
    await w.clock.advance(1_000);
    assert.deepEqual(await linked(w, 'pub'), ['lead']);
    await publishAll(w, 'pub', numbers(1, 10));
    await untilLinked(w, 'pub', 'home');
    const relayed = (await w.bus('lead').status()).links.find(({ node }) => node === 'home')?.sent ?? 0;
    await publishAll(w, 'pub', numbers(11, 500));
    const after = (await w.bus('lead').status()).links.find(({ node }) => node === 'home')?.sent ?? 0;
    assert.ok(after - relayed < 200, `the leader sent ${after - relayed} bytes to home`);
    // A leaf is reached through the node that it has dialled.
    await publishAll(w, 'leaf', numbers(501, 510));
    await w.clock.advance(1_000);
    assert.deepEqual(await linked(w, 'leaf'), ['lead']);
    assert.deepEqual(await linked(w, 'home'), ['lead', 'pub']);
    assert.deepEqual(got, numbers(1, 510));
    await w.close();
  });

  test('that dial each other at the same time keep one link', async () => {
    const w = await world({ a: 2, b: 3 }, { delay: 20 });
    const got: Record<string, unknown[]> = { a: [], b: [] };
    for (const [node, other] of [
      ['a', 'b'],
      ['b', 'a'],
    ] as const)
      await w.until(w.bus(node).subscribe(other, ({ payload }) => void got[node]?.push(payload)));
    for (const n of numbers(1, 100)) {
      for (const node of ['a', 'b']) w.bus(node).publish(node, n).catch(assert.fail);
      await w.clock.advance(7);
    }
    await w.when(() => got.a?.length === 100 && got.b?.length === 100);
    assert.deepEqual(got, { a: numbers(1, 100), b: numbers(1, 100) });
    assert.deepEqual(
      [await linked(w, 'a'), await linked(w, 'b')],
      [
        ['b', 'lead'],
        ['a', 'lead'],
      ],
    );
    await w.close();
  });

  test('are reached through the leader while they cannot be dialled, and directly when they can', async () => {
    const w = new DurableWorld();
    await w.start('lead');
    await w.start('home', listening(2));
    await w.start('pub', { stored: false, ...listening(3) });
    w.network.cut('home', 'pub');
    const got: unknown[] = [];
    await w.until(w.bus('home').subscribe('t', ({ payload }) => void got.push(payload)));
    for (const n of numbers(1, 60)) {
      assert.deepEqual(await publishAll(w, 'pub', [n]), [1]);
      await w.clock.advance(1_000);
    }
    assert.deepEqual(await linked(w, 'pub'), ['lead']);
    w.network.heal('home', 'pub');
    await w.clock.advance(40_000); // it is tried twice a minute at least
    assert.deepEqual(await linked(w, 'pub'), ['home', 'lead']);
    assert.deepEqual(await publishAll(w, 'pub', numbers(61, 70)), Array(10).fill(1));
    assert.deepEqual(got, numbers(1, 70));
    await w.close();
  });
});

describe('without the leader', () => {
  test('members that are linked directly go on: publish, retries, running handlers and settlements', async () => {
    const w = await world({ home: 2, pub: 3, cons: 4 });
    const memory: unknown[] = [];
    const stored: number[] = [];
    let running = 0;
    await w.until(w.bus('home').subscribe('t', ({ payload }) => void memory.push(payload)));
    await w.durable('home', 'work', null, { pattern: 'd', retry: { attempts: 3, delay: 50 } });
    const attempts = new Map<number, number>();
    const handler = async ({ payload }: { payload: unknown }, attempt: number) => {
      const n = Number(payload);
      assert.equal(attempt, (attempts.get(n) ?? 0) + 1, `attempt ${attempt} of ${n}`); // nothing was cut off
      attempts.set(n, attempt);
      running++;
      await new Promise<void>((done) => void w.clock.timer(300, done));
      running--;
      if (n % 5 === 0 && attempt === 1) throw new Error('once more');
      stored.push(n);
    };
    await w.durable('cons', 'work', handler, { pattern: 'd', retry: { attempts: 3, delay: 50 }, concurrency: 4 });
    await publishAll(w, 'pub', numbers(1, 8), 'd');
    await publishAll(w, 'pub', [0]);
    for (const node of ['pub', 'cons']) await untilLinked(w, node, 'home');
    await w.when(() => running === 4);
    await w.die('lead');
    assert.deepEqual(await publishAll(w, 'pub', numbers(1, 20)), Array(20).fill(1));
    // Through the time at which everybody takes the leader for lost.
    for (const n of numbers(9, 48)) {
      assert.deepEqual(await publishAll(w, 'pub', [n], 'd'), [1]);
      await w.clock.advance(500);
    }
    await w.when(() => stored.length === 48);
    assert.deepEqual(
      [...attempts.keys()].sort((x, y) => x - y),
      numbers(1, 48),
    );
    assert.deepEqual(memory, numbers(0, 20));
    // What needs the leader fails, at once or at its time.
    await assert.rejects(
      w.until(w.bus('pub').subscribe('x', null, { name: 'new', durable: true, joinTimeout: 1 } as never)),
    );
    // A subscription that is made meanwhile is known when the leader is back.
    const late: unknown[] = [];
    await w.until(w.bus('cons').subscribe('late', ({ payload }) => void late.push(payload)));
    await w.start('lead');
    await w.clock.advance(5_000);
    assert.deepEqual(await publishAll(w, 'pub', [1], 'late'), [1]);
    await w.when(() => late.length === 1);
    await w.close();
  });

  test('what waits for a node whose direct link has gone too is given up when it would be down', async () => {
    const w = await world({ home: 2, pub: 3 }, {}, false);
    await w.until(w.bus('home').subscribe('t', () => {}));
    await publishAll(w, 'pub', [1]);
    await untilLinked(w, 'pub', 'home');
    await w.die('lead');
    await w.clock.advance(20_000);
    w.network.cut('pub', 'home');
    const start = w.clock.monotonic();
    const waiting = w.bus('pub').publish('t', 2, { timeout: 60_000 });
    const { unreachable } = await w.until(waiting);
    assert.deepEqual(unreachable, ['home/sub-1']);
    const took = w.clock.monotonic() - start;
    assert.ok(took > 10_000 && took <= 15_100, `after ${took} ms`);
    assert.deepEqual(await publishAll(w, 'pub', [3]), ['unreachable']);
    w.network.heal('pub', 'home');
    await w.clock.advance(40_000);
    assert.deepEqual(await publishAll(w, 'pub', [4]), [1]);
    await w.close();
  });
});

describe('when the path changes', () => {
  for (const seed of numbers(1, 6)) {
    test(`everything enters once and in order, and no handler is disturbed (seed ${seed})`, async () => {
      const w = await world({ home: 2, pub: 3, cons: 4 }, { seed, delay: { min: 1, max: 30 } });
      const dice = (n: number): number => Math.floor(w.clock.random() * n);
      const memory: unknown[] = [];
      const handled: number[] = [];
      const keyed = new Map<string, number[]>();
      await w.until(w.bus('home').subscribe('m', ({ payload }) => void memory.push(payload)));
      await w.durable('home', 'work', null, { pattern: 'd' });
      const handler = async ({ payload, key }: { payload: unknown; key?: string | undefined }, attempt: number) => {
        assert.equal(attempt, 1);
        await new Promise<void>((done) => void w.clock.timer(dice(20), done));
        handled.push(Number(payload));
        if (key !== undefined) keyed.set(key, [...(keyed.get(key) ?? []), Number(payload)]);
      };
      await w.durable('cons', 'work', handler, { pattern: 'd', concurrency: 5 });
      const receipts: Promise<unknown>[] = [];
      const last = numbers(1, 200).at(-1);
      for (const n of numbers(1, 200)) {
        receipts.push(w.bus('pub').publish('m', n));
        receipts.push(w.bus('pub').publish('d', n, n % 2 === 0 ? {} : { key: `k${n % 3}` }));
        await w.clock.advance(dice(6));
      }
      await w.until(Promise.all(receipts));
      await w.when(() => handled.length === last);
      for (const node of ['pub', 'cons']) assert.deepEqual(await linked(w, node), ['home', 'lead']);
      assert.deepEqual(memory, numbers(1, 200));
      assert.deepEqual(
        [...handled].sort((x, y) => x - y),
        numbers(1, 200),
      );
      for (const list of keyed.values())
        assert.deepEqual(
          list,
          [...list].sort((x, y) => x - y),
        );
      await w.close();
    });

    test(`again and again, nothing is lost and nothing enters twice (seed ${seed})`, async () => {
      const w = await world({ home: 2, pub: 3, cons: 4 }, { seed, delay: { min: 1, max: 10 } });
      const dice = (n: number): number => Math.floor(w.clock.random() * n);
      const ids = new Set<string>();
      const memory: number[] = [];
      const handled = new Set<number>();
      await w.until(w.bus('home').subscribe('m', ({ payload }) => void memory.push(Number(payload))));
      await w.durable('home', 'work', null, { pattern: 'd' });
      await w.durable(
        'cons',
        'work',
        async ({ payload, id }, attempt) => {
          await new Promise<void>((done) => void w.clock.timer(dice(20), done));
          if (attempt === 1) assert.ok(!ids.has(id), `${payload} was handed out as new twice`);
          ids.add(id);
          handled.add(Number(payload));
        },
        { pattern: 'd', concurrency: 5 },
      );
      const taken: number[] = [];
      const stored: number[] = [];
      const pending: Promise<unknown>[] = [];
      for (const n of numbers(1, 150)) {
        pending.push(
          w
            .bus('pub')
            .publish('m', n)
            .then(({ unreachable }) => unreachable.length === 0 && taken.push(n)),
        );
        pending.push(
          w
            .bus('pub')
            .publish('d', n)
            .then(() => stored.push(n)),
        );
        await w.clock.advance(dice(40));
        const pair = [
          ['pub', 'home'],
          ['cons', 'home'],
          ['lead', 'home'],
          ['lead', 'pub'],
        ][dice(4)] as [string, string];
        if (dice(10) === 0) w.network.reset(...pair);
        if (dice(25) === 0) {
          w.network.cut(...pair);
          w.clock.timer(dice(5_000), () => w.network.heal(...pair));
        }
      }
      await w.clock.advance(10_000);
      await w.until(Promise.allSettled(pending));
      await w.when(() => stored.every((n) => handled.has(n)) && taken.every((n) => memory.includes(n)));
      assert.deepEqual(
        memory,
        [...new Set(memory)].sort((x, y) => x - y),
      );
      assert.ok(stored.length >= 140, `${stored.length} of 150 were stored`);
      await w.close();
    });
  }
});

describe('a link that is asked for in the name of a member', () => {
  const where = parseAddress('tcp://10.0.0.2:1900', 'listen');

  /** Dials 'home' by hand, without a secret, as the cluster has none. */
  async function dial(w: DurableWorld, said: Partial<Hello>) {
    const connection = await w.until(w.network.transport('elsewhere').dial(where, { timeout: 1_000 }));
    const decoder = new FrameDecoder({ maxFrame: 65_536 });
    const frames: ControlFrame[] = [];
    const state = { closed: false };
    const { incarnation } = await w.bus('pub').status();
    const hello: Hello = {
      type: 'hello',
      protocol: [1, 2],
      cluster: 'default',
      node: 'pub',
      incarnation,
      epoch: { term: 0, start: 0 },
      maxFrame: 8 * 1024 * 1024,
      nonce: new Uint8Array(16).fill(7),
      direct: 'home',
      ...said,
    };
    const send = (frame: ControlFrame): void => void connection.write(encodeFrame(frame));
    connection.open({
      data: (chunk) =>
        decoder.push(chunk, (body) => {
          const frame = decodeFrame(body);
          frames.push(frame);
          if (frame.type === 'challenge') send({ type: 'proof', proof: prove(undefined, 'dialler', hello, frame) });
          return true;
        }),
      drain: () => {},
      closed: () => {
        state.closed = true;
      },
    });
    send(hello);
    await w.clock.advance(100);
    return { send, state, last: () => frames.at(-1) };
  }

  for (const [what, said, detail] of [
    ['by a node that is no member', { node: 'stranger' }, "'stranger' is not known here yet"],
    ['by another life of a member', { incarnation: '7-00000000000000aa' }, "'pub' is not known here yet"],
    ['of another node', { direct: 'cons' }, "node 'home' is here, not 'cons'"],
  ] as const) {
    test(`${what} is refused`, async () => {
      const w = await world({ home: 2, pub: undefined });
      const last = (await dial(w, said)).last();
      assert.ok(last?.type === 'reject' && last.code === 'NODE_UNREACHABLE', last?.type);
      assert.ok(last.detail.includes(detail), last.detail);
      await w.close();
    });
  }

  for (const [what, frame] of [
    [
      'speaks in the name of another node',
      { type: 'request', id: 1, source: 'lead', target: 'home', method: 'status', params: null },
    ],
    ['says what only the leader says', { type: 'synced', version: 1 }],
    ['joins as if to the leader', { type: 'resync' }],
  ] as const) {
    test(`and ${what} is closed, and no other one`, async () => {
      const w = await world({ home: 2, pub: undefined });
      const { send, state, last } = await dial(w, {});
      assert.equal(last()?.type, 'welcome');
      send(frame);
      await w.clock.advance(100);
      assert.ok(state.closed);
      assert.deepEqual(await linked(w, 'home'), ['lead']);
      assert.equal((await w.bus('home').status()).leader?.linked, true);
      await w.close();
    });
  }

  test('and asks for something of another node hears that it is not there', async () => {
    const w = await world({ home: 2, pub: undefined });
    const { send, last } = await dial(w, {});
    send({ type: 'request', id: 1, source: 'pub', target: 'lead', method: 'status', params: null });
    await w.clock.advance(100);
    const reply = last();
    assert.ok(reply?.type === 'reply' && reply.error?.code === 'NODE_UNREACHABLE', JSON.stringify(reply));
    await w.close();
  });
});
