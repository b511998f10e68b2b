import { type AccessRule, type Bus, BusError, createBus } from '../src/index.ts';
import { silent } from './quiet.ts';

// Rules of access over real sockets: a leader and a home that hold four nodes to them, each with a secret of its own, which at the
// same time publish, subscribe and spawn inside and outside of what they may. Every attempt outside must be refused with its code, and
// be counted once; every one inside must succeed, and what was published inside must be handled, once and in order. The leader and the
// home are members of the same audit: what they tell in events adds up to what they count. `--brief` does 100 rounds instead of 5,000.

const rounds = process.argv.includes('--brief') ? 100 : 5_000;
const began = performance.now();
const problems: string[] = [];
function check(holds: boolean, problem: string): void {
  if (!holds && problems.length < 50) problems.push(problem);
}
for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(event, (error) => {
    process.stdout.write(`PROBLEM ${event}: ${String(error)}\nFAIL\n`);
    process.exit(1);
  });
}

const everything = { allow: ['.*'] };
const access: readonly AccessRule[] = [
  {
    nodes: 'shop-.*',
    publish: { allow: ['orders\\..*'], deny: ['.*\\.secret'] },
    subscribe: { allow: ['replies\\..*', 'orders\\..*'], deny: ['.*\\.secret'] },
    spawn: { allow: ['clerk.*'], deny: ['clerk-chief'] },
  },
  { nodes: 'lead|home', publish: everything, subscribe: everything, spawn: everything, manage: true },
];
const shops = ['shop-1', 'shop-2', 'shop-3', 'shop-4'];
const secrets = Object.fromEntries(['home', ...shops].map((node) => [node, `the secret of node ${node}`]));

// A leader without a store says that something fits nowhere when everybody has had the time to come back: 1.5 s, so.
const common = { logger: silent, liveness: { ping: 250, suspect: 1000 }, redial: { maxDelay: 250 } };
const lead = await createBus({ node: 'lead', leader: true, listen: 'tcp://127.0.0.1:0', secrets, access, ...common });
const leader = lead.address as string; // it listens
const open = (node: string, rest = {}): Promise<Bus> =>
  createBus({ node, leader, secret: secrets[node] as string, ...common, ...rest });
const home = await open('home', { access });
for (const kind of ['clerk-a', 'clerk-chief', 'thief']) home.handlers.define(kind, () => ({}));

let told = 0;
lead.on('access.denied', () => void told++);
home.on('access.denied', () => void told++);

const got = new Map<string, number[]>();
let handled = 0;
await home.subscribe('.*', ({ topic, source, payload }) => {
  handled++;
  if (topic.includes('secret') || !topic.startsWith('orders.')) problems.push(`${topic} of ${source} has arrived`);
  const list = got.get(source) ?? [];
  got.set(source, list);
  list.push(payload as number);
});

const counts = { inside: 0, outside: 0, odd: 0 };
const buses = await Promise.all(shops.map((node) => open(node)));

async function inside(what: string, attempt: Promise<unknown>): Promise<void> {
  counts.inside++;
  await attempt.catch((error: unknown) => check(false, `${what}: ${String(error)}`));
}

async function outside(what: string, attempt: Promise<unknown>, code = 'DENIED'): Promise<void> {
  if (code === 'DENIED') counts.outside++;
  else counts.odd++;
  await attempt.then(
    () => check(false, `${what} was not refused`),
    (error: unknown) => check(error instanceof BusError && error.code === code, `${what}: ${String(error)}`),
  );
}

async function live(bus: Bus): Promise<void> {
  for (let i = 0; i < rounds; i++) {
    await Promise.all([
      inside('publish', bus.publish('orders.new', i)),
      outside('publish what is denied', bus.publish('orders.secret', i)),
      outside('publish elsewhere', bus.publish('prices.new', i)),
      outside('publish a $ topic', bus.publish('$sys.x', i), 'TOPIC_INVALID'),
    ]);
    if (i % 25 !== 0) continue;
    const subscription = bus.subscribe('replies\\.(new|old)[0-9]*', () => {});
    await Promise.all([
      inside('subscribe', subscription),
      outside(
        'subscribe to all',
        bus.subscribe('.*', () => {}),
      ),
      outside(
        'subscribe to what is denied in part',
        bus.subscribe('orders\\..+', () => {}),
      ),
      outside('spawn what is denied', bus.spawn('clerk-chief')),
      outside('spawn what no rule names', bus.spawn('thief')),
      outside('spawn an unregistered kind', bus.spawn('clerk-z'), 'UNPLACEABLE'),
      outside('status of another', bus.status({ node: 'lead' })),
    ]);
    await (await subscription).close();
    const clerk = bus.spawn('clerk-a');
    await inside('spawn', clerk);
    await inside(
      'stop',
      clerk.then((placement) => placement.stop()),
    );
  }
}
await Promise.all(buses.map(live));

const intruders = await Promise.all(
  shops.map((node, i) =>
    createBus({ node: `${node}-x`, leader, secret: secrets[shops[i] as string] as string, logger: silent }).then(
      () => 'was let in',
      (error: BusError) => error.code,
    ),
  ),
);
check(
  intruders.every((outcome) => outcome === 'HANDSHAKE_REFUSED'),
  `intruders: ${intruders}`,
);

await home.drain();
const denied = ((await lead.status()).refused?.denied ?? 0) + ((await home.status()).refused?.denied ?? 0);
check(denied === counts.outside, `${denied} refusals were counted, ${counts.outside} attempts were outside the rules`);
check(handled === rounds * shops.length, `${handled} messages were handled of ${rounds * shops.length}`);
for (const shop of shops) {
  const list = got.get(shop) ?? [];
  check(
    list.length === rounds && list.every((payload, i) => payload === i),
    `what ${shop} published is not whole, in order`,
  );
}
const kinds = 7 * shops.length;
const minutes = Math.ceil((performance.now() - began) / 60_000);
check(told >= kinds && told <= kinds * minutes, `${told} events tell of ${kinds} things in ${minutes} minutes`);

for (const bus of [...buses, home, lead]) await bus.close({ timeout: 2000 });
const seconds = ((performance.now() - began) / 1000).toFixed(1);
process.stdout.write(
  `${counts.inside} attempts inside the rules, ${counts.outside} outside refused and ${denied} counted, ${counts.odd} refused for what they are, ` +
    `${handled} messages handled, ${told} events, ${seconds} s\n`,
);
for (const problem of problems) process.stdout.write(`PROBLEM ${problem}\n`);
process.stdout.write(problems.length === 0 ? 'PASS\n' : 'FAIL\n');
process.exitCode = problems.length === 0 ? 0 : 1;
