import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Bus } from '../../src/bus/bus.ts';
import type { SubscriptionOptions } from '../../src/bus/options/subscription-options.ts';
import { hash, weight } from '../../src/core/spread.ts';
import { refusal } from '../core/testbed.ts';
import { Stage, stage, suspect } from './stage.ts';

/** What the members of a group have got. */
class Crew {
  readonly got = new Map<string, unknown[]>();
  readonly #stage: Stage;

  constructor(on: Stage) {
    this.#stage = on;
  }

  /** A member, on a node, that does nothing but note. */
  async join(node: string, name: string, options: SubscriptionOptions = {}, pattern = 't') {
    const list: unknown[] = [];
    this.got.set(name, list);
    const given = { group: 'workers', name, ...options };
    return this.#stage.until(this.#stage.bus(node).subscribe(pattern, ({ payload }) => void list.push(payload), given));
  }

  /** How many each has got. */
  get counts(): Record<string, number> {
    return Object.fromEntries([...this.got].map(([name, list]) => [name, list.length]));
  }

  /** Everything that anybody has got, in order of number. */
  get all(): number[] {
    return [...this.got.values()].flatMap((list) => list as number[]).sort((a, b) => a - b);
  }
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

async function publish(on: Stage, bus: Bus, from: number, to: number, options: object = {}) {
  const messages = upTo(to - from).map((i) => ({ topic: 't', payload: from + i, ...options }));
  return on.until(bus.publishMany(messages));
}

/** Publishes one after the other, and lets each be handled. */
async function publishSlowly(on: Stage, bus: Bus, from: number, to: number): Promise<void> {
  for (let n = from; n < to; n++) {
    await on.until(bus.publish('t', n));
    await on.clock.advance(10);
  }
}

/** A member that takes nothing out of its mailbox, which holds two messages. */
const small = { limits: { messages: 2 } };

describe('a group', () => {
  test('gets each message once: its members on one node take turns', async () => {
    const s = await stage('a');
    const crew = new Crew(s);
    for (const name of ['one', 'two', 'three']) await crew.join('a', name);
    const others: unknown[] = [];
    await s.until(s.bus('lead').subscribe('.', ({ payload }) => void others.push(payload)));
    const receipts = await publish(s, s.bus('a'), 0, 6);
    assert.deepEqual(
      receipts.map(({ matched, unreachable }) => [matched, unreachable]),
      upTo(6).map(() => [2, []]),
    );
    for (const n of [6, 7, 8]) assert.equal(s.bus('a').emit('t', n), true);
    await s.when(() => crew.all.length === 9 && others.length === 9);
    assert.deepEqual(crew.all, upTo(9));
    assert.deepEqual(crew.counts, { one: 3, two: 3, three: 3 });
    await assert.rejects(
      s.until(s.bus('a').publish('t', 9, { atLeast: 3 })),
      refusal('NO_SUBSCRIBERS', 'matches 2 subscriptions'),
    );
    await s.close();
  });

  test('on several nodes: the publisher’s own members first, and where there are none, all in turn', async () => {
    const s = await stage('a', 'b', 'c');
    const crew = new Crew(s);
    await crew.join('a', 'at-a');
    await crew.join('b', 'at-b1');
    await crew.join('b', 'at-b2');
    await publish(s, s.bus('a'), 0, 10);
    await s.when(() => crew.all.length === 10);
    assert.deepEqual(crew.counts, { 'at-a': 10, 'at-b1': 0, 'at-b2': 0 });
    await publish(s, s.bus('b'), 10, 20);
    await s.when(() => crew.all.length === 20);
    assert.deepEqual(crew.counts, { 'at-a': 10, 'at-b1': 5, 'at-b2': 5 });
    const receipts = await publish(s, s.bus('c'), 20, 50, { atLeast: 1 });
    for (let n = 50; n < 80; n++) s.bus('c').emit('t', n);
    await s.when(() => crew.all.length === 80);
    assert.ok(receipts.every(({ matched, unreachable }) => matched === 1 && unreachable.length === 0));
    assert.deepEqual(crew.all, upTo(80));
    assert.deepEqual(crew.counts, { 'at-a': 30, 'at-b1': 25, 'at-b2': 25 });
    await s.close();
  });

  test('is one of its service, name and pattern', async () => {
    const s = new Stage();
    await s.start('lead');
    await s.start('other', { stored: false, service: 'other' });
    const crew = new Crew(s);
    await crew.join('lead', 'one');
    await crew.join('lead', 'two');
    await crew.join('lead', 'searching', {}, 't|u');
    await crew.join('lead', 'idle', { group: 'idlers' });
    await crew.join('other', 'elsewhere');
    const { matched } = await s.until(s.bus('lead').publish('t', 0));
    assert.equal(matched, 4);
    await s.until(s.bus('lead').publish('t', 1));
    await s.when(() => crew.all.length === 8);
    assert.deepEqual(crew.counts, { one: 1, two: 1, searching: 2, idle: 2, elsewhere: 2 });
    const { topic, routes } = s.bus('other').explain('t');
    assert.deepEqual(
      [topic, routes.map(({ node, subscription, group }) => `${node}/${subscription} ${group}`).sort()],
      [
        't',
        [
          'lead/idle test/idlers',
          'lead/one test/workers',
          'lead/searching test/workers',
          'lead/two test/workers',
          'other/elsewhere other/workers',
        ],
      ],
    );
    const { subscriptions } = await s.until(s.bus('other').status({ node: 'lead' }));
    assert.deepEqual(
      subscriptions.map(({ name, group }) => `${name} ${group}`),
      ['one test/workers', 'two test/workers', 'searching test/workers', 'idle test/idlers'],
    );
    await s.close();
  });

  test('leaves out a member that is full or paused, here or elsewhere, until all are', async () => {
    const s = await stage('a', 'b');
    const crew = new Crew(s);
    const first = await crew.join('a', 'first', small);
    const second = await crew.join('a', 'second', small);
    const far = await crew.join('b', 'far', small);
    const members = [first, second, far];
    const waiting = (): number[] => members.map((member) => member.stats().waiting);
    first.pause();
    far.pause();
    await publishSlowly(s, s.bus('a'), 0, 10);
    assert.deepEqual(crew.counts, { first: 0, second: 10, far: 0 });
    second.pause();
    await publishSlowly(s, s.bus('a'), 10, 12);
    assert.deepEqual(waiting(), [0, 0, 2], 'one that is paused here comes after one elsewhere that has room');
    await publishSlowly(s, s.bus('a'), 12, 16);
    assert.deepEqual(waiting(), [2, 2, 2]);
    await assert.rejects(s.until(s.bus('a').publish('t', 16, { timeout: 500 })), refusal('TIMEOUT', 'a/'));
    assert.equal(s.bus('a').emit('t', 17), false);
    await s.until(s.bus('lead').subscribe('t', () => {}, { name: 'alone' }));
    assert.equal(s.bus('a').emit('t', 17), false, 'nor does anybody else have it then');
    assert.deepEqual(waiting(), [2, 2, 2]);
    const blocked = s.bus('a').publish('t', 18);
    await s.clock.advance(10);
    for (const member of members) member.resume();
    assert.equal((await s.until(blocked)).matched, 2);
    await s.when(() => crew.all.length === 17);
    assert.deepEqual(crew.all, [...upTo(16), 18]);
    await s.close();
  });

  test('asks the next member when one on another node refuses, and says so only when all do', async () => {
    const s = await stage('a', 'b', 'c');
    const crew = new Crew(s);
    const limits = { messages: 2, overflow: 'reject' } as const;
    const members = [
      await crew.join('a', 'at-a', { limits }),
      await crew.join('b', 'at-b1', { limits }),
      await crew.join('b', 'at-b2', { limits }),
    ];
    for (const member of members) member.pause();
    const waiting = (): number[] => members.map((member) => member.stats().waiting);
    await publish(s, s.bus('c'), 0, 6);
    assert.deepEqual(waiting(), [2, 2, 2]);
    await assert.rejects(s.until(s.bus('c').publish('t', 6)), refusal('MAILBOX_FULL', '1 of 1 routes'));
    members[2]?.resume();
    await publishSlowly(s, s.bus('c'), 7, 20);
    assert.deepEqual(waiting(), [2, 2, 0], 'each refusal led on to the one that had room');
    for (const member of members) member.resume();
    await s.when(() => crew.all.length === 19);
    assert.deepEqual(crew.all, [...upTo(6), ...upTo(20).slice(7)], 'none is lost, none is there twice');
    await s.close();
  });

  test('with the policy of the chosen one when all are full', async () => {
    const s = await stage('a');
    const crew = new Crew(s);
    const one = await crew.join('a', 'one', { limits: { messages: 1, overflow: 'drop-oldest' } });
    const two = await crew.join('a', 'two', { limits: { messages: 1, overflow: 'reject' } });
    for (const member of [one, two]) member.pause();
    await publish(s, s.bus('a'), 0, 2);
    assert.deepEqual([one.stats().waiting, two.stats().waiting], [1, 1], 'nothing is dropped while another has room');
    await publish(s, s.bus('a'), 2, 4);
    assert.equal(one.stats().dropped, 2, 'the one that refuses led on to the one that drops');
    for (const member of [one, two]) member.resume();
    await s.when(() => crew.all.length === 2);
    await s.close();
  });

  test('goes on without a member that closes, whose publishers that waited for room go elsewhere', async () => {
    const s = await stage('a', 'b');
    const crew = new Crew(s);
    const one = await crew.join('a', 'one', small);
    const two = await crew.join('a', 'two', small);
    for (const member of [one, two]) member.pause();
    await publish(s, s.bus('a'), 0, 4);
    const blocked = [s.bus('a').publish('t', 4), s.bus('a').publish('t', 5)];
    const remote = s.bus('b').publish('t', 6);
    await s.clock.advance(10);
    await s.until(one.close());
    assert.deepEqual(
      s
        .bus('b')
        .explain('t')
        .routes.map(({ subscription }) => subscription),
      ['two'],
    );
    two.resume();
    for (const receipt of await s.until(Promise.all(blocked))) assert.equal(receipt.matched, 1);
    await s.until(remote);
    await s.until(two.drain());
    assert.ok(crew.got.get('two')?.includes(4) && crew.got.get('two')?.includes(5));
    await s.until(two.close());
    assert.equal((await s.until(s.bus('b').publish('t', 9))).matched, 0, 'without members there is no group');
    await s.close();
  });

  test('names a member whose node goes while it has an unconfirmed message, and goes on with the others', async () => {
    const s = await stage('a', 'b', 'c');
    const crew = new Crew(s);
    await crew.join('a', 'at-a');
    await crew.join('b', 'at-b');
    s.cut('b');
    const receipts = upTo(10).map((n) => s.bus('c').publish('t', n, { timeout: suspect + 5000 }));
    const settled = await s.until(Promise.all(receipts));
    const lost = settled.flatMap(({ unreachable }) => unreachable);
    assert.deepEqual(new Set(lost), new Set(['b/at-b']));
    assert.equal(lost.length, 5, 'it had every second one');
    await s.when(() => s.seen('c', 'node.suspect').length > 0);
    const [before] = [crew.all.length];
    const after = await publish(s, s.bus('c'), 10, 20);
    assert.ok(after.every(({ matched, unreachable }) => matched === 1 && unreachable.length === 0));
    await s.when(() => (crew.got.get('at-a')?.length ?? 0) === 15);
    assert.equal(before, 5);
    s.heal('b');
    await s.clock.advance(10_000);
    await publish(s, s.bus('c'), 20, 30);
    await s.when(() => crew.counts['at-a'] === 20);
    const all = crew.all;
    assert.equal(new Set(all).size, all.length, 'nobody got what another one got');
    await s.close();
  });

  test('what a member may have got when its node is down is given to nobody else', async () => {
    const s = await stage('a', 'b');
    const crew = new Crew(s);
    await crew.join('b', 'at-b');
    await publish(s, s.bus('lead'), 0, 1); // the stream is open
    const receipt = s.bus('lead').publish('t', 1, { timeout: 30_000 });
    await s.clock.settle();
    s.cut('b');
    await crew.join('a', 'at-a');
    await s.when(() => s.seen('lead', 'node.down').length > 0);
    const { matched, unreachable } = await s.until(receipt);
    assert.deepEqual([matched, unreachable], [1, ['b/at-b']]);
    await publish(s, s.bus('lead'), 2, 3);
    await s.when(() => crew.counts['at-a'] === 1);
    assert.deepEqual(crew.got.get('at-a'), [2]);
    s.heal('b');
    await s.clock.advance(10_000);
    await s.close();
  });

  test('of a node that dies is smaller by its members', async () => {
    const s = await stage('a', 'b');
    const crew = new Crew(s);
    await crew.join('a', 'at-a');
    await crew.join('b', 'at-b');
    await s.die('b');
    await s.when(() => s.seen('lead', 'node.down').length > 0);
    const receipts = await publish(s, s.bus('lead'), 0, 5);
    assert.ok(receipts.every(({ matched, unreachable }) => matched === 1 && unreachable.length === 0));
    await s.when(() => crew.all.length === 5);
    assert.deepEqual(crew.counts, { 'at-a': 5, 'at-b': 0 });
    await s.close();
  });

  test('a key has one member, whoever publishes it, and keeps its order there', async () => {
    const s = await stage('a', 'b', 'c');
    const crew = new Crew(s);
    for (const [node, name] of [
      ['a', 'a1'],
      ['a', 'a2'],
      ['b', 'b1'],
      ['c', 'c1'],
    ] as const) {
      await crew.join(node, name);
    }
    const keys = upTo(20).map((n) => `key ${n}`);
    for (const node of ['a', 'b', 'c', 'lead']) {
      for (const key of keys) {
        const messages = upTo(5).map((n) => ({ topic: 't', payload: `${node} ${key}: ${n}`, key }));
        await s.until(s.bus(node).publishMany(messages));
      }
    }
    await s.when(() => [...crew.got.values()].flat().length === 400);
    for (const key of keys) {
      const holders = [...crew.got].filter(([, list]) => list.some((text) => String(text).includes(` ${key}:`)));
      assert.equal(holders.length, 1, key);
      for (const node of ['a', 'b', 'c', 'lead']) {
        assert.deepEqual(
          holders[0]?.[1].filter((text) => String(text).startsWith(`${node} ${key}:`)),
          upTo(5).map((n) => `${node} ${key}: ${n}`),
        );
      }
    }
    assert.ok(
      Object.values(crew.counts).every((count) => count > 0),
      'each has some of the keys',
    );
    await s.close();
  });

  test('a key whose member is full waits for it, and moves when it goes', async () => {
    const s = await stage('a');
    const crew = new Crew(s);
    const members = [await crew.join('a', 'one', small), await crew.join('a', 'two', small)];
    const key = 'k';
    await s.until(s.bus('a').publish('t', 0, { key }));
    await s.clock.advance(10);
    const [holder, other] = crew.counts.one === 1 ? members : members.toReversed();
    holder?.pause();
    await publish(s, s.bus('a'), 1, 3, { key });
    const blocked = s.bus('a').publish('t', 3, { key });
    await s.clock.advance(1000);
    assert.equal(other?.stats().handled, 0, 'it is idle, and does not overtake');
    await s.until(holder?.close() ?? Promise.reject());
    assert.equal((await s.until(blocked)).matched, 1);
    await publish(s, s.bus('a'), 4, 6, { key });
    await s.until(other?.drain() ?? Promise.reject());
    assert.deepEqual(crew.got.get(other?.name ?? ''), [3, 4, 5]);
    await s.close();
  });

  test('is joined by consume() as well', async () => {
    const s = await stage('a');
    const crew = new Crew(s);
    await crew.join('a', 'one');
    const loop = s.bus('a').consume('t', { group: 'workers', name: 'loop' });
    await s.until(loop.ready);
    await publish(s, s.bus('a'), 0, 2);
    const { value } = await s.until(loop.next());
    value?.ack();
    await s.when(() => crew.all.length === 1);
    assert.deepEqual([...crew.all, value?.message.payload].sort(), [0, 1]);
    await s.until(loop.close());
    await s.close();
  });
});

test('a random life: nobody gets what another one got, and what has a receipt is handled or counted', async () => {
  let total = 0;
  for (let seed = 1; seed <= 8; seed++) {
    const s = new Stage({ seed });
    const random = (below: number): number => Math.floor(s.clock.random() * below);
    const nodes = ['lead', 'a', 'b', 'c'];
    for (const node of nodes) await s.start(node, { stored: false });
    const crew = new Crew(s);
    const open: Awaited<ReturnType<Crew['join']>>[] = [];
    const closed: typeof open = [];
    const receipts: Promise<number>[] = [];
    const cut = new Set<string>();
    let published = 0;
    for (let step = 0; step < 60; step++) {
      const node = nodes[random(nodes.length)] ?? 'lead';
      switch (random(6)) {
        case 0: {
          const limits = { messages: 1 + random(20), overflow: random(2) === 0 ? 'block' : 'reject' } as const;
          open.push(await crew.join(node, `m${step}`, { limits }));
          break;
        }
        case 1: {
          const [member] = open.splice(random(Math.max(1, open.length)), 1);
          if (member !== undefined) closed.push(member);
          await s.until(member?.close() ?? Promise.resolve());
          break;
        }
        case 2:
          if (node !== 'lead' && cut.delete(node)) s.heal(node);
          else if (node !== 'lead') cut.add(node) && s.cut(node);
          break;
        case 3: {
          const member = open[random(open.length)];
          if (member?.state === 'paused') member.resume();
          else member?.pause();
          break;
        }
        default:
          for (let n = random(40); n > 0; n--) {
            const key = random(3) === 0 ? { key: `k${random(5)}` } : {};
            const done = s.bus(node).publish('t', published++, { timeout: 2000, ...key });
            receipts.push(
              done.then(
                ({ matched, unreachable }) => matched - unreachable.length,
                () => 0,
              ),
            );
          }
      }
      await s.clock.advance(random(800));
    }
    for (const node of cut) s.heal(node);
    for (const member of open) member.resume();
    const taken = (await s.until(Promise.all(receipts))).reduce((sum, each) => sum + each, 0);
    await s.clock.advance(10_000);
    for (const member of open) await s.until(member.drain());
    const all = crew.all;
    assert.equal(new Set(all).size, all.length, `seed ${seed}: one was handled twice`);
    const dropped = closed.reduce((sum, member) => sum + member.stats().dropped, 0);
    total += taken;
    assert.ok(all.length + dropped >= taken, `seed ${seed}: ${taken} taken, ${all.length} handled, ${dropped} dropped`);
    await s.close();
  }
  assert.ok(total > 800, `${total}`);
});

test('the instances of a placement in memory share its messages, also when one has moved', async () => {
  const s = await stage();
  const seen = new Map<string, number[]>();
  for (const node of ['a', 'b', 'c']) {
    await s.start(node, { stored: false });
    s.bus(node).handlers.define('writer', ({ instance }) => ({
      onMessage({ payload }) {
        const who = `${node}/${instance}`;
        seen.set(who, [...(seen.get(who) ?? []), payload as number]);
      },
    }));
  }
  const options = { pattern: 't', name: 'w', instances: 2, spread: 'node', pinned: ['a', 'b', 'c'] };
  const placement = await s.until(s.bus('lead').spawn('writer', options));
  const receipts = await publish(s, s.bus('lead'), 0, 10);
  assert.ok(receipts.every(({ matched }) => matched === 1));
  const all = (): number[] => [...seen.values()].flat().sort((x, y) => x - y);
  await s.when(() => all().length === 10);
  assert.deepEqual([all(), [...seen.values()].map((list) => list.length)], [upTo(10), [5, 5]]);
  const [gone = ''] = [...seen.keys()].map((who) => who.slice(0, 1));
  await s.until(s.bus(gone).close());
  await s.when(
    () => placement.info?.instances.every(({ state, node }) => state === 'running' && node !== gone) === true,
  );
  await publish(s, s.bus('lead'), 10, 20);
  await s.when(() => all().length === 20);
  assert.deepEqual(all(), upTo(20));
  assert.deepEqual(
    s
      .bus('lead')
      .explain('t')
      .routes.map(({ group }) => group),
    ['$spawn/w', '$spawn/w'],
  );
  await s.close();
});

test('keys are spread evenly over members, and a member that goes moves only its own', () => {
  const members = upTo(8).map((n) => hash(`${n}`.repeat(16)));
  const holder = (key: string, among: readonly number[]): number =>
    among.reduce((best, each) => (weight(hash(key), each) > weight(hash(key), best) ? each : best));
  const keys = upTo(8000).map((n) => `customer-${n}`);
  const counts = members.map((member) => keys.filter((key) => holder(key, members) === member).length);
  for (const count of counts) assert.ok(count > 800 && count < 1200, `${counts}`);
  const left = members.slice(1);
  for (const key of keys) {
    const before = holder(key, members);
    if (before !== members[0]) assert.equal(holder(key, left), before);
  }
});
