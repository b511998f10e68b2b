import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BusOptions } from '../../src/bus/options/options.ts';
import { refusal } from '../core/testbed.ts';
import { DurableWorld } from './durable-world.ts';

const next = 'tcp://10.0.0.2:1900';
const standby: BusOptions = { listen: next, insecure: true };

/** A leader, a node that could lead, and two that could not; everything that anybody has subscribed to 't' in `got`. */
async function world() {
  const all = new DurableWorld();
  const got: string[] = [];
  await all.start('lead');
  await all.start('b', standby);
  for (const node of ['c', 'd']) await all.start(node, { stored: node === 'c' });
  await all.durable('c', 'work', ({ payload }) => void got.push(String(payload)));
  return { all, got };
}

const leaderOf = async (all: DurableWorld, node: string): Promise<string> => {
  const { leader, role } = await all.bus(node).status();
  return `${role} ${leader?.node} ${leader?.epoch.split('.')[0]} ${leader?.linked ? 'linked' : 'away'}`;
};

/** How every node sees it. */
async function seen(all: DurableWorld, ...nodes: string[]): Promise<string[]> {
  return Promise.all(nodes.map((node) => leaderOf(all, node)));
}

/** Opens a link to a node between those that are not the leader. */
function follows(one: string, two: string): string {
  return `leaf ${one} ${two} linked`;
}

/** How 'lead', 'b', 'c' and 'd' see it when 'b' leads. */
const everybodyFollows = [follows('b', '1'), 'leader b 1 linked', follows('b', '1'), follows('b', '1')];

test('the leader hands over to a node that listens: everybody follows, also the old one, and nothing is lost', async () => {
  const { all, got } = await world();
  for (let i = 0; i < 20; i++) await all.until(all.bus('d').publish('t', i));
  // One with a store keeps what it publishes meanwhile.
  const meanwhile = Array.from({ length: 20 }, (_, i) => all.bus('lead').publish('t', 20 + i));
  await all.until(all.bus('d').promote('b'));
  await all.until(Promise.all(meanwhile));
  await all.clock.advance(10_000);
  assert.deepEqual(await seen(all, 'lead', 'b', 'c', 'd'), everybodyFollows);
  for (let i = 40; i < 60; i++) await all.until(all.bus('lead').publish('t', i));
  await all.when(() => got.length >= 60);
  assert.deepEqual(
    got,
    Array.from({ length: 60 }, (_, i) => String(i)),
  );
  await all.until(all.bus('c').promote('b')); // it leads already
  await all.until(all.bus('b').promote('lead'));
  await all.clock.advance(10_000);
  assert.deepEqual(await seen(all, 'lead', 'b', 'c'), [
    'leader lead 2 linked',
    follows('lead', '2'),
    follows('lead', '2'),
  ]);
  await all.close();
});

test('when the leader is dead, a node that is told to lead does, the others find it, and the old one follows when it is back', async () => {
  const { all, got } = await world();
  await all.die('lead');
  await all.clock.advance(5_000);
  await assert.rejects(all.until(all.bus('d').promote('b')), refusal('NO_LEADER', 'mailvan promote b'));
  await all.until(all.bus('b').promote('b'));
  await all.clock.advance(30_000);
  assert.deepEqual(await seen(all, 'b', 'c', 'd'), ['leader b 1 linked', follows('b', '1'), follows('b', '1')]);
  await all.until(all.bus('d').publish('t', 'x'));
  await all.when(() => got.length === 1);
  await all.start('lead');
  await all.clock.advance(10_000);
  assert.deepEqual(await seen(all, 'lead', 'b', 'c', 'd'), everybodyFollows);
  await all.close();
});

test('a node outside can tell it, as it connects: that is what the command does', async () => {
  const { all } = await world();
  await all.die('lead');
  await all.clock.advance(5_000);
  const outside = await all.until(all.open({ node: 'cli', leader: next, promote: 'b', insecure: true }));
  assert.equal((await outside.status()).leader?.node, 'b');
  await all.clock.advance(10_000);
  assert.deepEqual(await seen(all, 'b', 'c'), ['leader b 1 linked', follows('b', '1')]);
  await all.until(outside.close());
  await assert.rejects(
    all.until(all.open({ node: 'cli2', leader: 'tcp://10.0.0.9:1', promote: 'b', joinTimeout: 500 })),
    refusal('NO_LEADER'),
  );
  await all.close();
});

test('while the leader is there, whoever is told to lead by a newcomer sends it to the leader', async () => {
  const { all } = await world();
  const outside = await all.until(all.open({ node: 'cli', leader: next, promote: 'b' }));
  assert.equal((await outside.status()).leader?.node, 'lead');
  await all.until(outside.promote('b'));
  assert.equal((await outside.status()).leader?.node, 'b');
  assert.deepEqual(await seen(all, 'b'), ['leader b 1 linked']);
  await all.close();
});

test('both remember it: restarted in any order, they lead and follow as the operator said', async () => {
  const { all } = await world();
  await all.until(all.bus('lead').promote('b'));
  await all.clock.advance(2_000);
  for (const node of ['lead', 'b']) await all.die(node);
  await all.clock.advance(5_000);
  await all.start('lead', { joinTimeout: 1000 });
  await all.start('b', standby);
  await all.clock.advance(20_000);
  assert.deepEqual(await seen(all, 'lead', 'b', 'c', 'd'), everybodyFollows);
  await all.close();
});

test('what runs stays where it is when another node leads', async () => {
  const { all } = await world();
  const starts: string[] = [];
  for (const node of ['c', 'd']) {
    all.bus(node).handlers.define('k', (context) => ({
      onStart: () => void starts.push(`${context.node}.${context.generation}`),
    }));
  }
  const placement = await all.until(all.bus('d').spawn('k', { name: 'p', instances: 2, spread: 'node' }));
  const single = await all.until(all.bus('d').spawn('k', { name: 's', singleton: true }));
  assert.equal(starts.length, 3);
  await all.until(all.bus('lead').promote('b'));
  await all.clock.advance(40_000);
  assert.equal(starts.length, 3, String(starts));
  assert.deepEqual(
    [placement, single].map(({ info }) => info?.instances.map(({ node, state }) => `${node} ${state}`)),
    [['c running', 'd running'], ['c running']],
  );
  await all.die('c');
  await all.clock.advance(30_000);
  assert.deepEqual(
    single.info?.instances.map(({ node }) => node),
    ['d'],
  );
  const first = Number(starts.at(-1)?.split('.')[1]);
  assert.ok(first >= 2 ** 32, `generation ${first} is above all that the old leader gave`);
  await all.close();
});

test('a node that does not listen, or is not there, is not promoted', async () => {
  const { all } = await world();
  await assert.rejects(all.until(all.bus('d').promote('c')), refusal('OPTION_INVALID', 'listen'));
  await assert.rejects(all.until(all.bus('lead').promote('nobody')), refusal('NODE_UNREACHABLE', 'nobody'));
  const alone = await all.open({ node: 'alone' });
  await assert.rejects(alone.promote('b'), refusal('OPTION_INVALID', 'alone'));
  assert.deepEqual(await seen(all, 'lead'), ['leader lead 0 linked']);
  await all.close();
});

test('promoting takes no longer than its timeout, here or at the leader, whoever does not answer', async () => {
  const { all } = await world();
  const late = async (node: string, timeout: number): Promise<number> => {
    const start = all.clock.monotonic();
    await assert.rejects(all.until(all.bus(node).promote('b', { timeout })), refusal('TIMEOUT'));
    return all.clock.monotonic() - start;
  };
  all.cut('b');
  assert.deepEqual([await late('lead', 200), await late('d', 300)], [200, 300]);
  await all.close();
});
