import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { TreeNode } from '../../src/actors/supervisor.ts';
import { wildcard } from '../../src/routing/pattern.ts';
import { refusal, resolved, world } from '../core/testbed.ts';

/** The paths of all parts. */
function paths({ path, children }: TreeNode): string[] {
  return [...(path === '' ? [] : [path]), ...children.flatMap(paths)];
}

describe('subscribe()', () => {
  test('takes a string, a RegExp or a wildcard, and says so in `pattern`', async (t) => {
    const { bus, clock } = await world(t);
    const seen: string[] = [];
    const made = [];
    for (const pattern of ['a\\.b', /^A/i, wildcard('a.*')]) {
      made.push(await bus.subscribe(pattern, ({ topic }) => void seen.push(`${String(pattern)} ${topic}`)));
    }
    assert.deepEqual(
      made.map(({ pattern }) => pattern),
      ['a\\.b', '/^A/i', 'a.*'],
    );
    for (const topic of ['a.b', 'a.c', 'b.a']) bus.emit(topic, 1);
    await clock.settle();
    assert.deepEqual(seen.sort(), ['/^A/i a.b', '/^A/i a.c', 'a.* a.b', 'a.* a.c', 'a\\.b a.b']);
  });

  test('names: the one that was given; else sub-1, sub-2 and so on, past those that are taken', async (t) => {
    const { bus } = await world(t);
    const make = async (name?: string): Promise<string> =>
      (await bus.subscribe('t', () => {}, name === undefined ? {} : { name })).name;
    assert.equal(await make('sub-2'), 'sub-2');
    assert.equal(await make(), 'sub-1');
    assert.equal(await make(), 'sub-3');
    assert.equal(await make('mine'), 'mine');
    await assert.rejects(make('mine'), refusal('NAME_TAKEN', "'mine'"));
  });

  test('a name can be used again after its subscription was closed, not before', async (t) => {
    const { bus, clock } = await world(t);
    const sub = await bus.subscribe('t', () => new Promise(() => {}), { name: 'mine' });
    bus.emit('t', 1);
    await clock.settle();
    const closed = sub.close({ timeout: 1000 });
    await assert.rejects(
      bus.subscribe('t', () => {}, { name: 'mine' }),
      refusal('NAME_TAKEN'),
    );
    await clock.advance(1000);
    await closed;
    assert.equal((await bus.subscribe('t', () => {}, { name: 'mine' })).state, 'active');
  });

  test('the same name at a time is given once', async (t) => {
    const { bus } = await world(t);
    const both = await Promise.allSettled([1, 2].map(() => bus.subscribe('t', () => {}, { name: 'mine' })));
    assert.deepEqual(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
    assert.equal((await bus.status()).subscriptions.length, 1);
  });

  test('200 subscriptions have actors of their own, and go without a trace', async (t) => {
    const { bus, clock } = await world(t);
    const before = paths((await bus.status()).tree);
    let seen = 0;
    const subs = await Promise.all(Array.from({ length: 200 }, () => bus.subscribe('t', () => void seen++)));
    bus.emit('t', 1);
    await clock.settle();
    assert.equal(seen, 200);
    assert.equal(paths((await bus.status()).tree).length, before.length + 200);
    await resolved(clock, Promise.all(subs.map((sub) => sub.close())));
    assert.deepEqual(paths((await bus.status()).tree), before);
    assert.deepEqual((await bus.status()).subscriptions, []);
  });

  test('events: added and removed', async (t) => {
    const { bus, clock, events } = await world(t);
    const sub = await bus.subscribe('t', () => {}, { name: 'mine' });
    await resolved(clock, sub.close());
    assert.deepEqual(events, [
      { type: 'subscription.added', subscription: 'mine', node: 'here', pattern: 't' },
      { type: 'subscription.removed', subscription: 'mine', node: 'here' },
    ]);
  });
});

describe('closing a subscription', () => {
  test('it takes nothing more, its running handler finishes, what waited is dropped and counted', async (t) => {
    const { bus, clock, outcome, seen } = await world(t);
    const done: unknown[] = [];
    let finish = (): void => {};
    const sub = await bus.subscribe('t', async ({ payload }) => {
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      done.push(payload);
    });
    for (const n of [1, 2, 3]) bus.emit('t', n);
    await clock.settle();
    const closed = sub.close();
    assert.equal((await outcome(closed)).state, 'pending');
    assert.equal(sub.state, 'closing');
    assert.equal((await bus.publish('t', 4)).matched, 0);
    finish();
    assert.equal((await outcome(closed)).state, 'resolved');
    assert.equal(sub.state, 'closed');
    assert.deepEqual(done, [1]);
    assert.deepEqual(sub.stats().handled, 1);
    assert.deepEqual(
      seen('message.dropped').map(({ count, reason }) => [count, reason]),
      [[2, 'closed']],
    );
    assert.equal((await outcome(sub.close())).state, 'resolved', 'twice is harmless');
  });

  test('a handler that takes longer than the timeout is aborted, and its message dropped', async (t) => {
    const { bus, clock, outcome } = await world(t);
    let signal: AbortSignal | undefined;
    const sub = await bus.subscribe('t', (_message, context) => {
      signal = context.signal;
      return new Promise(() => {});
    });
    bus.emit('t', 1);
    await clock.settle();
    const closed = sub.close({ timeout: 1000 });
    await clock.advance(999);
    assert.equal(signal?.aborted, false);
    await clock.advance(1);
    assert.equal((await outcome(closed)).state, 'resolved');
    assert.equal(signal?.aborted, true);
    refusal('ABORTED', 'closes')(signal?.reason);
    const { dropped, running, handled } = sub.stats();
    assert.deepEqual({ dropped, running, handled }, { dropped: 1, running: 0, handled: 0 });
  });

  test('two closes wait for the same end; the more impatient one decides', async (t) => {
    const { bus, clock, outcome } = await world(t);
    const sub = await bus.subscribe('t', () => new Promise(() => {}));
    bus.emit('t', 1);
    await clock.settle();
    const patient = sub.close({ timeout: 60_000 });
    const hasty = sub.close({ timeout: 1000 });
    assert.equal((await outcome(hasty)).state, 'pending', 'it does not resolve before the handler has ended');
    await clock.advance(1000);
    assert.equal((await outcome(hasty)).state, 'resolved');
    assert.equal((await outcome(patient)).state, 'resolved');
    assert.equal(sub.state, 'closed');
  });

  test('a failure while it closes is dropped, not retried', async (t) => {
    const { bus, clock } = await world(t);
    let fail = (): void => {};
    const sub = await bus.subscribe(
      't',
      () =>
        new Promise((_, reject) => {
          fail = () => reject(new Error('no'));
        }),
    );
    bus.emit('t', 1);
    await clock.settle();
    const closed = sub.close();
    fail();
    await resolved(clock, closed);
    await clock.advance(60_000);
    const { failed, dropped, waiting } = sub.stats();
    assert.deepEqual({ failed, dropped, waiting }, { failed: 1, dropped: 1, waiting: 0 });
  });

  test('a closed one cannot be resumed, paused or drained into anything', async (t) => {
    const { bus, clock } = await world(t);
    const sub = await bus.subscribe('t', () => {});
    await resolved(clock, sub.close());
    sub.resume();
    sub.pause();
    assert.equal(sub.state, 'closed');
    await resolved(clock, sub.drain());
  });

  test('a drain that waits when it closes resolves', async (t) => {
    const { bus, clock, outcome } = await world(t);
    const sub = await bus.subscribe('t', () => {});
    sub.pause();
    bus.emit('t', 1);
    const drained = sub.drain();
    assert.equal((await outcome(drained)).state, 'pending');
    await resolved(clock, sub.close());
    assert.equal((await outcome(drained)).state, 'resolved');
  });

  test('await using closes it', async (t) => {
    const { bus } = await world(t);
    {
      await using sub = await bus.subscribe('t', () => {});
      assert.equal(sub.state, 'active');
    }
    assert.deepEqual((await bus.status()).subscriptions, []);
  });
});

describe('unsubscribe()', () => {
  test('removes a subscription by its name', async (t) => {
    const { bus, clock } = await world(t);
    const sub = await bus.subscribe('t', () => {}, { name: 'mine' });
    await resolved(clock, bus.unsubscribe('mine'));
    assert.equal(sub.state, 'closed');
    assert.equal((await bus.publish('t', 1)).matched, 0);
    await assert.rejects(bus.unsubscribe('mine'), refusal('NOT_FOUND', '"mine"', "'here'"));
  });

  test('waits for running handlers as long as its timeout says, and aborts those that take longer', async (t) => {
    const { bus, clock, outcome } = await world(t);
    let signal: AbortSignal | undefined;
    const handler = (_message: unknown, context: { signal: AbortSignal }) => {
      signal = context.signal;
      return new Promise(() => {});
    };
    await bus.subscribe('t', handler, { name: 'mine' });
    bus.emit('t', 1);
    await clock.settle();
    const removed = bus.unsubscribe('mine', { timeout: 700 });
    await clock.advance(699);
    assert.deepEqual([(await outcome(removed)).state, signal?.aborted], ['pending', false]);
    await clock.advance(1);
    assert.deepEqual([(await outcome(removed)).state, signal?.aborted], ['resolved', true]);
  });

  test('of another node, alone, is NODE_UNREACHABLE', async (t) => {
    const { bus } = await world(t);
    await assert.rejects(bus.unsubscribe('mine', { node: 'there' }), refusal('NODE_UNREACHABLE', "'there'"));
    await assert.rejects(bus.status({ node: 'there' }), refusal('NODE_UNREACHABLE', "'there'"));
  });

  test('while it is still being made leaves nothing of it', async (t) => {
    const { bus, clock } = await world(t);
    const before = paths((await bus.status()).tree);
    const made = bus.subscribe('t', () => {}, { name: 'brief' });
    const removed = bus.unsubscribe('brief');
    await clock.settle();
    await Promise.allSettled([made, removed]);
    await clock.settle();
    assert.deepEqual(bus.explain('t').routes, []);
    assert.deepEqual((await bus.status()).subscriptions, []);
    assert.deepEqual(paths((await bus.status()).tree), before);
    assert.equal((await bus.publish('t', 1)).matched, 0);
  });
});

test('a name is free as soon as unsubscribe() has resolved, even when it was still being made', async (t) => {
  const { bus, clock } = await world(t);
  const first = bus.subscribe('t', () => {}, { name: 'mine' }).catch(() => undefined);
  const again = bus.unsubscribe('mine').then(() => bus.subscribe('u', () => {}, { name: 'mine' }));
  const sub = await resolved(clock, again);
  await resolved(clock, first);
  assert.equal(sub.state, 'active');
  assert.deepEqual(
    (await bus.status()).subscriptions.map(({ name, pattern }) => [name, pattern]),
    [['mine', 'u']],
  );
  await resolved(clock, bus.unsubscribe('mine'));
  assert.deepEqual((await bus.status()).subscriptions, []);
});

test('status() shows the node at a glance', async (t) => {
  const { bus, clock } = await world(t);
  const sub = await bus.subscribe('t', () => new Promise(() => {}), {
    name: 'mine',
    concurrency: 2,
    limits: { overflow: 'reject' },
  });
  for (const n of [1, 2, 3]) bus.emit('t', n);
  await clock.settle();
  const { incarnation, tree, ...status } = await bus.status();
  assert.match(incarnation, /^0-[0-9a-f]{16}$/);
  assert.deepEqual(status, {
    node: 'here',
    cluster: 'default',
    state: 'running',
    role: 'alone',
    members: [],
    links: [],
    subscriptions: [
      { name: 'mine', pattern: 't', state: 'active', concurrency: 2, overflow: 'reject', ...sub.stats() },
    ],
    mailboxes: [],
    spools: [],
    deadLetters: { size: 0, limit: 10_000 },
  });
  assert.equal(status.subscriptions[0]?.running, 2);
  assert.equal(status.subscriptions[0]?.waiting, 1);
  assert.deepEqual(paths(tree), ['admin', 'subs', 'subs/mine']);
  assert.equal(JSON.parse(JSON.stringify(await bus.status())).node, 'here', 'it is plain data');
  assert.equal((await bus.status({ node: 'here' })).node, 'here');
});
