import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createBus } from '../../src/bus/bus.ts';
import type { ReceivedDelivery } from '../../src/bus/consuming/receiving.ts';
import { MemorySource } from '../../src/bus/durable/store-source.ts';
import { silentLogger } from '../../src/core/log.ts';
import { outcomeOf, refusal, resolved, type World, world } from '../core/testbed.ts';
import { tempFolder } from '../storage/disk.ts';

const retry = { delay: 100, jitter: 0 };

/** A bus on a virtual clock with a durable mailbox 'work' that nobody consumes. */
async function collecting(t: Parameters<typeof world>[0], options: object = {}): Promise<World> {
  const w = await world(t, {}, { source: new MemorySource() });
  await resolved(w.clock, w.bus.subscribe('in', null, { name: 'work', durable: true, retry, ...options }));
  return w;
}

async function fill(w: World, from: number, to: number, options: object = {}): Promise<void> {
  const many = Array.from({ length: to - from }, (_, i) => ({ topic: 'in', payload: from + i, ...options }));
  await resolved(w.clock, w.bus.publishMany(many));
}

async function took(w: World, options: object = { timeout: 0 }): Promise<ReceivedDelivery> {
  const delivery = await resolved(w.clock, w.bus.receive('work', options));
  assert.ok(delivery !== null, 'there was one');
  return delivery;
}

describe('receive()', () => {
  test('takes one message after the other, to be settled by whoever asked', async (t) => {
    const w = await collecting(t);
    await fill(w, 0, 2);
    const first = await took(w);
    assert.deepEqual([first.message.payload, first.attempt, first.subscription], [0, 1, 'default/work']);
    assert.equal(first.ack(), true);
    assert.equal(first.ack(), false);
    const second = await took(w);
    assert.equal(second.message.payload, 1);
    second.nack(new Error('not now'));
    assert.equal(await resolved(w.clock, w.bus.receive('work', { timeout: 0 })), null);
    await w.clock.advance(100);
    const again = await took(w);
    assert.deepEqual([again.message.payload, again.attempt], [1, 2]);
    again.term();
    await w.clock.settle();
    assert.equal((await w.bus.status()).deadLetters.size, 1);
    assert.equal((await w.bus.mailboxes.stats('work')).waiting, 0);
  });

  test('waits as long as it is told, by default 30 seconds, and then has nothing', async (t) => {
    const w = await collecting(t);
    const waiting = w.bus.receive('work');
    await w.clock.advance(29_999);
    assert.equal((await outcomeOf(w.clock, waiting)).state, 'pending');
    await w.clock.advance(1);
    assert.equal(await resolved(w.clock, waiting), null);
  });

  test('that was given up takes nothing: what comes later is there for the next', async (t) => {
    const w = await collecting(t);
    const controller = new AbortController();
    const timedOut = w.bus.receive('work', { timeout: 50 });
    const given = w.bus.receive('work', { signal: controller.signal });
    await w.clock.advance(50);
    controller.abort();
    assert.equal(await resolved(w.clock, timedOut), null);
    const outcome = await outcomeOf(w.clock, given);
    assert.ok(outcome.state === 'rejected' && refusal('ABORTED')(outcome.error));
    await fill(w, 0, 1);
    const { waiting, running } = await w.bus.mailboxes.stats('work');
    assert.deepEqual([waiting, running], [1, 0]);
    const next = await took(w);
    assert.equal(next.attempt, 1);
    next.ack();
  });

  test('many at a time get each message once, more than a consumer has credit for', async (t) => {
    const w = await collecting(t);
    const many = Array.from({ length: 600 }, () => w.bus.receive('work'));
    await w.clock.settle();
    await fill(w, 0, 600);
    const taken = await resolved(w.clock, Promise.all(many));
    assert.deepEqual(
      taken.map((delivery) => delivery?.message.payload).sort((a, b) => Number(a) - Number(b)),
      Array.from({ length: 600 }, (_, i) => i),
    );
    for (const delivery of taken) delivery?.ack();
    await w.clock.settle();
    assert.equal((await w.bus.mailboxes.stats('work')).waiting, 0);
  });

  test('with a handler acknowledges when it returns and fails when it throws', async (t) => {
    const w = await collecting(t);
    await fill(w, 0, 1);
    const thrown = w.bus.receive('work', { timeout: 0 }, () => {
      throw new Error('not now');
    });
    assert.equal(await resolved(w.clock, thrown), true);
    await w.clock.advance(100);
    const seen: unknown[] = [];
    const handled = w.bus.receive('work', { timeout: 0 }, async (message, { attempt }) => {
      seen.push([message.payload, attempt]);
    });
    assert.equal(await resolved(w.clock, handled), true);
    assert.deepEqual(seen, [[0, 2]]);
    assert.equal(
      await resolved(
        w.clock,
        w.bus.receive('work', { timeout: 0 }, () => {}),
      ),
      false,
    );
  });

  test('leaving await using without settling fails the delivery', async (t) => {
    const w = await collecting(t);
    await fill(w, 0, 1);
    {
      await using left = await took(w);
      assert.equal(left.attempt, 1);
    }
    await w.clock.advance(100);
    const again = await took(w);
    assert.equal(again.attempt, 2);
    again.ack();
  });

  test("a delivery that nobody settles goes back when the subscription's time is up, or the receive's", async (t) => {
    const w = await collecting(t, { timeout: 1000 });
    await fill(w, 0, 2);
    const first = await took(w);
    const second = await took(w, { timeout: 0, attemptTimeout: 5000 });
    await w.clock.advance(1000);
    assert.equal(first.ack(), false);
    assert.equal(first.signal.aborted, true);
    await w.clock.advance(100);
    const again = await took(w);
    assert.deepEqual([again.message.payload, again.attempt], [0, 2]);
    again.ack();
    assert.equal(second.ack(), true);
    await w.clock.settle();
    assert.equal((await w.bus.mailboxes.stats('work')).waiting, 0);
  });

  test('what a delivery publishes and its settlement are one', async (t) => {
    const w = await collecting(t);
    await resolved(w.clock, w.bus.subscribe('out', null, { name: 'out', durable: true }));
    await fill(w, 0, 1);
    const delivery = await took(w);
    await delivery.publish('out', 'result');
    delivery.ack();
    await w.clock.settle();
    const result = await resolved(w.clock, w.bus.receive('out', { timeout: 0 }));
    assert.equal(result?.message.payload, 'result');
    result?.ack();
  });

  test('a name that does not exist is NOT_FOUND and names the nearest', async (t) => {
    const w = await collecting(t);
    await assert.rejects(w.bus.receive('wrok'), refusal('NOT_FOUND', "'default/wrok'", "'default/work'"));
    await assert.rejects(w.bus.receive('work', { timout: 1 } as object), refusal('OPTION_INVALID', "'timeout'"));
  });

  test('who waits is told when the bus closes, or the mailbox is removed', async (t) => {
    const w = await collecting(t);
    const waiting = outcomeOf(w.clock, w.bus.receive('work'));
    await waiting;
    const one = w.bus.receive('work');
    await w.clock.settle();
    await resolved(w.clock, w.bus.mailboxes.remove('work'));
    const outcome = await outcomeOf(w.clock, one);
    assert.ok(outcome.state === 'rejected' && refusal('CLOSED')(outcome.error));
  });

  test('works on a subscription of another life, whose unsettled delivery comes back', async (t) => {
    const dataDir = tempFolder(t);
    {
      await using bus = await createBus({ dataDir, logger: silentLogger });
      await bus.subscribe('in', null, { name: 'work', durable: true });
      await bus.publish('in', 1);
      await bus.publish('in', 2);
      const delivery = await bus.receive('work', { timeout: 0 });
      assert.equal(delivery?.message.payload, 1);
      await bus.close({ timeout: 0 });
    }
    await using bus = await createBus({ dataDir, logger: silentLogger });
    const first = await bus.receive('work', { timeout: 0 });
    assert.deepEqual([first?.message.payload, first?.attempt], [1, 2]);
    first?.ack();
    const second = await bus.receive('work', { timeout: 0 });
    assert.deepEqual([second?.message.payload, second?.attempt], [2, 1]);
    second?.ack();
    assert.equal(await bus.receive('work', { timeout: 0 }), null);
  });
});

describe('receiveLatest()', () => {
  test('takes the newest and settles the older ones, of this subscription only', async (t) => {
    const w = await collecting(t);
    await resolved(w.clock, w.bus.subscribe('in', null, { name: 'other', durable: true }));
    await fill(w, 0, 5);
    const running = await took(w);
    const newest = await resolved(w.clock, w.bus.receiveLatest('work', { timeout: 0 }));
    assert.equal(newest?.message.payload, 4);
    assert.equal(newest?.ack(), true);
    assert.equal(running.ack(), true, 'what is running elsewhere is left alone');
    await w.clock.settle();
    const { waiting, dropped } = await w.bus.mailboxes.stats('work');
    assert.deepEqual([waiting, dropped], [0, 3]);
    assert.deepEqual(
      w.seen('message.dropped').map(({ reason, count }) => [reason, count]),
      [['superseded', 3]],
    );
    assert.equal((await w.bus.mailboxes.stats('other')).waiting, 5);
  });

  test('waits for one when there is none, and takes the newest of those that come together', async (t) => {
    const w = await collecting(t);
    const waiting = w.bus.receiveLatest('work');
    await w.clock.settle();
    await fill(w, 0, 3);
    const newest = await resolved(w.clock, waiting);
    assert.equal(newest?.message.payload, 2);
    newest?.ack();
  });

  test('a retry is older than what came after it, and what is delayed has not come yet', async (t) => {
    const w = await collecting(t);
    await fill(w, 0, 1);
    (await took(w)).nack(new Error('not now'));
    await fill(w, 1, 2);
    await fill(w, 2, 3, { delay: 1000 });
    const newest = await resolved(w.clock, w.bus.receiveLatest('work', { timeout: 0 }));
    assert.equal(newest?.message.payload, 1);
    newest?.ack();
    await w.clock.advance(1000);
    const delayed = await took(w);
    assert.equal(delayed.message.payload, 2);
    delayed.ack();
    await w.clock.settle();
    assert.equal((await w.bus.mailboxes.stats('work')).waiting, 0);
  });

  test('works with a backlog that is larger than memory, also after a restart', async (t) => {
    const dataDir = tempFolder(t);
    const count = 25_000;
    {
      await using bus = await createBus({ dataDir, logger: silentLogger, durability: 'os' });
      await bus.subscribe('in', null, { name: 'work', durable: true });
      const many = Array.from({ length: count }, (_, payload) => ({ topic: 'in', payload }));
      for (let i = 0; i < count; i += 1000) await bus.publishMany(many.slice(i, i + 1000));
    }
    await using bus = await createBus({ dataDir, logger: silentLogger });
    const newest = await bus.receiveLatest('work', { timeout: 0 });
    assert.equal(newest?.message.payload, count - 1);
    newest?.ack();
    assert.equal(await bus.receive('work', { timeout: 0 }), null);
    const { waiting, dropped } = await bus.mailboxes.stats('work');
    assert.deepEqual([waiting, dropped], [0, count - 1]);
  });
});

describe('front()', () => {
  test('looks without taking, and says whether it was shown before, also in another life', async (t) => {
    const dataDir = tempFolder(t);
    {
      await using bus = await createBus({ dataDir, logger: silentLogger });
      await bus.subscribe('in', null, { name: 'work', durable: true });
      assert.equal(await bus.front('work'), null);
      await bus.publish('in', 1);
      await bus.publish('in', 2);
      const first = await bus.front('work');
      assert.deepEqual([first?.message.payload, first?.attempt, first?.fresh], [1, 1, true]);
      assert.equal((await bus.front('work'))?.fresh, false);
    }
    await using bus = await createBus({ dataDir, logger: silentLogger });
    const again = await bus.front('work');
    assert.deepEqual([again?.message.payload, again?.attempt, again?.fresh], [1, 1, false]);
    (await bus.receive('work', { timeout: 0 }))?.ack();
    const next = await bus.front('work');
    assert.deepEqual([next?.message.payload, next?.fresh], [2, true]);
  });
});
