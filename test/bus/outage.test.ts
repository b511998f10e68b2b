import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type PolicyRecord, policyOf, policyRecord } from '../../src/bus/options/definition.ts';
import { resolveSubscription } from '../../src/bus/options/subscription-options.ts';
import { defaultOutage } from '../../src/core/outage.ts';
import { refusal } from '../core/testbed.ts';
import { DurableWorld } from './durable-world.ts';

const minute = 60_000;

function inWorld(name: string, run: (world: DurableWorld) => Promise<void>): void {
  test(name, { timeout: 60_000 }, async () => {
    const world = new DurableWorld();
    await run(world);
    await world.close();
  });
}

async function publishAll(world: DurableWorld, count: number): Promise<void> {
  const bus = world.bus('lead');
  await world.until(Promise.all(Array.from({ length: count }, (_, i) => bus.publish('t', i))));
}

inWorld(
  'consumers on other nodes whose database is away for a minute: no dead letter, one attempt at a time',
  async (w) => {
    await w.start('lead');
    await w.start('a', { stored: false });
    await w.start('b', { stored: false });
    let away = true;
    let running = 0;
    let most = 0;
    const attempts: number[] = [];
    const handled = new Set<unknown>();
    const handler = async ({ payload }: { payload: unknown }, attempt: number): Promise<void> => {
      attempts.push(attempt);
      running++;
      if (w.clock.monotonic() > began + 1000) most = Math.max(most, running);
      await new Promise<void>((done) => void w.clock.timer(20, done));
      running--;
      if (away) throw new Error('connection refused');
      handled.add(payload);
    };
    const home = () => w.bus('lead').mailboxes.stats('work');
    await w.durable('lead', 'work', null);
    for (const node of ['a', 'b']) await w.durable(node, 'work', handler, { concurrency: 4 });
    const began = w.clock.monotonic();
    await publishAll(w, 100);
    await w.clock.advance(minute);
    assert.equal((await home()).probing, true);
    assert.equal((await w.bus('lead').status()).mailboxes[0]?.probing, true);
    assert.equal(most, 1);
    away = false;
    await w.clock.advance(40_000);
    assert.equal(handled.size, 100);
    const { waiting, dead, probing } = await home();
    assert.deepEqual({ waiting, dead, probing }, { waiting: 0, dead: 0, probing: false });
    assert.deepEqual(
      [w.seen('lead', 'subscription.probing').length, w.seen('lead', 'subscription.recovered').length],
      [1, 1],
    );
    assert.ok(Math.max(...attempts) <= 2);
  },
);

inWorld(
  'the brake is an option of the mailbox: another one is NAME_TAKEN, update: true changes it at once',
  async (w) => {
    await w.start('lead');
    await w.start('a', { stored: false });
    const fail = (): never => {
      throw new Error('connection refused');
    };
    await w.durable('lead', 'work', fail);
    await publishAll(w, 20);
    await w.clock.advance(10_000);
    const stats = () => w.bus('lead').mailboxes.stats('work');
    assert.deepEqual([(await stats()).probing, (await stats()).dead], [true, 0]);
    await assert.rejects(
      w.durable('a', 'work', fail, { outage: false }),
      refusal('NAME_TAKEN', 'outage is {"failures":10,"messages":3,"grace":300000}, asked for was false'),
    );
    await w.durable('a', 'work', fail, { outage: { failures: 10 } });
    await w.durable('a', 'work', fail, { outage: false, update: true });
    await w.clock.advance(10_000);
    assert.deepEqual([(await stats()).probing, (await stats()).dead], [false, 20]);
    assert.equal((await stats()).policy.outage, false);
  },
);

inWorld('receive() is given probes as anybody is: none before it is time', async (w) => {
  await w.start('lead');
  await w.durable('lead', 'work', null, { retry: { jitter: 0 } });
  await publishAll(w, 20);
  const bus = w.bus('lead');
  for (let i = 0; i < 10; i++) (await w.until(bus.receive('work', { timeout: 0 })))?.nack(new Error('no'));
  assert.equal(await w.until(bus.receive('work', { timeout: 0 })), null);
  const began = w.clock.monotonic();
  const probe = await w.until(bus.receive('work'));
  assert.equal(w.clock.monotonic() - began, 100);
  assert.ok(probe?.ack());
  assert.notEqual(await w.until(bus.receive('work', { timeout: 0 })), null);
});

inWorld('an actor that is spawned is given its brake', async (w) => {
  await w.start('lead');
  w.bus('lead').handlers.define('fails', () => ({
    onMessage: () => {
      throw new Error('connection refused');
    },
  }));
  const spawn = (name: string, options: object) =>
    w.until(w.bus('lead').spawn('fails', { pattern: 't', name, ...options }));
  await spawn('braked', { outage: { failures: 1, messages: 1 } });
  await spawn('unbraked', { outage: false });
  w.bus('lead').emit('t', 1);
  await w.clock.advance(minute);
  const { subscriptions } = await w.bus('lead').status();
  assert.deepEqual(
    subscriptions.map(({ dead, probing }) => [dead, probing]),
    [
      [0, true],
      [1, false],
    ],
  );
});

test('a policy of an earlier build, which has no brake in it, means the default; any other comes back as it was stored', () => {
  const { retry, limits, latestOnly, filters } = resolveSubscription({ name: 'x', durable: true });
  const plain = { retry, limits, latestOnly, filters: filters.declarative, durability: 'fsync' as const };
  const { outage: _, ...earlier } = policyRecord({ ...plain, outage: false });
  assert.deepEqual(policyOf(earlier as PolicyRecord).outage, defaultOutage);
  for (const outage of [false, { failures: 3, messages: 2, grace: 0 }] as const) {
    assert.deepEqual(policyOf(policyRecord({ ...plain, outage })).outage, outage);
  }
});

test('what is left out of the options of the brake is the default', () => {
  assert.deepEqual(resolveSubscription().outage, defaultOutage);
  assert.deepEqual(resolveSubscription({ outage: { failures: 4 } }).outage, { ...defaultOutage, failures: 4 });
  assert.equal(resolveSubscription({ outage: false }).outage, false);
});
