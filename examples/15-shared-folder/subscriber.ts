// A subscriber: receives what is in its queue, and ends when nothing has come for a while.
//
//   node --import tsx examples/15-shared-folder/subscriber.ts sub-1
import { parseArgs } from 'node:util';
import { createBus } from 'mailvan';
import { queues } from './queues.ts';

const { values, positionals } = parseArgs({
  options: {
    folder: { type: 'string', default: '/tmp/mailvan-example-15' },
    timeout: { type: 'string', default: '1000' },
  },
  allowPositionals: true,
});
const [name = 'sub-1'] = positionals;

const bus = await createBus({ node: name, shared: values.folder });
for (const queue of queues) await bus.subscribe('queue', null, queue);
for (;;) {
  // `with sub.receive() as msg:`. What is left unsettled, by an exception or a crash, comes again.
  await using delivery = await bus.receive<Uint8Array>(name, { timeout: Number(values.timeout) });
  if (delivery === null) break;
  console.log(`${name}: ${Buffer.from(delivery.message.payload).toString()}`);
  delivery.ack();
}
const { shared } = await bus.status();
console.log(`${name}: ${shared?.owner?.node} serves the folder`);
await bus.close(); // if that is this process, another one takes its place
