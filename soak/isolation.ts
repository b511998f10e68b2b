import { fileURLToPath } from 'node:url';
import { createBus } from '../src/index.ts';
import { silent } from './quiet.ts';

// Three handlers, each in a process of its own: one spins, one leaks, one exits, whenever a message says so. Beside them a
// plain handler gets a quarter of what it can take, by turns alone and while these misbehave. Every bad message must end as a
// dead letter, every good one between them be handled, no instance be given up, and the plain handler must keep at least
// 80 % of its rate. `--brief` makes one short round and judges everything but the rate.

const brief = process.argv.includes('--brief');
const rounds = brief ? 1 : 5;
const seconds = brief ? 2 : 6;
const batch = 200;
const faults = ['spins', 'leaks', 'exits'] as const;

const problems: string[] = [];
function check(holds: boolean, problem: string): void {
  if (!holds) problems.push(problem);
}
for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(event, (error) => problems.push(`${event}: ${String(error)}`));
}
const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));
const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

process.exitCode = 1; // until it has come to its end
const began = performance.now();
const bus = await createBus({ node: 'soak', logger: silent });
let failed = 0;
let crashes = 0;
let quarantined = 0;
bus.on('message.retried', () => void failed++);
bus.on('message.dead', () => void failed++);
bus.on('actor.failed', () => void crashes++);
bus.on('subscription.quarantined', () => void quarantined++);

bus.handlers.define('bad', {
  module: fileURLToPath(new URL('./isolation/bad.mjs', import.meta.url)),
  memory: 64,
  start: 60_000,
});
for (const fault of faults) {
  const retry = { attempts: 3, delay: 50 };
  await bus.spawn('bad', { name: fault, pattern: fault, args: fault, timeout: 1000, retry, wait: 60_000 });
}
let handled = 0;
let published = 0;
const plain = await bus.subscribe('work', () => void handled++, { name: 'plain' });

const publish = async (count: number): Promise<void> => {
  await bus.publishMany(
    Array.from({ length: count }, (_, n) => ({ topic: 'work', payload: { n, text: 'some work' } })),
  );
  published += count;
};

/** How many messages the plain handler can take a second. */
async function capacity(): Promise<number> {
  const start = performance.now();
  const from = handled;
  while (performance.now() - start < 2000) {
    await publish(batch);
    await new Promise(setImmediate);
  }
  return ((handled - from) * 1000) / (performance.now() - start);
}

/** Gives the plain handler `load` messages a second for a while. @returns how many it has handled a second. */
async function work(load: number): Promise<number> {
  const start = performance.now();
  const from = handled;
  let given = 0;
  for (let t = 0; t < seconds * 1000; t = performance.now() - start) {
    const due = Math.floor((load * t) / 1000) - given;
    given += due;
    for (let left = due; left > 0; left -= batch) await publish(Math.min(left, batch));
    await pause(5);
  }
  return ((handled - from) * 1000) / (performance.now() - start);
}

/** Gives each of the bad ones something bad a second, and something good behind it. */
async function misbehave(): Promise<number> {
  let count = 0;
  for (let second = 0; second < seconds; second++) {
    for (const fault of faults) {
      await bus.publish(fault, 'bad');
      await bus.publish(fault, 'good');
      count++;
    }
    await pause(1000);
  }
  return count;
}

const most = await capacity();
const load = most / 4;
const alone: number[] = [];
const beside: number[] = [];
let bad = 0;
for (let round = 0; round < rounds; round++) {
  alone.push(await work(load));
  const [rate, count] = await Promise.all([work(load), misbehave()]);
  beside.push(rate);
  bad += count;
  await bus.drain({ timeout: 300_000 });
}

const letters = await bus.deadLetters.list({ limit: 10_000 });
check(letters.length === bad, `${letters.length} dead letters, ${bad} expected`);
check(
  letters.every(({ payload }) => payload === 'bad'),
  'a good message is a dead letter',
);
for (const { name, handled: good } of (await bus.status()).subscriptions) {
  if (name !== 'plain') check(good === bad / 3, `'${name}' handled ${good} good messages, ${bad / 3} expected`);
}
check(quarantined === 0, `${quarantined} subscriptions were quarantined`);
for (const fault of faults) {
  const look = () => bus.placements.get(fault)?.info?.instances[0]?.state;
  for (let t = 0; look() !== 'running' && t < 30_000; t += 10) await pause(10); // the last one may have been bad
  const state = look();
  check(state === 'running', `'${fault}' is ${state}`);
}
check(handled === published, `the plain handler handled ${handled} of ${published}`);
check(plain.stats().failed === 0, `${plain.stats().failed} of the plain handler's attempts failed`);
const ratio = median(beside) / median(alone);
if (!brief)
  check(ratio >= 0.8, `the plain handler kept ${Math.round(100 * ratio)} % of its rate, at least 80 % expected`);
const reasons = new Set(
  letters.map(({ lastError }) =>
    lastError.message.replace(/attempt \d+ of \S+/, 'an attempt').replace(/used \d+/, 'used so many'),
  ),
);
await bus.close();

for (const reason of reasons) console.log(`  dead letter: ${reason}`);
for (const problem of problems) console.log(`  ${problem}`);
console.log(
  `isolation: ${bad} bad messages in ${((performance.now() - began) / 1000).toFixed(1)} s: ${failed} failed attempts, ` +
    `${letters.length} dead letters, ${crashes} ends of a process; the plain handler: ${Math.round(median(alone))} a second ` +
    `alone, ${Math.round(median(beside))} beside them, ratio ${ratio.toFixed(2)}: ${problems.length === 0 ? 'PASS' : 'FAIL'}`,
);
process.exitCode = problems.length === 0 ? 0 : 1;
// The process must end by itself; this timer does not hold it.
setTimeout(() => {
  console.log('isolation: the process does not end: FAIL');
  process.exit(1);
}, 5000).unref();
