// A publisher. Any number of them run at a time, none knows the subscribers, and none has to be started first.
//
//   node --import tsx examples/15-shared-folder/publisher.ts pub-1 --count 100
import { parseArgs } from 'node:util';
import { createBus } from 'mailvan';
import { queues } from './queues.ts';

const { values, positionals } = parseArgs({
  options: {
    folder: { type: 'string', default: '/tmp/mailvan-example-15' },
    count: { type: 'string', default: '100' },
  },
  allowPositionals: true,
});
const [name = 'pub-1'] = positionals;

const bus = await createBus({ node: name, shared: values.folder });
for (const queue of queues) await bus.subscribe('queue', null, queue); // each exists, whether its subscriber has run or not
for (let n = 1; n <= Number(values.count); n++) {
  // send(): bytes, or any plain value. Resolves when every subscriber's queue has it on disk.
  await bus.publish('queue', Buffer.from(`${name} ${n}`), { atLeast: queues.length });
}
console.log(`${name}: sent ${values.count}`);
await bus.close();
