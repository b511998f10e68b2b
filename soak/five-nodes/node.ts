import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { type ActorContext, type Context, createBus, type Message } from 'mailvan';
import { pause } from '../kill/process.ts';
import { silent } from '../quiet.ts';
import { Ledger, readLedger } from '../spawning/ledger.ts';

// One process of soak/five-nodes.ts, told by its words: its name, the folder of all ledgers, the leader's address, and whether
// everything is in brief. n1 leads and has a store, n2 publishes and has one, n3 has one, n4 and n5 have none. Says what
// happens as lines of JSON on stdout, answers questions on stdin; SIGTERM ends it in order.

const [name = '', folder = '', leader = '', brief = ''] = process.argv.slice(2);
const stored = ['n1', 'n2', 'n3'].includes(name);
const say = (event: string, more: object = {}): void =>
  void writeSync(1, `${JSON.stringify({ event, at: Date.now(), ...more })}\n`);

const bus = await createBus({
  node: name,
  secret: 'the secret of this soak',
  service: 'soak',
  joinTimeout: 60_000,
  ...(process.env.MAILVAN_DEBUG === undefined && { logger: silent }),
  ...(brief === 'brief' && {
    liveness: { ping: 200, suspect: 600, down: 2000 },
    redial: { delay: 50, maxDelay: 500, timeout: 500 },
  }),
  ...(stored && { dataDir: `${folder}/${name}` }),
  ...(name === 'n1' ? { leader: true as const, listen: 'tcp://0.0.0.0:1900' } : { leader }),
});
bus.on('node.suspect', ({ node, reason }) => say('suspect', { node, reason }));
bus.on('leader.lost', ({ node, reason }) => say('suspect', { node, reason }));
bus.on('message.dead', ({ subscription, id, reason }) => say('dead', { subscription, id, reason }));

const durable = { durable: true, retry: { attempts: 1000, delay: 50, maxDelay: 500 } } as const;

/** Consumes a durable mailbox, and notes what it has handled. */
async function consume(box: string): Promise<void> {
  const handled = new Ledger(`${folder}/${box}.${name}`);
  const handler = ({ payload }: Message, { attempt }: Context): void =>
    handled.write(Number(payload), attempt, Date.now());
  await bus.subscribe('numbers', handler, { name: box, ...durable, concurrency: 8 });
}

/** How many outputs have come here. */
let outputs = 0;
let running = true;
let flying = 0;

/** Publishes numbers, from the first that no earlier life has tried, and notes those that have a receipt. */
async function publish(): Promise<void> {
  const last = Number(readLedger(`${folder}/tried`).at(-1)?.[0] ?? 0);
  const [tried, receipts] = [new Ledger(`${folder}/tried`), new Ledger(`${folder}/receipts`)];
  for (let n = last + 1; running; n++) {
    tried.write(n);
    flying++;
    void bus
      .publish('numbers', n)
      .then(
        ({ stored, spooled }) => receipts.write(n, stored, spooled),
        (error: { code?: string }) => say('failed', { n, code: error.code }),
      )
      .finally(() => flying--);
    await pause(10);
  }
}

const runs = new Ledger(`${folder}/runs.${name}`);

/** The singleton: an output for each message, under an id that is the message's own, and one under an id of the bus. */
function only({ generation, signal }: ActorContext) {
  signal.addEventListener('abort', () => runs.write('stop', generation, Date.now()));
  return {
    onStart: () => runs.write('start', generation, Date.now()),
    onMessage: async ({ payload: n }: Message, context: Context) => {
      await context.publish('out', { n, generation }, { id: `out-${n}` });
      await context.publish('raw', { n, generation });
    },
  };
}

async function take(): Promise<void> {
  const ledger = new Ledger(`${folder}/outputs`);
  const handler = ({ topic, payload }: Message, { attempt }: Context): void => {
    const { n, generation } = payload as { n: number; generation: number };
    ledger.write(topic, n, generation, attempt);
    outputs++;
  };
  await bus.subscribe('out|raw', handler, { name: 'outputs', ...durable, concurrency: 8 });
}

await bus.subscribe('probe', () => undefined, { name: 'probe' });
if (name === 'n1' || name === 'n4') await consume('box1');
if (name === 'n3' || name === 'n5') await consume('box3');
if (name === 'n3') await bus.subscribe('probe', () => undefined, { name: 'probes', ...durable });
if (name === 'n2') await take();
if (['n3', 'n4', 'n5'].includes(name)) bus.handlers.define('only', only);
say('ready');

/** How this node sees everything. */
async function look(): Promise<object> {
  const receipt = await bus.publish('probe', name, { timeout: 2000 }).then(
    ({ matched, stored, unreachable }) => ({ matched, stored, unreachable }),
    ({ code }: { code?: string }) => ({ matched: 0, stored: 0, unreachable: [String(code)] }),
  );
  const { members } = await bus.status();
  const singleton = bus.placements.get('one')?.info?.instances ?? [];
  const alive = members.filter(({ state, reachable }) => state === 'alive' && reachable);
  return { receipt, alive: alive.map(({ node }) => node), singleton, outputs };
}

async function left(): Promise<object> {
  const { spools } = await bus.status();
  const boxes = await bus.mailboxes.list();
  return {
    boxes: boxes.map((box) => [box.name, box.reachable ? box.waiting + box.running : -1]),
    spooled: spools.reduce((sum, { messages }) => sum + messages, 0),
  };
}

process.on('SIGTERM', async () => {
  running = false;
  await bus.close({ timeout: 5000 });
  say('end');
  process.exit(0);
});
for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'look') say('look', await look());
  if (line === 'left') say('left', await left());
  if (line === 'publish') void publish();
  if (line === 'spawn') {
    const options = { name: 'one', pattern: 'numbers', singleton: true, concurrency: 8, ...durable };
    const failed = await bus.spawn('only', options).then(
      () => undefined,
      (error: unknown) => String(error),
    );
    say('spawned', { failed });
  }
  if (line === 'quiet') {
    running = false;
    while (flying > 0) await pause(20);
    say('quiet');
  }
}
