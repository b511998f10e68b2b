// A consumer: node consumer.ts <name> <pattern> <leader's address>. It tells the demo of every message that it handles.
import { createBus } from 'mailvan';
import { attach, quiet, tell } from './report.ts';

const [name = '', pattern = '', leader = ''] = process.argv.slice(2);
const bus = await createBus({ node: name, leader, logger: quiet });
await bus.subscribe<{ n: number }>(pattern, ({ topic, payload }) => tell({ type: 'handled', n: payload.n, topic }), {
  name: 'handler',
});
attach(bus);
