// A handler actor runs where the capabilities are that it asks for. Its node is killed; it starts on another one that fits.
//
//   node --import tsx examples/9-placement.ts
//
// Four processes: this one leads, and starts three workers. It takes about three seconds, since a node that has been silent
// for two counts as down here; by default it is fifteen.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { type Capabilities, createBus } from 'mailvan';

const liveness = { ping: 200, suspect: 500, down: 2000 };

/** A worker: says what it can do, and which kinds of actors it can run. What runs here is decided by the leader. */
async function work(node: string, leader: string, capabilities: Capabilities): Promise<void> {
  const bus = await createBus({ node, leader, liveness, capabilities });
  // Code does not travel: whoever shall run a kind defines it.
  bus.handlers.define('resizer', ({ generation, args }) => ({
    onStart: () => console.log(`${node}: the resizer starts, generation ${generation}, args ${JSON.stringify(args)}`),
    onMessage: ({ payload }) => {
      console.log(`${node}: resizes ${payload}`);
      process.send?.('handled');
    },
    onStop: () => console.log(`${node}: the resizer stops`),
  }));
  await bus.placements.nodes(); // the leader has answered, so it has heard of the kind as well
  process.once('disconnect', () => void bus.close());
  process.send?.('ready');
}

async function lead(): Promise<void> {
  const bus = await createBus({ node: 'lead', leader: true, listen: 'tcp://127.0.0.1:0', liveness });
  const workers = new Map<string, ChildProcess>();
  process.on('exit', () => {
    for (const child of workers.values()) child.kill('SIGKILL'); // whatever ends this one
  });
  const start = async (node: string, capabilities: Capabilities): Promise<void> => {
    const args = [node, bus.address ?? '', JSON.stringify(capabilities)];
    const child = fork(fileURLToPath(import.meta.url), args);
    workers.set(node, child);
    await once(child, 'message'); // it is ready
  };
  await Promise.all([
    start('attic', { region: 'eu', gpu: 4 }),
    start('cellar', { region: 'eu', gpu: 2 }),
    start('shed', { region: 'eu' }),
  ]);

  const where = { region: 'eu', gpu: { gte: 1 } };
  for (const { node, fits, reason } of await bus.explainPlacement('resizer', { where })) {
    console.log(`lead: ${node} ${fits ? 'fits' : `does not: ${reason}`}`);
  }
  const resizer = await bus.spawn('resizer', { name: 'resizer', pattern: 'images\\..*', where, args: { width: 800 } });
  const host = (): string => resizer.info?.instances[0]?.node ?? 'no node';
  const publish = async (image: string): Promise<void> => {
    const child = workers.get(host());
    const handled = child === undefined ? undefined : once(child, 'message');
    await bus.publish('images.created', image, { atLeast: 1 });
    await handled;
  };
  await publish('first.png');

  const first = host();
  const child = workers.get(first);
  console.log(`lead: killing ${first} (SIGKILL)`);
  const begun = Date.now();
  const moved = new Promise<void>((done) => {
    bus.on('actor.started', ({ placement, node }) => {
      if (placement === resizer.name && node !== first) done();
    });
  });
  child?.kill('SIGKILL');
  await moved;
  console.log(`lead: the resizer runs on ${host()}, ${((Date.now() - begun) / 1000).toFixed(1)} s later`);
  // What was not durable and waited on the dead node is gone; with durable: true it would be handled now.
  await publish('second.png');

  await resizer.stop(); // a named one goes on until somebody says so
  for (const [node, worker] of workers) {
    if (node === first) continue;
    worker.disconnect();
    await once(worker, 'exit');
  }
  await bus.close();
}

const [node, leader, capabilities = '{}'] = process.argv.slice(2);
if (node === undefined || leader === undefined) await lead();
else await work(node, leader, JSON.parse(capabilities) as Capabilities);
