import { closeSync, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { createBus } from 'mailvan';
import { Ledger, readLines } from '../kill/ledger.ts';
import { pause } from '../kill/process.ts';

// One process of soak/shared.ts, told by its words: which one it is, the folder of all ledgers, and how many messages it
// publishes a second. All of them publish and consume. Says what happens as lines of JSON on stdout; `quiet` on stdin ends the
// publishing, `stop` everything.

const [name = '', folder = '', rate = '167'] = process.argv.slice(2);
const say = (event: string, more: object = {}): void =>
  void writeSync(1, `${JSON.stringify({ event, at: Date.now(), ...more })}\n`);
/** How many numbers are set aside at a time: a life never uses those of an earlier one. */
const block = 1000;
const reservedFile = `reserved-${name}`;
let reserved = Math.max(0, ...readLines(`${folder}/${reservedFile}`).map(Number));

const began = performance.now();
const bus = await createBus({ node: name, service: 'soak', shared: `${folder}/bus` });

// How much it computes until it has found an owner, perhaps itself: on a busy machine the time alone says little.
let before = process.cpuUsage();
bus.on('leader.lost', () => {
  before = process.cpuUsage();
});
bus.on('leader.found', () => {
  const { user, system } = process.cpuUsage(before);
  say('found', { cpu: Math.round((user + system) / 1000) });
});
const options = {
  durable: true,
  retry: { attempts: 50, delay: 5, maxDelay: 50 },
  limits: { messages: 10_000_000, bytes: 8 * 1024 ** 3 },
} as const;
await bus.subscribe('work', null, { ...options, name: 'audit' });
const handled = new Ledger(folder, 'handled');
await bus.subscribe<{ p: string; n: number; r: number }>(
  'work',
  ({ payload: { p, n, r }, key }, { attempt }) => handled.now(`${p} ${n} ${r} ${key ?? '-'} ${attempt} ${Date.now()}`),
  { ...options, name: 'work', concurrency: 8 },
);
say('ready', { ms: Math.round(performance.now() - began) });

const receipts = new Ledger(folder, 'receipts');
const reservations = new Ledger(folder, reservedFile);
const codes: Record<string, number> = {};
let running = true;

/** Publishes one until it has its receipt: what has failed is repeated under the id of its receipt. */
async function publish(n: number): Promise<void> {
  let id: string | undefined;
  const key = n % 3 === 0 ? { key: name } : {};
  for (let r = 0; ; r++) {
    const tried = Date.now();
    try {
      const receipt = await bus.publish('work', { p: name, n, r }, { ...(id === undefined ? {} : { id }), ...key });
      if (receipt.stored === 2 && receipt.level === 'fsync') {
        await receipts.write(`${name} ${n} ${r} ${tried} ${Date.now()}`);
        return;
      }
      throw Object.assign(new Error('not stored twice'), { code: `STORED_${receipt.stored}`, receipt });
    } catch (error) {
      const { code = String(error), receipt } = error as { code?: string; receipt?: { id: string } };
      codes[code] = (codes[code] ?? 0) + 1;
      id ??= receipt?.id;
      await pause(20);
    }
  }
}

const flying = new Set<Promise<void>>();
const publishing = (async (): Promise<void> => {
  const from = performance.now();
  for (let n = reserved, sent = 0; running; await pause(10)) {
    const due = ((performance.now() - from) * Number(rate)) / 1000;
    for (; sent < due && running; sent++, n++) {
      if (n >= reserved) {
        reserved = n + block;
        reservations.now(String(reserved));
      }
      const work: Promise<void> = publish(n).finally(() => flying.delete(work));
      flying.add(work);
    }
  }
  await Promise.all(flying);
})();

for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'quiet') {
    running = false;
    await publishing;
    say('quiet', { codes });
  } else if (line === 'drain') {
    await bus.drain({ timeout: 300_000 });
    say('drained');
  } else if (line === 'stop') {
    break;
  }
}
const closing = performance.now();
await bus.close({ timeout: 5000 });
say('end', { ms: Math.round(performance.now() - closing) });
closeSync(1);
process.exit(0);
