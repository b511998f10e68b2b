import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { createBus } from '../../src/bus/bus.ts';
import { silentLogger } from '../../src/core/log.ts';

/**
 * Publishes and handles until it is killed, and keeps ledgers of it: `receipts` names what has a receipt, `handled` what a
 * handler is done with. Both are on the medium before anything else happens.
 */
const [folder = '', start = '0', kind = 'fsync'] = process.argv.slice(2);
const receipts = openSync(`${folder}/receipts`, 'a');
const handled = openSync(`${folder}/handled`, 'a');

function keep(file: number, line: string): void {
  writeSync(file, `${line}\n`);
  fsyncSync(file);
}

/** Published here and not handled: the publisher waits for the handlers, so that the backlog stays small. */
let behind = 0;
const bus = await createBus({
  dataDir: `${folder}/data`,
  logger: silentLogger,
  durability: kind === 'fsync' ? 'fsync' : 'os',
});
const options = { name: 'work', durable: true, concurrency: 3, retry: { delay: 5 } };
const done = await bus.subscribe(
  'in',
  async ({ payload }, context) => {
    const n = Number(payload);
    if (n % 7 === 0 && context.attempt === 1) throw new Error('once more');
    await new Promise((wait) => setTimeout(wait, n % 5));
    if (n % 3 === 0) await context.publish('out', n);
    keep(handled, String(n));
    behind--;
  },
  options,
);
await bus.subscribe('out', null, { name: 'results', durable: true });

process.on('SIGTERM', async () => {
  await done.close();
  await bus.close();
  closeSync(receipts);
  process.exit(0);
});

let n = Number(start);
writeSync(1, 'running\n');
for (;;) {
  const burst = Array.from({ length: 1 + Math.floor(Math.random() * 40) }, async () => {
    const mine = n++;
    const receipt = await bus.publish('in', mine, { key: mine % 2 === 0 ? `k${mine % 10}` : undefined } as object);
    if (receipt.stored !== 1) throw new Error(`not stored: ${JSON.stringify(receipt)}`);
    return mine;
  });
  const stored = await Promise.all(burst);
  keep(receipts, stored.join('\n'));
  behind += stored.length;
  while (behind > 200) await new Promise((wait) => setTimeout(wait, 5));
}
