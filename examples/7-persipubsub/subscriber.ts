// A subscriber: receives what is in its queue, and ends when nothing has come for a while.
//
//   node --import tsx examples/7-persipubsub/subscriber.ts sub-1
import { parseArgs } from 'node:util';
import { join } from './shared.ts';

const { values, positionals } = parseArgs({
  options: {
    config: { type: 'string', default: 'examples/7-persipubsub/mailvan.config.json' },
    timeout: { type: 'string', default: '1000' },
  },
  allowPositionals: true,
});
const [name = 'sub-1'] = positionals;

const bus = await join(values.config, name);
// `with sub.receive() as msg:`. What is not acknowledged stays in the queue and comes again, also after a crash. (On the hub itself
// there is `bus.receive(name, { timeout })` for one message at a time.)
const deliveries = bus.consume<Uint8Array>('queue', { name, durable: true });
const idle = setTimeout(() => deliveries.close(), Number(values.timeout));
for await (const delivery of deliveries) {
  console.log(`${name}: ${Buffer.from(delivery.message.payload).toString()}`);
  delivery.ack();
  idle.refresh();
}
await bus.close();
