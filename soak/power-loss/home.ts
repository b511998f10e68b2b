import { writeSync } from 'node:fs';
import { createBus, type Receipt } from 'mailvan';
import { chance, pause } from '../kill/process.ts';

// The process that soak/power-loss.ts watches: writes each receipt's number to file descriptor 3 the moment publish() has
// resolved, and a line `phase <name> <publishes>` where another way of publishing begins.

const [folder = '', count = '500', seed = '1'] = process.argv.slice(2);
const receipts = 3;
const total = Number(count);
const random = chance(Number(seed));
/** What the trace is searched for. LevelDB writes its log uncompressed. */
const payload = (n: number, length: number): string => `<message ${String(n).padStart(8, '0')}>${'x'.repeat(length)}`;

const bus = await createBus({ dataDir: `${folder}/data`, service: 'soak', durability: 'fsync' });
await bus.subscribe('one', null, { name: 'kept', durable: true });
await bus.subscribe('two', null, { name: 'also-kept', durable: true });
await bus.subscribe('one|two', async () => pause(1), { name: 'handled', durable: true, concurrency: 64 });
// Its commits are not synced, and must not make those of the others look it.
await bus.subscribe('lax', () => undefined, { name: 'lax', durable: true, durability: 'os' });

function told(n: number, { level, stored }: Receipt): void {
  if (level !== 'fsync' || stored !== 2) throw new Error(`message ${n}: ${level}, stored ${stored}`);
  writeSync(receipts, `receipt ${n}\n`);
}

let n = 0;
async function publish(length: number): Promise<void> {
  const mine = n++;
  const topic = mine % 3 === 0 ? 'two' : 'one';
  const options = mine % 4 === 0 ? { key: `k${mine % 16}` } : {};
  told(mine, await bus.publish(topic, payload(mine, length), options));
}

function phase(name: string, publishes: number): void {
  writeSync(receipts, `phase ${name} ${publishes}\n`);
}

/** As many at a time, of whatever length. */
async function many(publishes: number, atOnce: number, length: () => number): Promise<void> {
  let left = publishes;
  const one = async (): Promise<void> => {
    while (left-- > 0) await publish(length());
  };
  await Promise.all(Array.from({ length: atOnce }, one));
}

const alone = Math.ceil(total * 0.2);
const flight = Math.ceil(total * 0.5);
const mixed = total - alone - flight;
phase('one at a time', alone);
for (let i = 0; i < alone; i++) await publish(40);
phase('256 in flight', flight);
await many(flight, 256, () => 40);
phase('mixed', mixed);
let busy = true;
const noise = (async (): Promise<void> => {
  for (let i = 0; busy; i++) {
    await bus.publish('lax', i);
    await pause(1);
  }
})();
// Large ones cross the blocks of LevelDB's log, and make it begin new ones.
await many(mixed, 16, () => Math.floor(random() < 0.1 ? random() * 100_000 : random() * 200));
busy = false;
await noise;
phase('end', 0);
await bus.close();
