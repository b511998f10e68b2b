import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DurableWorld } from './durable-world.ts';

test('explain() says of each route whether it is durable, and why it cannot be reached', async () => {
  const all = new DurableWorld();
  await all.start('lead');
  await all.start('a');
  await all.start('b', { stored: false });
  await all.durable('a', 'kept', null);
  await all.until(all.bus('b').subscribe('t', () => {}, { name: 'mem' }));
  const routes = (node: string) =>
    all
      .bus(node)
      .explain('t')
      .routes.map(({ subscription, node: at, durable, reachable, why }) => [subscription, at, durable, reachable, why]);
  assert.deepEqual(routes('lead'), [
    ['test/kept', 'a', true, true, undefined],
    ['mem', 'b', false, true, undefined],
  ]);
  all.cut('b');
  await all.clock.advance(5_000);
  assert.deepEqual(routes('lead')[1], [
    'mem',
    'b',
    false,
    false,
    "node 'b' is suspect: its link is broken, or it is silent",
  ]);
  assert.deepEqual(routes('b')[0], ['test/kept', 'a', true, false, "this node has no link to its leader 'lead'"]);
  all.heal('b');
  await all.clock.advance(5_000);
  await all.until(all.bus('a').close());
  await all.clock.advance(100);
  const [, , , reachable, why] = routes('b')[0] ?? [];
  assert.equal(reachable, false);
  assert.match(String(why), /^node 'a' is not in the cluster: it has left, is down, or has not come back yet$/);
  await all.close();
});
