import { createInterface } from 'node:readline';
import { createBus } from '../../src/bus/bus.ts';
import { silentLogger } from '../../src/core/log.ts';

// A process that takes part in a shared folder. Lines on stdin: `publish <n>`, `exit` (without closing anything), `close`.
const [folder = '', node = ''] = process.argv.slice(2);
const bus = await createBus({ shared: folder, node, logger: silentLogger });
console.log(`${node} is in`);
for await (const line of createInterface({ input: process.stdin })) {
  const [verb, n] = line.split(' ');
  if (verb === 'exit') process.exit(0);
  if (verb === 'close') break;
  const { stored } = await bus.publish('numbers', Number(n));
  console.log(`${n} is stored ${stored} times`);
}
await bus.close();
