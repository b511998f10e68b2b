import { createBus } from 'mailvan';
import { silent } from '../quiet.ts';

// Fills a mailbox and ends as a crash would: its store is what a process leaves that is killed.

const [dataDir = '', count = '400'] = process.argv.slice(2);
const bus = await createBus({ node: 'home', dataDir, logger: silent });
await bus.subscribe('numbers', null, { name: 'numbers', durable: true });
for (let n = 0; n < Number(count); n++) {
  await bus.publish('numbers', { n, text: 'x'.repeat((n * 7919) % 500) }, n % 3 === 0 ? { key: `k${n % 7}` } : {});
}
process.kill(process.pid, 'SIGKILL');
