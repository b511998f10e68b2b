// Every node of a cluster is restarted, one after the other, while messages flow: none is lost.
//
//   node --import tsx examples/10-rolling-restart.ts
//
// Four processes: a leader with the mailbox, two workers that share it, and this one, which publishes and does the restarting.
// SIGTERM has a node close in order: a worker hands its actors over to the other one; while the leader is away, what is
// published waits on the disk of the publisher.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Bus, createBus } from 'mailvan';

const topic = 'numbers';
const redial = { maxDelay: 200 }; // the leader comes back within seconds here
const name = 'counting';
/** Which numbers have been handled so far, and how often. */
const handled = new Map<number, number>();

/** Runs until SIGTERM, as a service does. */
function ready(bus: Bus): void {
  // In order: takes no more, hands its actors over, finishes what it handles, and says goodbye.
  process.once('SIGTERM', () => void bus.close().then(() => process.exit(0)));
  process.once('disconnect', () => process.exit(1)); // whoever started it has gone without a word
  process.send?.('ready');
}

async function lead(listen: string, dataDir: string): Promise<void> {
  const bus = await createBus({ node: 'lead', leader: true, listen, dataDir });
  await bus.subscribe(topic, null, { name, durable: true }); // only collects: the mailbox is here
  ready(bus);
}

async function work(node: string, leader: string): Promise<void> {
  const bus = await createBus({ node, leader, redial });
  bus.handlers.define('counter', () => ({
    onMessage: async ({ payload }) => {
      await wait(2); // the work
      process.send?.(payload);
    },
  }));
  await bus.placements.nodes(); // the leader has answered, so it has heard of the kind as well
  ready(bus);
}

/** A process of this file, which says what it has handled. Resolves when it is ready. */
async function start(...args: string[]): Promise<ChildProcess> {
  const child = fork(fileURLToPath(import.meta.url), args);
  process.on('exit', () => child.kill('SIGKILL')); // whatever ends this one
  await new Promise<void>((done, fail) => {
    child.on('message', (said) => {
      if (typeof said === 'number') handled.set(said, (handled.get(said) ?? 0) + 1);
      else done();
    });
    child.once('exit', (code) => fail(new Error(`${args[0]} has ended with code ${code}`)));
  });
  return child;
}

async function restart(child: ChildProcess, ...args: string[]): Promise<ChildProcess> {
  const begun = handled.size;
  child.kill('SIGTERM');
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`${args[0]} has ended with code ${code}`);
  const next = await start(...args);
  console.log(`${args[0]} is restarted; ${handled.size - begun} were handled meanwhile`);
  return next;
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'mailvan-rolling-'));
  const address = `unix:${folder}/socket`;
  const leading = ['lead', address, `${folder}/lead`];
  const leader = await start(...leading);
  const workers = await Promise.all([start('worker-1', address), start('worker-2', address)]);

  // With a folder of its own it can publish while the leader is away.
  const bus = await createBus({ node: 'publisher', leader: address, dataDir: `${folder}/publisher`, redial });
  await bus.spawn('counter', { name, pattern: topic, durable: true, instances: 2 });

  let isDone = false;
  let published = 0;
  let spooled = 0;
  const publishing = (async () => {
    while (!isDone) {
      const receipt = await bus.publish(topic, published, { atLeast: 1 }); // resolves when it is on a disk
      published++;
      spooled += receipt.spooled;
      await wait(2);
    }
  })();

  const worker1 = await restart(workers[0], 'worker-1', address);
  const worker2 = await restart(workers[1], 'worker-2', address);
  const again = await restart(leader, ...leading);
  isDone = true;
  await publishing;
  while (handled.size < published) await wait(10);

  const lost = published - handled.size;
  const twice = [...handled.values()].filter((times) => times > 1).length;
  console.log(`${spooled} waited at the publisher while the leader was away`);
  console.log(`published ${published}, handled ${handled.size}, lost ${lost}, handled twice ${twice}`);
  await bus.close();
  for (const child of [worker1, worker2, again]) {
    child.kill('SIGTERM');
    await once(child, 'exit');
  }
  rmSync(folder, { recursive: true });
}

const [role, address, data] = process.argv.slice(2);
if (role === undefined || address === undefined) await main();
else if (data === undefined) await work(role, address);
else await lead(address, data);
