import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type PendingSync, PendingSyncs } from '../../src/cluster/pending-syncs.ts';

/** Members, with a count of how many have been gone through. */
class Followers extends Map<string, { applied: number }> {
  seen = 0;

  override *[Symbol.iterator](): ReturnType<Map<string, { applied: number }>['entries']> {
    for (const entry of super.entries()) {
      this.seen++;
      yield entry;
    }
  }
}

function bed(count: number) {
  const followers = new Followers();
  for (let i = 0; i < count; i++) followers.set(`m${i}`, { applied: 0 });
  const done: PendingSync[] = [];
  const syncs = new PendingSyncs(followers, (sync) => done.push(sync));
  const applied = (node: string, version: number): void => {
    followers.set(node, { applied: version });
    syncs.applied(node, version);
  };
  return { followers, syncs, done, applied };
}

test('the members are gone through once for a change, however many confirm it', () => {
  const { followers, syncs, done, applied } = bed(1000);
  const sync = { node: 'm0', part: 1, version: 5 };
  syncs.add(sync);
  for (let i = 1; i < 1000; i++) {
    assert.deepEqual(done, []);
    applied(`m${i}`, 5);
  }
  assert.deepEqual(done, [sync]);
  assert.equal(followers.seen, 1000);
});

test('changes are over in their order, each when everybody but its writer has confirmed it or a later one', () => {
  const { syncs, done, applied } = bed(3);
  const [first, second] = [
    { node: 'm0', part: 1, version: 5 },
    { node: 'm1', part: 1, version: 6 },
  ];
  syncs.add(first);
  syncs.add(second);
  applied('m1', 4);
  applied('m1', 5);
  applied('m2', 6);
  assert.deepEqual(done, [first]);
  applied('m0', 6);
  assert.deepEqual(done, [first, second]);
});

test('one who has gone is waited for no more, and one who has come is', () => {
  const { followers, syncs, done, applied } = bed(2);
  const sync = { node: 'm0', part: 1, version: 5 };
  syncs.add(sync);
  followers.set('late', { applied: 0 });
  syncs.came('late');
  followers.delete('m1');
  syncs.gone('m1');
  assert.deepEqual(done, []);
  applied('late', 5);
  assert.deepEqual(done, [sync]);
});
