import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { type Bus, BusError, createBus } from 'mailvan';
import { chance, pause } from '../kill/process.ts';
import { silent } from '../quiet.ts';
import { Ledger } from './ledger.ts';

// One process of soak/spawning.ts, told by its words: its name, the folder of all ledgers, the leader's port, and the seed of
// the spawner's choices. `leader` leads, `spawner` spawns, all others run what is spawned. Says what happens as lines of JSON
// on stdout; the line `quiet` on stdin ends the spawning, `list` asks for all placements, and `stop` ends it in order.

const [name = '', folder = '', port = '', seed = '0'] = process.argv.slice(2);
/** How many spawns are under way at a time. */
const lanes = 4;
/** How long a lane waits at most between two of them, in milliseconds. */
const pace = 160;
const say = (event: string, more: object = {}): void =>
  void writeSync(1, `${JSON.stringify({ event, at: Date.now(), ...more })}\n`);

const address = `tcp://127.0.0.1:${port}`;
const bus = await createBus({
  node: name,
  secret: 'the secret of this soak',
  liveness: { ping: 100, suspect: 300, down: 1500 },
  redial: { delay: 20, maxDelay: 200 },
  joinTimeout: 60_000,
  ...(process.env.MAILVAN_DEBUG === undefined && { logger: silent }),
  ...(name === 'leader'
    ? { leader: true as const, listen: address, dataDir: `${folder}/leader` }
    : { leader: address }),
});

let running = true;

/** Spawns until it is told to stop: each under a name of its own, the time that it may take drawn. */
async function spawnAll(bus: Bus): Promise<void> {
  const random = chance(Number(seed));
  let count = 0;
  const lane = async (): Promise<void> => {
    while (running) {
      const n = ++count;
      const wait = Math.round(200 + random() * 4800);
      const placing = bus.spawn('noted', { name: `s${n}`, wait });
      say('sent', { n, wait });
      await placing.then(
        () => say('resolved', { n }),
        (error: unknown) => say('rejected', { n, code: error instanceof BusError ? error.code : `none: ${error}` }),
      );
      await pause(random() * pace);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

let spawning: Promise<void> | undefined;
if (name === 'spawner') spawning = spawnAll(bus);
else if (name !== 'leader') {
  const ledger = new Ledger(`${folder}/${name}`);
  bus.handlers.define('noted', ({ placement, node, generation, signal }) => {
    const note = (what: string): void => ledger.write(what, placement, node, generation, process.pid, Date.now());
    signal.addEventListener('abort', () => note('stop'));
    return { onStart: () => note('start') };
  });
}
say('ready');

for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'quiet') {
    running = false;
    await spawning;
    say('quiet');
  } else if (line === 'list') {
    const placements = bus.placements.list().map((each) => ({
      name: each.name,
      instances: each.instances.map(({ node, generation, state }) => `${node} ${generation} ${state}`),
    }));
    const { members } = await bus.status();
    say('list', { placements, alive: members.filter(({ state }) => state === 'alive').length });
  } else if (line === 'stop') break;
}
await bus.close({ timeout: 1000 });
process.exit(0);
