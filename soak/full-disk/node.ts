import { appendFileSync, closeSync, openSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { createBus } from 'mailvan';
import { ledgerLine } from '../kill/ledger.ts';
import { silent } from '../quiet.ts';

// A home on a volume of 4 MiB, which is its first argument. 'fill': publishes and handles, fills the volume, frees it again,
// goes on, and dies of SIGKILL. 'drain': handles what is left. Ledgers lie on another volume.

const [volume = '', ledgers = '', mode = ''] = process.argv.slice(2);
const wait = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));
const say = (line: object): void => void writeSync(1, `${JSON.stringify(line)}\n`);
const note = (ledger: string, n: number): void => appendFileSync(join(ledgers, ledger), ledgerLine(String(n)));

const bus = await createBus({ node: 'home', dataDir: join(volume, 'data'), logger: silent });
bus.on('store.failed', ({ error }) => say({ event: 'failed', code: (error as { code?: string }).code }));
bus.on('store.recovered', ({ after }) => say({ event: 'recovered', after }));
const work = await bus.subscribe(
  'numbers',
  ({ payload }) => note(mode === 'fill' ? 'handled' : 'drained', (payload as { n: number }).n),
  { name: 'work', durable: true, concurrency: 8 },
);

if (mode === 'drain') {
  await work.drain({ timeout: 60_000 });
  await bus.close();
  process.exit(0);
}

let next = 0;
let stored = 0;
let slowest = 0;
const refusals = new Map<string, number>();
const text = 'x'.repeat(900);
async function lane(): Promise<void> {
  for (;;) {
    const n = next++;
    const began = performance.now();
    try {
      await bus.publish('numbers', { n, text });
      note('receipts', n);
      stored++;
      await wait(2);
    } catch (error) {
      const { code = 'none' } = error as { code?: string };
      refusals.set(code, (refusals.get(code) ?? 0) + 1);
      slowest = Math.max(slowest, performance.now() - began);
      await wait(5);
    }
  }
}
for (let i = 0; i < 8; i++) void lane();

await wait(300);
const filler = join(volume, 'filler');
const fd = openSync(filler, 'w');
const block = Buffer.alloc(16 * 1024, 1);
while (refusals.size === 0) {
  try {
    writeSync(fd, block);
  } catch {
    await wait(1); // it is full: the store is to notice
  }
}
const before = stored;
await wait(500);
say({ event: 'full', refusals: Object.fromEntries(refusals), slowest: Math.round(slowest), stored: stored - before });
closeSync(fd);
unlinkSync(filler);
const freed = performance.now();
const base = stored;
while (stored < base + 8) await wait(2);
say({ event: 'back', after: Math.round(performance.now() - freed) });
await wait(200 + Math.random() * 400);
say({ event: 'end', stored });
process.kill(process.pid, 'SIGKILL');
