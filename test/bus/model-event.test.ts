import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Message } from '../../src/core/message.ts';
import { wildcard } from '../../src/routing/pattern.ts';
import { refusal, resolved, world } from '../core/testbed.ts';

test('publishModelEvent() publishes on <Model>.<event>, with the names as headers', async (t) => {
  const { bus, clock } = await world(t);
  const seen: Message[] = [];
  await bus.subscribe(wildcard('Booking.*'), (message) => void seen.push(message));
  const receipt = await resolved(clock, bus.publishModelEvent('mksp.apps.users.models.Booking', 'updated', { foo: 1 }));
  assert.equal(receipt.matched, 1);
  await resolved(clock, bus.publishModelEvent('Booking', 'created', {}, { key: '7', headers: { trace: 'abc' } }));
  await resolved(clock, bus.publishModelEvent('Room', 'created', {}));
  await clock.settle();
  assert.deepEqual(
    seen.map(({ topic, payload, headers, key }) => ({ topic, payload, headers: { ...headers }, key })),
    [
      {
        topic: 'Booking.updated',
        payload: { foo: 1 },
        headers: { model: 'mksp.apps.users.models.Booking', event: 'updated' },
        key: undefined,
      },
      {
        topic: 'Booking.created',
        payload: {},
        headers: { trace: 'abc', model: 'Booking', event: 'created' },
        key: '7',
      },
    ],
  );
});

test('publishModelEvent() refuses what is no name, saying what is', async (t) => {
  const { bus } = await world(t);
  for (const model of ['', 'models.', 5, undefined]) {
    await assert.rejects(
      bus.publishModelEvent(model as string, 'updated', {}),
      refusal('TOPIC_INVALID', 'the model', "'shop.models.Booking'"),
    );
  }
  for (const event of ['', 'very.updated', null]) {
    await assert.rejects(bus.publishModelEvent('Booking', event as string, {}), refusal('TOPIC_INVALID', 'the event'));
  }
});
