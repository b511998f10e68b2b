import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryStore } from '../../src/storage/memory.ts';
import { prefixRange } from '../../src/storage/store.ts';
import { storeSuite } from '../../src/testing/store-suite.ts';

storeSuite('in memory', async () => ({ store: new MemoryStore() }));

test('a prefix range ends behind every key with that beginning', () => {
  assert.deepEqual(prefixRange('dead/'), { gte: 'dead/', lt: 'dead/\u{10ffff}' });
});

test('a value is the bytes that were given, not a copy: whoever writes them gives them away', async () => {
  const store = new MemoryStore();
  const value = Uint8Array.of(1, 2);
  await store.write([{ type: 'put', key: 'a', value }], true);
  assert.equal(await store.get('a'), value);
  await store.close();
});
