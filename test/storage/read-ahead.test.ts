import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryStore } from '../../src/storage/memory.ts';
import { ReadAhead } from '../../src/storage/read-ahead.ts';

const range = { gte: 'a', lt: 'b' };

async function storeOf(...sizes: number[]): Promise<MemoryStore> {
  const store = new MemoryStore();
  const operations = sizes.map((size, i) => ({ type: 'put', key: `a${i}`, value: new Uint8Array(size) }) as const);
  await store.write(operations, false);
  return store;
}

function keysOf(ahead: ReadAhead): string[] {
  const keys: string[] = [];
  for (let record = ahead.take(); record !== undefined; record = ahead.take()) keys.push(record[0]);
  return keys;
}

test('about 256 KiB are read at a time, and at least one record, in the order of their keys', async () => {
  const ahead = new ReadAhead();
  ahead.use(await storeOf(100_000, 100_000, 100_000, 100_000, 1_000_000));
  await ahead.fill(range);
  assert.deepEqual(keysOf(ahead), ['a0', 'a1', 'a2']);
  await ahead.fill({ ...range, gte: 'a3' });
  assert.equal(ahead.empty, false);
  assert.deepEqual(keysOf(ahead), ['a3', 'a4']);
  await ahead.fill({ ...range, gte: 'a4' });
  assert.deepEqual(keysOf(ahead), ['a4']);
  await ahead.fill({ ...range, gte: 'a5' });
  assert.equal(ahead.empty, true);
  assert.equal(ahead.take(), undefined);
});

test('what was read is kept as long as the store is the same', async () => {
  const ahead = new ReadAhead();
  const [store, other] = [await storeOf(10, 10), await storeOf(10)];
  ahead.use(store);
  await ahead.fill(range);
  ahead.use(store);
  assert.equal(ahead.take()?.[0], 'a0');
  ahead.use(other);
  assert.equal(ahead.empty, true);
  await ahead.fill(range);
  assert.deepEqual(keysOf(ahead), ['a0']);
});

test('what was still being read from a store that has gone is not taken for the new one’s', async () => {
  const ahead = new ReadAhead();
  ahead.use(await storeOf(10, 10));
  const filled = ahead.fill(range);
  ahead.use(await storeOf());
  await filled;
  assert.equal(ahead.empty, true);
});
