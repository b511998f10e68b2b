import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Bus, createBus } from '../src/index.ts';
import { silent } from './quiet.ts';

// The database of two handlers, one of a subscription in memory and one of a durable one, is killed under traffic and
// started again after 60 s. With default options: no dead letter, and everything is handled after it is back. `--brief`
// keeps it away for 2.5 s.

const brief = process.argv.includes('--brief');
const away = brief ? 2_500 : 60_000;
/** Messages a second. */
const rate = 50;
/** The longest wait of a probe is 30 s, and a fifth more. */
const patience = 45_000;

const script = fileURLToPath(new URL('outage/database.ts', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'mailvan-outage-'));

/** Starts the database. */
async function database(port: number): Promise<{ child: ChildProcess; port: number }> {
  const child = fork(script, [String(port)], { execArgv: ['--import', 'tsx'] });
  const [said] = (await once(child, 'message')) as [{ port: number }];
  return { child, port: said.port };
}

/** Writes one line to the database. @throws when it has not confirmed that. */
function store(port: number, line: string): Promise<void> {
  return new Promise((done, fail) => {
    const socket = connect(port, '127.0.0.1');
    let answer = '';
    socket.setEncoding('utf8');
    socket.on('connect', () => socket.write(`${line}\n`));
    socket.on('data', (text: string) => {
      answer += text;
      if (answer === `stored ${line}\n`) socket.end();
    });
    socket.on('error', fail);
    socket.on('close', () => {
      if (answer === `stored ${line}\n`) done();
      else fail(new Error('the connection was lost'));
    });
  });
}

async function run(bus: Bus): Promise<string[]> {
  const problems: string[] = [];
  let { child, port } = await database(0);
  const handled = { memory: new Map<number, number>(), durable: new Map<number, number>() };
  let highest = 0;
  const subscribe = (name: 'memory' | 'durable') =>
    bus.subscribe<number>(
      'orders',
      async ({ payload }, { attempt }) => {
        highest = Math.max(highest, attempt);
        await store(port, `${name} ${payload}`);
        handled[name].set(payload, (handled[name].get(payload) ?? 0) + 1);
      },
      { name, durable: name === 'durable', concurrency: 8 },
    );
  const subs = { memory: await subscribe('memory'), durable: await subscribe('durable') };
  const told: string[] = [];
  for (const type of ['subscription.probing', 'subscription.recovered'] as const)
    bus.on(type, (event) => told.push(`${event.type} ${event.subscription}`));
  let sent = 0;
  let ended = false;
  const traffic = (async () => {
    for (; !ended; sent++) {
      await bus.publish('orders', sent);
      await wait(1000 / rate);
    }
  })();
  await wait(1_000);
  child.kill('SIGKILL');
  await once(child, 'exit');
  await wait(away - 500);
  const held = Object.entries(subs).map(
    ([name, sub]) => `${name} ${sub.stats().probing ? 'probes' : 'does not probe'}`,
  );
  const failed = Object.values(subs).map((sub) => sub.stats().failed);
  await wait(500);
  ({ child, port } = await database(port));
  const back = performance.now();
  const all = (): boolean => Object.values(handled).every(({ size }) => size >= owed);
  const owed = sent;
  while (!all() && performance.now() < back + patience) await wait(20);
  const took = performance.now() - back;
  ended = true;
  await traffic;
  await bus.drain({ timeout: 30_000 });
  for (const [name, numbers] of Object.entries(handled)) {
    if (numbers.size !== sent) problems.push(`${name}: ${numbers.size} of ${sent} were handled`);
    const { dead, dropped, expired, waiting } = subs[name as 'memory' | 'durable'].stats();
    if (dead + dropped + expired + waiting > 0)
      problems.push(`${name}: ${dead} dead, ${dropped} dropped, ${expired} expired, ${waiting} waiting`);
  }
  const letters = await bus.deadLetters.list({ limit: 10 });
  if (letters.length > 0) problems.push(`dead letters, e.g. ${JSON.stringify(letters[0]?.lastError)}`);
  if (!all()) problems.push(`not everything was handled ${Math.round(took / 1000)} s after the database was back`);
  for (const line of held) if (line.endsWith('does not probe')) problems.push(line);
  if (told.filter((line) => line.startsWith('subscription.recovered')).length < 2) problems.push(`told: ${told}`);
  const counts = failed.join(' and ');
  console.log(
    `outage: ${sent} messages, the database away for ${away / 1000} s: ${counts} failed attempts until it was back, ` +
      `none beyond attempt ${highest}; everything was handled ${(took / 1000).toFixed(1)} s after that, ` +
      `${letters.length} dead letters`,
  );
  child.disconnect();
  return problems;
}

const bus = await createBus({ node: 'soak', service: 'soak', dataDir: folder, logger: silent });
const problems = await run(bus).catch((error: unknown) => [String(error)]);
await bus.close();
rmSync(folder, { recursive: true, force: true });
for (const problem of problems) console.log(`  ${problem}`);
console.log(`outage: ${problems.length === 0 ? 'PASS' : 'FAIL'}`);
process.exitCode = problems.length === 0 ? 0 : 1;
