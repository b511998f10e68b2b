import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Message } from '../../src/core/message.ts';
import type { Commits } from '../../src/storage/commits.ts';
import type { Segment } from '../../src/storage/loaded.ts';
import { MemoryStore } from '../../src/storage/memory.ts';
import { segmentKey } from '../../src/storage/recovery.ts';
import { packSegment, storedForm } from '../../src/storage/segment.ts';
import { Window } from '../../src/storage/window.ts';

const id = '00000000000000aa';

/** A segment of one message, and its record. */
function one(first: number): { segment: Segment; message: Message; value: Uint8Array } {
  const message = storedForm(
    new Message('a', first, undefined, undefined, 0, 'node', 0, 'origin', first, undefined, undefined),
  );
  const head = { first, count: 1, mark: 0, bytesBefore: (first - 1) * message.size, bytes: message.size, time: 0 };
  const value = packSegment(head, [message], undefined);
  const segment = {
    ...head,
    key: segmentKey(id, first),
    record: value,
    left: 1,
    leftBytes: message.size,
    bits: undefined,
    emptied: false,
  };
  return { segment, message, value };
}

test('a segment that was read before its commit was told is there once', async () => {
  const store = new MemoryStore();
  const [first, second] = [one(1), one(2)];
  for (const { segment, value } of [first, second])
    await store.write([{ type: 'put', key: segmentKey(id, segment.first), value }], false);
  const arrived: number[] = [];
  let settled = (): void => undefined;
  const host = {
    id,
    commits: { store, error: undefined } as Partial<Commits> as Commits,
    limits: { messages: 10_000, bytes: 1 << 20 },
    engaged: 0,
    tail: 1, // the second one is on disk already, and its commit is not told yet
    total: first.message.size,
    arrived: (_: Message, sequence: number) => void arrived.push(sequence),
    settledIn: () => settled(),
    emptied: () => assert.fail('nothing has left'),
    stub: () => assert.fail('there is no stub'),
    gap: () => assert.fail('nothing is missing'),
    unreadable: (error: Error) => assert.fail(error),
  };
  const read = (): Promise<void> =>
    new Promise((done) => {
      settled = done;
      window.page();
    });
  const window = new Window(host, 1, [], []);
  await read();
  assert.deepEqual(arrived, [1]);
  host.tail = 2;
  host.total += second.message.size;
  window.takeNew(second.segment, [second.message]);
  if (!window.complete) await read();
  assert.equal(window.complete, true);
  const third = one(3);
  await store.write([{ type: 'put', key: segmentKey(id, 3), value: third.value }], false);
  host.tail = 3;
  await read();
  assert.deepEqual(arrived, [1, 2, 3]);
});
