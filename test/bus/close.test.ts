import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { runNode, runScript } from '../core/child.ts';
import { refusal, world } from '../core/testbed.ts';

describe('close()', () => {
  test('stops accepting at once, and waits for running handlers', async (t) => {
    const { bus, clock, outcome, seen } = await world(t);
    const done: unknown[] = [];
    let finish = (): void => {};
    const sub = await bus.subscribe('t', async ({ payload }) => {
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      done.push(payload);
    });
    for (const n of [1, 2]) bus.emit('t', n);
    await clock.settle();
    const closed = bus.close();
    assert.equal(bus.state, 'closing');
    assert.throws(() => bus.emit('t', 3), refusal('CLOSED', 'closing'));
    await clock.advance(29_999);
    assert.equal((await outcome(closed)).state, 'pending');
    finish();
    assert.equal((await outcome(closed)).state, 'resolved');
    assert.deepEqual(done, [1]);
    assert.equal(sub.stats().handled, 1);
    assert.equal(bus.state, 'closed');
    assert.deepEqual(
      seen('message.dropped').map(({ count, reason }) => [count, reason]),
      [[1, 'closed']],
    );
  });

  test('aborts handlers that take longer than its timeout: 30 s unless told otherwise', async (t) => {
    for (const timeout of [undefined, 500]) {
      const { bus, clock, outcome } = await world(t);
      let signal: AbortSignal | undefined;
      const sub = await bus.subscribe(
        't',
        (_message, context) => {
          signal = context.signal;
          return new Promise(() => {});
        },
        { timeout: 60_000 },
      );
      bus.emit('t', 1);
      await clock.settle();
      const closed = bus.close(timeout === undefined ? {} : { timeout });
      await clock.advance((timeout ?? 30_000) - 1);
      assert.equal((await outcome(closed)).state, 'pending');
      assert.equal(signal?.aborted, false);
      await clock.advance(1);
      assert.equal((await outcome(closed)).state, 'resolved');
      assert.equal(signal?.aborted, true);
      assert.equal(sub.stats().dropped, 1);
    }
  });

  test('does not wait for handlers whose time was up before', async (t) => {
    const { bus, clock, outcome } = await world(t);
    await bus.subscribe('t', () => new Promise(() => {}), { timeout: 100, retry: { attempts: 1 } });
    bus.emit('t', 1);
    await clock.advance(200);
    assert.equal((await outcome(bus.close())).state, 'resolved');
  });

  test('lets what a running handler stages still be published to those that are closing, or fails in time', async (t) => {
    const { bus, clock, outcome } = await world(t);
    let finish = (): void => {};
    const sub = await bus.subscribe('in', async (_message, context) => {
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      await context.publish('out', 1);
    });
    await bus.subscribe('out', () => {});
    bus.emit('in', 1);
    await clock.settle();
    const closed = bus.close();
    finish();
    assert.equal((await outcome(closed)).state, 'resolved');
    assert.equal(sub.stats().running, 0);
  });

  test('twice is harmless, and both wait for the end', async (t) => {
    const { bus, clock, outcome } = await world(t);
    await bus.subscribe('t', () => new Promise(() => {}));
    bus.emit('t', 1);
    await clock.settle();
    const first = bus.close({ timeout: 1000 });
    const second = bus.close();
    assert.equal((await outcome(second)).state, 'pending');
    await clock.advance(1000);
    assert.equal((await outcome(first)).state, 'resolved');
    assert.equal((await outcome(second)).state, 'resolved');
    assert.equal((await outcome(bus.close())).state, 'resolved');
  });

  test('an impatient close() of the bus ends a patient one of a subscription', async (t) => {
    const { bus, clock, outcome } = await world(t);
    let signal: AbortSignal | undefined;
    const sub = await bus.subscribe('t', (_message, context) => {
      signal = context.signal;
      return new Promise(() => {});
    });
    bus.emit('t', 1);
    await clock.settle();
    const patient = sub.close({ timeout: 60_000 });
    await clock.settle();
    const closed = bus.close({ timeout: 1000 });
    assert.equal((await outcome(closed)).state, 'pending', 'the handler still runs');
    await clock.advance(1000);
    assert.equal((await outcome(closed)).state, 'resolved');
    assert.equal(signal?.aborted, true);
    assert.equal(clock.pendingTimers, 0, 'no timer is left');
    assert.equal((await outcome(patient)).state, 'resolved');
  });

  test('a publish that waits for room ends at once', async (t) => {
    const { bus, clock, outcome } = await world(t);
    (await bus.subscribe('t', () => {}, { limits: { messages: 1 } })).pause();
    bus.emit('t', 1);
    const sent = bus.publish('t', 2);
    assert.equal((await outcome(sent)).state, 'pending');
    const failed = assert.rejects(sent, refusal('CLOSED'));
    const closed = bus.close();
    await clock.settle();
    await Promise.all([closed, failed]);
  });

  test('a drain that waits resolves: nothing waits or runs any more', async (t) => {
    const { bus, clock, outcome } = await world(t);
    (await bus.subscribe('t', () => {})).pause();
    bus.emit('t', 1);
    const drained = bus.drain();
    assert.equal((await outcome(drained)).state, 'pending');
    const closed = bus.close();
    await clock.settle();
    await closed;
    assert.equal((await outcome(drained)).state, 'resolved');
  });

  test('afterwards everything that would act is CLOSED, and what only tells still tells', async (t) => {
    const { bus, close } = await world(t);
    const sub = await bus.subscribe('t', () => {}, { name: 'mine' });
    await close();
    assert.throws(() => bus.emit('t', 1), refusal('CLOSED', 'closed'));
    await assert.rejects(bus.publish('t', 1), refusal('CLOSED'));
    await assert.rejects(bus.publishMany([{ topic: 't', payload: 1 }]), refusal('CLOSED'));
    await assert.rejects(
      bus.subscribe('t', () => {}),
      refusal('CLOSED'),
    );
    await assert.rejects(bus.consume('t').ready, refusal('CLOSED'));
    await assert.rejects(bus.deadLetters.list(), refusal('CLOSED'));
    assert.equal((await bus.status()).state, 'closed');
    assert.equal(sub.state, 'closed');
    assert.equal(sub.stats().handled, 0);
    await sub.close();
    await bus.drain();
  });

  test('a subscribe() that is under way when the bus closes ends, and leaves nothing', async (t) => {
    const { bus, clock } = await world(t);
    const made = bus.subscribe('t', () => {}, { name: 'late' });
    const closed = bus.close();
    await clock.settle();
    await closed;
    const [result] = await Promise.allSettled([made]);
    if (result?.status === 'fulfilled') assert.equal(result.value.state, 'closed');
    else refusal('CLOSED')(result?.reason);
    assert.deepEqual(bus.explain('t').routes, []);
  });

  test('await using closes it', async (t) => {
    const { bus, clock } = await world(t);
    const disposed = bus[Symbol.asyncDispose]();
    await clock.settle();
    await disposed;
    assert.equal(bus.state, 'closed');
  });

  test('closing on an event, from within, is harmless', async (t) => {
    const { bus, clock } = await world(t);
    bus.on('message.dead', () => void bus.close());
    await bus.subscribe('t', () => Promise.reject(new Error('no')), { retry: { attempts: 1 } });
    bus.emit('t', 1);
    await clock.settle();
    assert.equal(bus.state, 'closed');
  });

  test('a handler may close its own bus, without waiting for it', async (t) => {
    const { bus, clock } = await world(t);
    const sub = await bus.subscribe('t', () => void bus.close());
    bus.emit('t', 1);
    await clock.settle();
    assert.equal(bus.state, 'closed');
    assert.equal(sub.stats().handled, 1);
  });
});

describe('in a process of its own', () => {
  for (const [what, options] of [
    ['alone', {}],
    ['a leader', { leader: true, listen: 'tcp://127.0.0.1:0' }],
  ] as const) {
    test(`${what}: after close() no timer and no handle is left, and the process ends by itself`, async () => {
      const { code, signal, stdout, stderr } = await runScript(`
        import { createBus } from './src/index.ts';
        const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };
        const turn = () => new Promise((resolve) => setImmediate(resolve));
        const count = () => {
          const counts = {};
          for (const kind of process.getActiveResourcesInfo()) counts[kind] = (counts[kind] ?? 0) + 1;
          delete counts.FSReqCallback; // what loads this script writes its own cache meanwhile
          return counts;
        };
        const once = async () => {
          const bus = await createBus({ node: 'here', logger: silent, ...${JSON.stringify(options)} });
          await bus.subscribe('good', async () => {});
          await bus.subscribe('bad', async () => { throw new Error('no'); });
          await bus.subscribe('hangs', () => new Promise(() => {}));
          await bus.subscribe('slow', (_, context) => { context.extend(60_000); return new Promise(() => {}); });
          const full = await bus.subscribe('full', () => {}, { limits: { messages: 1 } });
          full.pause();
          for (const topic of ['good', 'bad', 'hangs', 'slow', 'full']) bus.emit(topic, 1, { key: 'k' });
          const waiting = bus.publish('full', 2).catch((error) => error.code);
          const consumption = bus.consume('consumed');
          await consumption.ready;
          consumption.next();
          const drained = full.drain().catch((error) => error.code);
          await turn();
          await bus.close({ timeout: 50 });
          await drained;
          return await waiting;
        };
        await once(); // loads what is loaded on first use
        await turn();
        const before = count();
        const codes = [await once(), await once()];
        await turn();
        console.log(JSON.stringify({ before, after: count(), codes }));
      `);
      assert.equal(stderr, '');
      assert.equal(signal, null, 'it had to be killed');
      assert.equal(code, 0);
      const { before, after, codes } = JSON.parse(stdout) as Record<string, unknown>;
      assert.deepEqual(after, before);
      assert.deepEqual(codes, ['CLOSED', 'CLOSED']);
    });
  }
});

test('10,000 messages, 1 % of which throw and 0.1 % hang: handled + dead letters = 10,000, and nothing is left', async () => {
  const { code, stdout, stderr } = await runNode(['soak/hang-and-throw.ts', '--brief']);
  assert.equal(code, 0, `${stdout}${stderr}`);
  assert.match(stdout, /9945 handled \+ 55 dead letters.*: PASS\n$/);
});
