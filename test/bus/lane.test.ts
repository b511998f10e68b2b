import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lane, laneLimits } from '../../src/bus/streams/relay.ts';

test('a lane is full by its messages or by its bytes, whichever comes first, and not before', () => {
  const [many, large] = [new Lane(), new Lane()];
  for (let n = 1; n < laneLimits.messages; n++) many.enter(1);
  large.enter(laneLimits.bytes - 1);
  assert.deepEqual([many.full, large.full], [false, false]);
  many.enter(1);
  large.enter(1);
  assert.deepEqual([many.full, large.full], [true, true]);
  many.leave(1);
  large.leave(1);
  assert.deepEqual([many.full, large.full], [false, false]);
});
