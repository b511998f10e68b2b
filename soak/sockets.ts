import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createBus } from '../src/bus/bus.ts';
import { systemClock } from '../src/core/clock.ts';
import { parseAddress } from '../src/transport/address.ts';
import { TcpTransport } from '../src/transport/tcp.ts';
import { Intruder } from './frames/intruder.ts';
import { bundle, type Line, Process, pause } from './kill/process.ts';
import { silent } from './quiet.ts';

// Sockets that say nothing and sockets that say a byte a second: the limit of the handshake ends them, an honest node joins
// meanwhile; and again where there may be fewer at a time than come. Then as many real connections as a node may have, and
// thousands that come and go: no descriptor is left, and memory is back. The node is a process of its own. `--brief`.

const brief = process.argv.includes('--brief');
const hostile = brief ? 150 : 500;
const members = brief ? 50 : 1000;
const flood = brief ? 500 : 10_000;
/** The limit of a handshake, how long a connection may take to close, and what a busy machine adds, in milliseconds. */
const [handshake, closing, slack] = [2000, 1000, 2000];
const mostGrowth = 10 * 1024 * 1024;

const folder = mkdtempSync(join(tmpdir(), 'mailvan-sockets-'));
const script = await bundle(new URL('./frames/home.ts', import.meta.url));
const secret = 'a secret of the cluster';
const problems: string[] = [];
const started: Process[] = [];
process.on('exit', () => {
  for (const { child } of started) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});
process.once('SIGINT', () => process.exit(130));

interface Look extends Line {
  readonly rss: number;
  readonly heapUsed: number;
  readonly links: number;
  readonly members: number;
  readonly refused: Record<string, number>;
}

interface Home {
  readonly process: Process;
  readonly port: number;
  readonly address: string;
}

async function start(limits: object): Promise<Home> {
  const made = new Process('home', script, ['', JSON.stringify(limits)]);
  started.push(made);
  const { address } = (await made.said('ready')) as Line & { address: string };
  return { process: made, address, port: Number(address.slice(address.lastIndexOf(':') + 1)) };
}

async function look({ process: home }: Home): Promise<Look> {
  const line = home.next('looked');
  home.tell('look');
  return (await line) as Look;
}

/** How many descriptors the node has open; all of them are counted, whatever they are. */
function descriptors({ process: home }: Home): number {
  return readdirSync(`/proc/${home.child.pid}/fd`).length;
}

/** Waits until something is so. @returns how long that took, in milliseconds, or undefined when it took too long. */
async function until(most: number, is: () => boolean | Promise<boolean>): Promise<number | undefined> {
  const begin = performance.now();
  while (!(await is())) {
    if (performance.now() - begin > most) return undefined;
    await pause(20);
  }
  return Math.round(performance.now() - begin);
}

/** A socket that is never through a handshake. @param drip whether it says a byte a second of a frame that it never ends. */
class Hostile {
  readonly #socket: Socket;
  readonly #born = performance.now();
  /** How old it was when it was closed, in milliseconds. */
  closedAfter: number | undefined;

  constructor(port: number, drip: boolean) {
    const frame = Buffer.from([0, 0, 8, 0, 1, 1, 0x8a]);
    let at = 0;
    this.#socket = createConnection({ port, host: '127.0.0.1' });
    this.#socket.on('error', () => undefined);
    this.#socket.resume();
    const say = (): void => void this.#socket.write(frame.subarray(at, ++at));
    if (drip) say();
    const timer = drip ? setInterval(say, 1000) : undefined;
    this.#socket.on('close', () => {
      clearInterval(timer);
      this.closedAfter = performance.now() - this.#born;
    });
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

async function honest(home: Home, name: string): Promise<number> {
  const begin = performance.now();
  const bus = await createBus({ node: name, leader: home.address, secret, logger: silent });
  const took = Math.round(performance.now() - begin);
  await bus.close({ timeout: 100 });
  return took;
}

/** @param held whether all of them may be there at a time. */
async function siege(what: string, held: boolean): Promise<void> {
  const limits = held ? { connections: 4000, connectionsPerAddress: 4000, handshakes: 4000 } : {};
  const home = await start(limits);
  const before = descriptors(home);
  const all = Array.from({ length: 2 * hostile }, (_, i) => new Hostile(home.port, i % 2 === 1));
  const joined = await honest(home, 'honest');
  const most = handshake + closing + slack;
  const gone = await until(most, () => all.every(({ closedAfter }) => closedAfter !== undefined));
  const left = all.filter(({ closedAfter }) => closedAfter === undefined).length;
  if (gone === undefined) problems.push(`${what}: ${left} hostile sockets are open after ${most} ms`);
  const early = all.filter(({ closedAfter = most }) => closedAfter < handshake - 100).length;
  if (held && early > 0) problems.push(`${what}: ${early} were closed before their time`);
  const { refused } = await look(home);
  const told = (refused.handshakes ?? 0) + (refused.connections ?? 0);
  if (told !== all.length) problems.push(`${what}: ${told} refusals were counted for ${all.length} sockets`);
  if ((await until(5000, () => descriptors(home) <= before)) === undefined)
    problems.push(`${what}: ${descriptors(home) - before} descriptors are left`);
  console.log(
    `sockets: ${what}: ${hostile} silent and ${hostile} slow ones: an honest node joined in ${joined} ms, ` +
      `all were closed after at most ${Math.round(Math.max(...all.map(({ closedAfter = 0 }) => closedAfter)))} ms, ` +
      `counted ${JSON.stringify(refused)}`,
  );
  for (const each of all) each.destroy();
  await home.process.kill();
}

async function crowd(): Promise<void> {
  const home = await start({ connections: 2000, connectionsPerAddress: 2000, handshakes: 500 });
  const transport = new TcpTransport({ clock: systemClock });
  const guest = async (i: number): Promise<Intruder> => {
    const connection = await transport.dial(parseAddress(home.address), { timeout: 10_000 });
    const made = new Intruder(connection, { node: `guest-${i}`, secret: new TextEncoder().encode(secret) });
    if (!(await made.greet())) problems.push(`guest ${i} was not let in`);
    return made;
  };
  const visit = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i += 25)
      for (const each of await Promise.all(Array.from({ length: 25 }, (_, j) => guest((i + j) % members))))
        each.leave();
  };
  /** All of them at a time. @returns how many links there were. */
  const gather = async (): Promise<number> => {
    const all: Intruder[] = [];
    const pings = setInterval(() => {
      for (const each of all) each.say({ type: 'ping', version: 0 });
    }, 500);
    for (let i = 0; i < members; i += 50)
      all.push(...(await Promise.all(Array.from({ length: 50 }, (_, j) => guest(i + j)))));
    const { links } = await look(home);
    clearInterval(pings);
    for (const each of all) each.leave();
    await until(10_000, async () => (await look(home)).links === 0);
    return links;
  };
  const { heapUsed } = await look(home);
  // What the system has once given for so many sockets it does not get back: a second crowd must need no more.
  await gather();
  await visit(members);
  await until(10_000, async () => (await look(home)).links === 0);
  const before = await look(home);
  const files = descriptors(home);
  const links = await gather();
  if (links !== members) problems.push(`${links} links were open, not ${members}`);
  const begin = performance.now();
  await visit(flood);
  const took = performance.now() - begin;
  await honest(home, 'after');
  const empty = await until(20_000, async () => (await look(home)).links === 0);
  if (empty === undefined) problems.push('links are left');
  if ((await until(5000, () => descriptors(home) <= files)) === undefined)
    problems.push(`${descriptors(home) - files} descriptors are left`);
  // Whoever has not been heard for long enough is forgotten.
  let after = await look(home);
  await until(20_000, async () => {
    after = await look(home);
    return after.members === 1 && after.rss - before.rss < mostGrowth;
  });
  const heap = after.heapUsed - heapUsed;
  const rss = after.rss - before.rss;
  if (heap > mostGrowth / 2 || (!brief && rss > mostGrowth)) problems.push(`memory is not back: ${rss} bytes more`);
  if (after.members !== 1) problems.push(`${after.members - 1} members are remembered`);
  console.log(
    `sockets: ${links} links at a time, then ${flood} that came and went in ${Math.round(took)} ms: ` +
      `${descriptors(home) - files} descriptors more, heap ${(heap / 1024).toFixed(0)} KiB more, resident ${(rss / 1024).toFixed(0)} KiB more`,
  );
  await home.process.kill();
}

await siege('all at a time', true);
await siege('with the limits as they are', false);
await crowd();
for (const problem of problems) console.log(`sockets: ${problem}`);
console.log(`sockets: ${problems.length === 0 ? 'PASS' : 'FAIL'}`);
process.exit(problems.length === 0 ? 0 : 1);
