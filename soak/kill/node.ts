import { closeSync, existsSync, openSync, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { type Bus, type Context, createBus, type Message } from 'mailvan';
import { Ledger, readLines } from './ledger.ts';
import { pause } from './process.ts';

// One process of soak/kill.ts, told by its words: which role, the folder of all ledgers, the leader's port, and where the
// consumer lives. Says what happens as lines of JSON on stdout; the line `stop` on stdin ends it in order.

const [role = '', folder = '', port = '', variant = '', backlog = '0', rate = '2500'] = process.argv.slice(2);
const secret = 'the secret of this soak';
const address = `tcp://127.0.0.1:${port}`;
const credit = 64;
const say = (event: string, more: object = {}): void =>
  void writeSync(1, `${JSON.stringify({ event, at: Date.now(), ...more })}\n`);

const subscription = {
  name: 'work',
  durable: true,
  retry: { attempts: 50, delay: 5, maxDelay: 50 },
  limits: { messages: 10_000_000, bytes: 8 * 1024 ** 3 },
} as const;

async function consume(bus: Bus): Promise<void> {
  const handled = new Ledger(folder, 'handled');
  const handler = async ({ payload, key }: Message, { attempt }: Context): Promise<void> => {
    const { s, r } = payload as { s: number; r: number };
    if (s % 97 === 0 && attempt === 1) throw new Error('once more');
    if (s % 5 === 0) await new Promise((done) => setImmediate(done));
    handled.now(`${s} ${key ?? '-'} ${r} ${attempt} ${Date.now()}`);
  };
  await bus.subscribe('work', handler, { ...subscription, concurrency: 16, credit });
}

async function home(): Promise<Bus> {
  const began = performance.now();
  const cpu = process.cpuUsage();
  const bus = await createBus({
    node: 'home',
    leader: true,
    listen: address,
    secret,
    service: 'soak',
    dataDir: `${folder}/home`,
  });
  const created = performance.now() - began;
  await bus.subscribe('probe', null, { name: 'probe', durable: true });
  const { stored } = await bus.publish('probe', 'here');
  const ready = performance.now() - began;
  const { user, system } = process.cpuUsage(cpu);
  if (stored !== 1) throw new Error('the probe was not stored');
  await bus.subscribe('work', null, subscription);
  await bus.subscribe('work', null, { ...subscription, name: 'audit' });
  await bus.subscribe('backlog', null, { name: 'backlog', durable: true, limits: { messages: 10_000_000 } });
  if (Number(backlog) > 0 && !existsSync(`${folder}/filled`)) {
    for (let n = 0; n < Number(backlog); n += 10_000) {
      const count = Math.min(10_000, Number(backlog) - n);
      await bus.publishMany(Array.from({ length: count }, (_, i) => ({ topic: 'backlog', payload: n + i })));
    }
    writeSync(openSync(`${folder}/filled`, 'w'), 'filled');
  }
  if (variant === 'home') await consume(bus);
  say('ready', { created: Math.round(created), ready: Math.round(ready), cpu: Math.round((user + system) / 1000) });
  return bus;
}

async function leaf(): Promise<Bus> {
  const stored = role === 'publisher' && variant === 'home' ? { dataDir: `${folder}/publisher` } : {};
  const bus = await createBus({
    node: role,
    leader: address,
    secret,
    service: 'soak',
    joinTimeout: 60_000,
    redial: { delay: 20, maxDelay: 200 },
    ...stored,
  });
  return bus;
}

const counts = { receipts: 0, repeats: 0, spooled: 0, codes: {} as Record<string, number> };
let running = true;
/** Every message up to here may have been published. */
let reserved = 0;
const block = 1000;

/** Even ones are published under an id of ours, odd ones under the bus' own: those are given up with their process. */
const idOf = (s: number): string | undefined => (s % 2 === 0 ? `p.${s}` : undefined);

/** Publishes one until it has its receipt. */
async function publish(bus: Bus, receipts: Ledger, s: number, again: boolean): Promise<void> {
  const key = s % 3 === 0 ? `k${s % 11}` : undefined;
  let id = idOf(s);
  for (let r = again ? 1 : 0; ; r++) {
    try {
      const options = { ...(id === undefined ? {} : { id }), ...(key === undefined ? {} : { key }), timeout: 5000 };
      const receipt = await bus.publish('work', { s, r, text: 'x'.repeat(s % 60) }, options);
      if (receipt.stored + receipt.spooled !== 2) {
        throw Object.assign(new Error('not matched'), { code: `MATCHED_${receipt.matched}`, receipt });
      }
      counts.receipts++;
      if (receipt.spooled > 0) counts.spooled++;
      await receipts.write(`${s} ${r} ${receipt.id}`);
      return;
    } catch (error) {
      const { code = String(error), receipt } = error as { code?: string; receipt?: { id: string } };
      counts.codes[code] = (counts.codes[code] ?? 0) + 1;
      counts.repeats++;
      id ??= receipt?.id;
      await pause(20);
    }
  }
}

async function traffic(bus: Bus): Promise<void> {
  const known = new Set<number>();
  for (const line of readLines(`${folder}/receipts`)) known.add(Number.parseInt(line, 10));
  reserved = Math.max(0, ...readLines(`${folder}/reserved`).map(Number));
  const receipts = new Ledger(folder, 'receipts');
  const reservations = new Ledger(folder, 'reserved');
  const missing: number[] = [];
  for (let s = 0; s < reserved; s += 2) if (!known.has(s)) missing.push(s);
  const flying = new Set<Promise<void>>();
  const start = async (s: number, again: boolean): Promise<void> => {
    const work = publish(bus, receipts, s, again).finally(() => flying.delete(work));
    flying.add(work);
    while (flying.size >= 512) await Promise.race(flying);
  };
  say('ready', { missing: missing.length });
  for (const s of missing) await start(s, true);
  const perTick = Math.ceil((Number(rate) * 10) / 1000);
  const from = performance.now();
  let sent = 0;
  for (let s = reserved; running; ) {
    const due = Math.min(((performance.now() - from) * Number(rate)) / 1000, sent + 10 * perTick);
    for (; sent < due; sent++) {
      if (s >= reserved) {
        reserved += block;
        reservations.now(String(reserved));
      }
      await start(s++, false);
    }
    await pause(5);
  }
  await Promise.all(flying);
}

const bus = role === 'home' ? await home() : await leaf();
let working: Promise<void> = Promise.resolve();
if (role === 'consumer') {
  await consume(bus);
  say('ready');
} else if (role === 'publisher') {
  working = traffic(bus);
}

for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'status') {
    const { mailboxes, deadLetters, spools } = await bus.status();
    const waiting = Object.fromEntries(mailboxes.map(({ name, waiting, running }) => [name, waiting + running]));
    say('status', { waiting, dead: deadLetters.size, spools: spools.reduce((sum, { messages }) => sum + messages, 0) });
  } else if (line === 'quiet') {
    running = false;
    await working;
    say('quiet', counts);
  } else if (line === 'stop') {
    break;
  }
}
await bus.close({ timeout: 5000 });
say('end');
closeSync(1);
process.exit(0);
