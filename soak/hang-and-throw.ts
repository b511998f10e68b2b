import { type Context, createBus, type Logger, type Message } from '../src/index.ts';

// 1 % of the messages have a handler that throws, 0.1 % one that never resolves; of each, half fail at every attempt
// and half at their first one only. Every message must end as handled or as a dead letter, once; a second subscription
// must handle all of its own; and after close() nothing may be left. `--brief` sends 10,000 instead of 100,000.

const brief = process.argv.includes('--brief');
const total = brief ? 10_000 : 100_000;
const batch = 1000;

type Fate = 'good' | 'throws' | 'throws once' | 'hangs' | 'hangs once';

function fateOf(n: number): Fate {
  if (n % 1000 === 3) return n % 2000 === 3 ? 'hangs' : 'hangs once';
  if (n % 100 === 7) return n % 200 === 7 ? 'throws' : 'throws once';
  return 'good';
}

const expectedDead = Array.from({ length: total }, (_, n) => fateOf(n)).filter(
  (fate) => fate === 'throws' || fate === 'hangs',
).length;

const silent: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silent,
};

const problems: string[] = [];
function check(holds: boolean, problem: string): void {
  if (!holds) problems.push(problem);
}
for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(event, (error) => problems.push(`${event}: ${String(error)}`));
}

/** What keeps the process alive: how many of each kind. */
function resources(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return counts;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

await turn();
const before = resources();
const began = performance.now();
const bus = await createBus({ node: 'soak', logger: silent });

/** How often each message was handled to its end. */
const handled = new Uint8Array(total);
const lastOfKey = new Map<string, number>();
let disorder = 0;

async function work({ payload: n, key }: Message<number>, { attempt }: Context): Promise<void> {
  const fate = fateOf(n);
  if (fate === 'hangs' || (fate === 'hangs once' && attempt === 1)) await new Promise(() => {});
  if (fate === 'throws' || (fate === 'throws once' && attempt === 1)) throw new Error(`message ${n} fails`);
  if (n % 5 === 0) await turn();
  handled[n] = (handled[n] ?? 0) + 1;
  if (key === undefined) return;
  if ((lastOfKey.get(key) ?? -1) > n) disorder++;
  lastOfKey.set(key, n);
}

const sub = await bus.subscribe<number>(
  'work',
  (message, context) => {
    // Half of those that throw do so before there is a promise.
    if (fateOf(message.payload) === 'throws' && message.payload % 400 === 7) throw new Error('at once');
    return work(message, context);
  },
  {
    name: 'troubled',
    concurrency: 64,
    timeout: 250,
    retry: { attempts: 3, delay: 10, factor: 2 },
    outage: false, // when only those that fail are left, nothing succeeds any more
  },
);

let neighbourly = 0;
let neighbourDisorder = 0;
const neighbour = await bus.subscribe<number>(
  'work',
  ({ payload }) => {
    if (payload !== neighbourly) neighbourDisorder++;
    neighbourly++;
  },
  { name: 'neighbour' },
);

for (let n = 0; n < total; n += batch) {
  await bus.publishMany(
    Array.from({ length: Math.min(batch, total - n) }, (_, i) => ({
      topic: 'work',
      payload: n + i,
      timeout: 60_000,
      // A tenth has a key, among them some that throw and some that hang.
      ...((n + i) % 10 === 3 || (n + i) % 100 === 7 ? { key: `key-${(n + i) % 97}` } : {}),
    })),
  );
}
await bus.drain({ timeout: 120_000 });

const stats = sub.stats();
const letters = await bus.deadLetters.list({ subscription: 'troubled', limit: total });
const dead = new Set(letters.map(({ payload }) => payload as number));
check(stats.handled + letters.length === total, `handled ${stats.handled} + dead ${letters.length} is not ${total}`);
check(stats.dead === letters.length, `${stats.dead} counted as dead, ${letters.length} dead letters`);
check(letters.length === expectedDead, `${letters.length} dead letters, ${expectedDead} expected`);
check(dead.size === letters.length, 'a message is a dead letter twice');
const wrong = handled.findIndex((times, n) => times !== (dead.has(n) ? 0 : 1));
check(wrong === -1, `message ${wrong} (${fateOf(wrong)}) was handled ${handled[wrong]} times`);
check(disorder === 0, `${disorder} messages were out of the order of their key`);
const expectedHangs = (total / 2000) * (3 + 1);
check(stats.abandoned === expectedHangs, `${stats.abandoned} handlers never returned, ${expectedHangs} expected`);
check(stats.waiting === 0 && stats.running === 0, `${stats.waiting} wait, ${stats.running} run`);
check(neighbour.stats().handled === total, `the neighbour handled ${neighbour.stats().handled}`);
check(neighbourDisorder === 0, `${neighbourDisorder} of the neighbour's messages were out of order`);
check(neighbour.stats().failed === 0, `${neighbour.stats().failed} of the neighbour's attempts failed`);
check(bus.state === 'running', `the bus is ${bus.state}`);
check(sub.state === 'active', `the subscription is ${sub.state}`);

const closing = performance.now();
await bus.close();
const closed = performance.now() - closing;
check(closed < 5000, `close() took ${Math.round(closed)} ms`);
await turn();
for (const [kind, count] of resources()) {
  const more = count - (before.get(kind) ?? 0);
  check(more <= 0, `${more} ${kind} left after close()`);
}

const seconds = ((performance.now() - began) / 1000).toFixed(1);
for (const problem of problems) console.log(`  ${problem}`);
console.log(
  `hang-and-throw: ${total} messages in ${seconds} s: ${stats.handled} handled + ${letters.length} dead letters, ` +
    `${stats.failed} failed attempts, ${stats.abandoned} handlers never returned, neighbour ${neighbourly}: ` +
    `${problems.length === 0 ? 'PASS' : 'FAIL'}`,
);
process.exitCode = problems.length === 0 ? 0 : 1;
// The process must end by itself; this timer does not hold it.
setTimeout(() => {
  console.log('hang-and-throw: the process does not end: FAIL');
  process.exit(1);
}, 5000).unref();
