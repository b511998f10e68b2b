import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Bus } from '../../src/bus/bus.ts';
import { FolderSource } from '../../src/bus/durable/store-source.ts';
import { systemClock } from '../../src/core/clock.ts';
import { silentLogger } from '../../src/core/log.ts';
import { Points, WatchedSource, WatchedTransport } from './points.ts';

// One process of soak/atomic-step.ts: handles the messages of `in`, staging outputs, and ends at a point of that which it is
// told. Roles: `alone` (in and out), `near` (leader, in), `far` (out), `both` (leader, in and out), `worker` (no store).

const [role = '', folder = '', port = '', consumes = '', killAt = '0', inputs = '0'] = process.argv.slice(2);
const say = (event: string, more: object = {}): void => void writeSync(1, `${JSON.stringify({ event, ...more })}\n`);
const points = new Points(Number(killAt));
const address = `tcp://127.0.0.1:${port}`;
const cluster =
  role === 'alone'
    ? {}
    : role === 'near' || role === 'both'
      ? { leader: true as const, listen: address }
      : { leader: address, joinTimeout: 30_000, redial: { delay: 10, maxDelay: 50 } };
const source =
  role === 'worker'
    ? {}
    : {
        source: new WatchedSource(
          new FolderSource(`${folder}/${role}`, systemClock, silentLogger, () => undefined),
          points,
        ),
      };

const bus = await Bus.open(
  { node: role, service: 'soak', logger: silentLogger, ...cluster },
  { transport: new WatchedTransport(points), ...source },
);
const holds = (what: 'in' | 'out'): boolean =>
  role === 'alone' || role === 'both' || (role === 'near' && what === 'in') || (role === 'far' && what === 'out');
for (const name of ['in', 'out'] as const) {
  if (holds(name)) await bus.subscribe(name, null, { name, durable: true });
}
// All in one commit, some of a key.
await Promise.all(
  Array.from({ length: Number(inputs) }, (_, s) => bus.publish('in', s, s % 3 === 1 ? { key: 'k' } : {})),
);
say('ready');

const turn = (): Promise<void> => new Promise((done) => setImmediate(done));
const lines = createInterface({ input: process.stdin });
for await (const line of lines) {
  if (line === 'go') {
    points.counting = true;
    if (consumes !== 'yes') continue;
    const options = { name: 'in', durable: true, concurrency: 3, retry: { attempts: 20, delay: 1 } };
    await bus.subscribe(
      'in',
      async ({ payload }, context) => {
        const s = Number(payload);
        points.pass('before the handler');
        if (s % 2 === 1) await turn();
        // As many outputs as are expected of it: see atomic-step.ts.
        for (let i = 0; i <= s % 3; i++) await context.publish('out', `${s}.${i}`, i === 1 ? { key: `k${s}` } : {});
        points.pass('after staging');
        if (s === 2 && context.attempt === 1) throw new Error('what was staged is dropped');
        if (s % 4 === 1) await turn();
        points.pass('before the return');
        setImmediate(() => points.pass('after the return'));
      },
      { ...options, update: true },
    );
  } else if (line === 'status') {
    const { mailboxes, spools } = await bus.status();
    const waiting = Object.fromEntries(mailboxes.map((box) => [box.name, box.waiting + box.running]));
    const spooled = spools.reduce((sum, { messages }) => sum + messages, 0);
    say('status', { waiting, spooled, points: points.passed.length });
  } else if (line === 'points') {
    say('points', { passed: points.passed });
  } else if (line === 'stop') {
    break;
  }
}
points.counting = false;
await bus.close({ timeout: 2000 });
if (process.stdout.writableLength > 0) await once(process.stdout, 'drain');
process.exit(0);
