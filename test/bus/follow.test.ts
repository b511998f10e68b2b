import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Bus } from '../../src/bus/bus.ts';
import { EventFeed } from '../../src/bus/watching/event-feed.ts';
import {
  type FollowedEvent,
  Following,
  type FollowingHost,
  type FollowOptions,
} from '../../src/bus/watching/following.ts';
import { BusError } from '../../src/core/errors.ts';
import { EventHub } from '../../src/core/events.ts';
import { silentLogger } from '../../src/core/log.ts';
import { VirtualClock } from '../../src/core/virtual-clock.ts';
import { LogBook, refusal } from '../core/testbed.ts';
import { DurableWorld } from './durable-world.ts';

async function world(): Promise<DurableWorld> {
  const all = new DurableWorld();
  await all.start('lead');
  for (const node of ['a', 'b']) await all.start(node, { stored: false });
  return all;
}

/** What is told, as `<who> <type>`. */
async function follow(all: DurableWorld, node: string, options: FollowOptions = {}) {
  const told: FollowedEvent[] = [];
  const end = await all.until(all.bus(node).follow((event) => void told.push(event), options));
  return { told, end, texts: () => told.map((each) => `${each.node} ${each.event.type}`) };
}

/** Has a message fail for good on a node. */
async function fail(all: DurableWorld, bus: Bus, name: string): Promise<void> {
  const handler = () => Promise.reject(new Error(`no table ${name}`));
  await all.until(bus.subscribe(name, handler, { name, retry: { attempts: 1 } }));
  bus.emit(name, 1);
  await all.clock.advance(100);
}

describe('bus.follow()', () => {
  test('hears what happens on every node, with who tells it and when, until it is ended', async () => {
    const all = await world();
    const { told, end } = await follow(all, 'a', { types: ['message.dead'] });
    const before = all.clock.now();
    for (const node of ['lead', 'a', 'b']) await fail(all, all.bus(node), `t-${node}`);
    assert.deepEqual(
      told.map(({ node, event }) => [node, event.type === 'message.dead' && event.subscription]),
      [
        ['lead', 't-lead'],
        ['a', 't-a'],
        ['b', 't-b'],
      ],
    );
    const [first] = told;
    assert.ok(first !== undefined && first.at >= before && first.at <= before + 100);
    assert.deepEqual('error' in first.event && first.event.error, { name: 'Error', message: 'no table t-lead' });
    assert.equal(first.missed, 0);
    end();
    await fail(all, all.bus('b'), 'late');
    assert.equal(told.length, 3);
    await all.close();
  });

  test('what the whole cluster knows is told once', async () => {
    const all = await world();
    const { texts } = await follow(all, 'a');
    await all.until(all.bus('b').subscribe('t', () => {}, { name: 't' }));
    await all.until(all.bus('b').close());
    await all.clock.advance(100);
    assert.deepEqual(
      texts().filter((text) => !text.includes('message.')),
      ['a subscription.added', 'a subscription.removed', 'a node.left'],
    );
    await all.close();
  });

  test('of one node everything is told, as that node sees it; one that is not there is refused', async () => {
    const all = await world();
    const { texts } = await follow(all, 'a', { node: 'lead' });
    await all.until(all.bus('b').close());
    await all.clock.advance(100);
    assert.deepEqual(texts(), ['lead node.left']);
    const nobody = all.bus('a').follow(() => {}, { node: 'nobody', problem: () => {} });
    await assert.rejects(all.until(nobody), refusal('NODE_UNREACHABLE', 'nobody'));
    await all.close();
  });

  test('a node that comes later is followed, and one whose link breaks tells afterwards what happened meanwhile', async () => {
    const all = await world();
    const problems: string[] = [];
    const { told } = await follow(all, 'a', {
      types: ['message.dead'],
      problem: (node, { code }) => void problems.push(`${node} ${code}`),
    });
    await all.start('c', { stored: false });
    await all.clock.advance(100);
    const about = (): unknown[] =>
      told.map(({ node, event, missed }) => [node, 'topic' in event && event.topic, missed]);
    await fail(all, all.bus('c'), 'one');
    assert.deepEqual(about(), [['c', 'one', 0]]);
    const handler = () => Promise.reject(new Error('no'));
    await all.until(all.bus('c').subscribe('two', handler, { name: 'two', retry: { attempts: 1 } }));
    all.cut('c');
    await all.clock.advance(4_000);
    all.bus('c').emit('two', 1);
    await all.clock.advance(100);
    assert.equal(told.length, 1);
    all.heal('c');
    await all.clock.advance(15_000);
    assert.deepEqual(about().at(-1), ['c', 'two', 0]);
    assert.ok(problems.length >= 1 && problems.every((text) => text.startsWith('c ')), problems.join());
    await all.close();
  });

  test('a listener that is slow holds up nobody, misses some, and is told how many', async () => {
    const all = await world();
    await all.until(
      all.bus('b').subscribe('t', () => {}, { name: 't', limits: { messages: 1, overflow: 'drop-newest' } }),
    );
    const told: FollowedEvent[] = [];
    let go = (): void => {};
    const slow = (event: FollowedEvent): Promise<void> => {
      told.push(event);
      return new Promise((resolve) => {
        go = resolve;
      });
    };
    await all.until(all.bus('a').follow(slow, { types: ['message.dropped'] }));
    for (let n = 0; n < 1500; n++) {
      for (let i = 0; i < 3; i++) all.bus('b').emit('t', i); // at least one of them finds it full
      await all.clock.settle();
    }
    await all.clock.advance(100);
    assert.equal(told.length, 1);
    for (let seen = 0; seen !== told.length; ) {
      seen = told.length;
      go();
      await all.clock.advance(100);
    }
    const missed = told.reduce((sum, each) => sum + each.missed, 0);
    assert.ok(missed >= 400, `${missed} missed`);
    assert.equal(told.length + missed, 1500);
    await all.close();
  });

  test('closing a node that is followed takes no longer than else, and closing the one that follows ends it', async () => {
    const all = await world();
    await follow(all, 'a');
    await all.clock.advance(100);
    const start = all.clock.monotonic();
    await all.until(all.bus('b').close());
    assert.ok(all.clock.monotonic() - start < 500, `${all.clock.monotonic() - start} ms`);
    await all.close();
    await all.clock.advance(60_000);
    assert.equal(all.clock.pendingTimers, 0);
  });

  test('refuses what it cannot follow', async () => {
    const all = await world();
    const bus = all.bus('a');
    await assert.rejects(bus.follow(undefined as never), refusal('OPTION_INVALID', 'listener'));
    await assert.rejects(
      bus.follow(() => {}, { types: ['nope' as never] }),
      refusal('OPTION_INVALID', 'nope'),
    );
    await assert.rejects(
      bus.follow(() => {}, { node: 'a b' }),
      refusal('NAME_INVALID', 'a b'),
    );
    await assert.rejects(
      bus.follow(() => {}, { tpyes: [] } as never),
      refusal('OPTION_INVALID', "'types'"),
    );
    await all.close();
    await assert.rejects(
      bus.follow(() => {}),
      refusal('CLOSED'),
    );
  });
});

describe('the events of a node', () => {
  const feed = () => {
    const clock = new VirtualClock();
    const events = new EventHub(silentLogger);
    const paused = (subscription: string): void =>
      events.emit({ type: 'subscription.paused', subscription, reason: '' });
    return { clock, events, paused, feed: new EventFeed(clock, events, 'life') };
  };
  const types = ['subscription.paused'];

  test('nothing is kept until somebody asks, and no more after a minute without a question', async () => {
    const { clock, feed: own, paused } = feed();
    paused('early');
    const first = await own.answer({ types });
    assert.deepEqual([first.events, first.missed], [[], 0]);
    paused('kept');
    await clock.advance(59_000);
    const { life, after } = first;
    const second = await own.answer({ types, life, after });
    assert.deepEqual(
      second.events.map(({ event }) => 'subscription' in event && event.subscription),
      ['kept'],
    );
    paused('forgotten');
    await clock.advance(60_001);
    const third = await own.answer({ types, life, after: second.after });
    assert.deepEqual(third.events, []);
    assert.ok(third.missed >= 1, 'it is told that something is missing');
    own.close();
    assert.equal(clock.pendingTimers, 0);
  });

  test('a number of another life counts for nothing, and bad questions are refused', async () => {
    const { clock, feed: own, paused } = feed();
    await own.answer({ types });
    paused('one');
    const { events } = await own.answer({ types, life: 'another', after: 4711 });
    assert.equal(events.length, 1);
    await assert.rejects(own.answer({}), refusal('OPTION_INVALID', 'types'));
    await assert.rejects(own.answer({ types, life: 'life', after: -1 }), refusal('OPTION_INVALID', 'after'));
    await assert.rejects(own.answer({ types, wait: 1e9 }), refusal('OPTION_INVALID', 'wait'));
    own.close();
    await assert.rejects(own.answer({ types }), refusal('CLOSED'));
    assert.equal(clock.pendingTimers, 0);
  });

  test('at most 64 wait at a time, and each is answered after what it was told to wait', async () => {
    const { clock, feed: own } = feed();
    const { life, after } = await own.answer({ types });
    const all = Array.from({ length: 64 }, () => own.answer({ types, life, after, wait: 5000 }));
    await clock.settle();
    await assert.rejects(own.answer({ types, life, after, wait: 5000 }), refusal('MAILBOX_FULL'));
    await clock.advance(5000);
    assert.ok((await Promise.all(all)).every(({ events }) => events.length === 0));
    own.close();
  });

  test('however much a handler throws, an answer fits into a frame', async () => {
    const { feed: own, events } = feed();
    const { life, after } = await own.answer({ types: ['message.dead'] });
    const error = new Error('x'.repeat(1_000_000));
    for (let n = 0; n < 1000; n++)
      events.emit({
        type: 'message.dead',
        subscription: 's',
        id: `${n}`,
        topic: 't',
        attempts: 1,
        reason: 'term',
        error,
      });
    const batch = await own.answer({ types: ['message.dead'], life, after });
    assert.ok(JSON.stringify(batch).length < 1024 * 1024);
    assert.equal(batch.events.length, 200);
    own.close();
  });
});

test('a node of an earlier build, which knows nothing of this, is told of once in the log and left alone', async () => {
  const clock = new VirtualClock();
  const log = new LogBook();
  const asked: string[] = [];
  const host: FollowingHost = {
    ...{ node: 'a', clock, log, events: new EventHub(silentLogger) },
    others: () => ['old'],
    over: () => false,
    ask: async (node, method) => {
      asked.push(`${node} ${method}`);
      throw new BusError('PROTOCOL_ERROR', "node 'old' knows no request 'events'");
    },
  };
  const end = await Following.begin(host, () => {}, {});
  await clock.advance(60_000);
  assert.deepEqual(asked, ['old events']);
  assert.deepEqual(
    log.lines.map(({ level, text }) => [level, text]),
    [['warn', 'the events of a node cannot be followed']],
  );
  end();
  assert.equal(clock.pendingTimers, 0);
});
