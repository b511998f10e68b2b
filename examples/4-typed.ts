// A topic with a schema: what does not fit is refused where it is published, and what comes by another way becomes a dead letter.
//
// Any validator that implements Standard Schema does: here zod, in a project of your own also valibot, arktype, ...

import { BusError, createBus, topic } from 'mailvan';
import { z } from 'zod';

const created = topic(
  'orders.created',
  z.object({ order: z.number().int(), at: z.iso.datetime().transform((text) => new Date(text)) }),
);

const bus = await createBus();

await bus.subscribe(created, ({ payload }) => {
  // order is a number, at a Date: what the schema makes of the text that was published
  console.log(`order ${payload.order} was created in ${payload.at.getUTCFullYear()}`);
});

await bus.publish(created, { order: 4711, at: '2026-01-01T12:00:00Z' });
await bus.drain();

try {
  await bus.publish(created, { order: 47.11, at: 'yesterday' }); // the compiler has no objection, the schema has two
} catch (error) {
  if (!(error instanceof BusError)) throw error;
  console.log(`${error.code}: ${error.issues?.map(({ path }) => path).join(', ')}`);
}

// Who publishes on the name alone is not checked. A consumer is not called with it, and nothing is tried again.
await bus.publish('orders.created', { order: 'many' });
await bus.drain();
for (const { topic, reason, attempts } of await bus.deadLetters.list()) {
  console.log(`dead letter of ${topic}: ${reason} after ${attempts} attempt`);
}
await bus.close();
