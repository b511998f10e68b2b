import { createInterface } from 'node:readline';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { createBus } from '../../src/bus/bus.ts';
import { silent } from '../quiet.ts';

// The node that is attacked: a leader with a store, a mailbox in memory and a durable one. It tells what it uses.

setFlagsFromString('--expose_gc');
const gc = runInNewContext('gc') as () => void;
const [dataDir = '', limits = '{}', liveness = '{}'] = process.argv.slice(2);
const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
process.on('unhandledRejection', (error) => {
  say({ event: 'crashed', error: String(error) });
  process.exit(1);
});

const bus = await createBus({
  ...(dataDir === '' ? {} : { dataDir }),
  node: 'home',
  leader: true,
  listen: 'tcp://127.0.0.1:0',
  secret: 'a secret of the cluster',
  durability: 'os',
  logger: silent,
  liveness: { ping: 500, suspect: 1500, down: 3000, ...(JSON.parse(liveness) as object) },
  limits: JSON.parse(limits) as object,
});
let handled = 0;
await bus.subscribe('orders\\..*', () => void handled++, { name: 'memory' });
if (dataDir !== '') {
  await bus.subscribe('orders\\..*', () => void handled++, {
    name: 'kept',
    durable: true,
    retry: { attempts: 1 },
    limits: { messages: 1000 },
  });
}
// An honest publisher: its messages go to the honest leaf.
let published = 0;
const publisher = setInterval(() => bus.emit('honest', ++published), 5);

// How long one turn of the loop was busy: what counts is the processor's time, because others use this machine, too.
let busiest = 0;
let [wall, cpu] = [performance.now(), process.cpuUsage()];
const look = (): void => {
  const spent = process.cpuUsage(cpu);
  const busy = Math.min(performance.now() - wall - 2, (spent.user + spent.system) / 1000);
  busiest = Math.max(busiest, busy);
  [wall, cpu] = [performance.now(), process.cpuUsage()];
  setTimeout(look, 2);
};
look();

const sleep = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

createInterface({ input: process.stdin }).on('line', async (line) => {
  if (line === 'forget') {
    busiest = 0;
    say({ event: 'forgot' });
  } else if (line === 'look') {
    const before = busiest;
    const samples: number[] = [];
    for (let i = 0; i < 5; i++) {
      gc();
      await sleep(20);
      samples.push(process.memoryUsage.rss());
    }
    busiest = before; // collecting everything takes longer than serving
    [wall, cpu] = [performance.now(), process.cpuUsage()];
    const { refused, links, members } = await bus.status();
    const { heapUsed } = process.memoryUsage();
    const facts = { rss: Math.min(...samples), heapUsed, busiest: before, refused, handled, published };
    say({ event: 'looked', ...facts, links: links.length, members: members.length });
  } else if (line === 'close') {
    clearInterval(publisher);
    await bus.close({ timeout: 1000 });
    process.exit(0);
  }
});
say({ event: 'ready', address: bus.address });
