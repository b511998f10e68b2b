// One process: a subscription to every topic that begins with 'orders.', a handler that fails once, and a message.

import { createBus } from 'mailvan';

const bus = await createBus();

await bus.subscribe('orders\\..*', async (message, context) => {
  if (context.attempt === 1) throw new Error('not yet'); // thrown: tried again, with backoff
  console.log(`${message.topic}: ${JSON.stringify(message.payload)} at attempt ${context.attempt}`);
});

const receipt = await bus.publish('orders.created', { order: 4711 });
console.log(`${receipt.matched} subscription has it`);

await bus.drain();
await bus.close();
