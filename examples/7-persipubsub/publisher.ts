// A publisher. Any number of them run at a time; none knows the subscribers.
//
//   node --import tsx examples/7-persipubsub/publisher.ts pub-1 --count 100
import { parseArgs } from 'node:util';
import { join } from './shared.ts';

const { values, positionals } = parseArgs({
  options: {
    config: { type: 'string', default: 'examples/7-persipubsub/mailvan.config.json' },
    count: { type: 'string', default: '100' },
  },
  allowPositionals: true,
});
const [name = 'pub-1'] = positionals;

const bus = await join(values.config, name);
for (let n = 1; n <= Number(values.count); n++) {
  // send(): bytes, or any plain value. Resolves when every subscriber's queue has it on disk.
  await bus.publish('queue', Buffer.from(`${name} ${n}`), { atLeast: 1 });
}
console.log(`${name}: sent ${values.count}`);
await bus.close();
