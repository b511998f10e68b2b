import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type Bus, createBus } from '../src/bus/bus.ts';
import { systemClock } from '../src/core/clock.ts';
import { BusError } from '../src/core/errors.ts';
import { parseAddress } from '../src/transport/address.ts';
import { TcpTransport } from '../src/transport/tcp.ts';
import { decodePayload } from '../src/wire/codec.ts';
import { FrameDecoder } from '../src/wire/decoder.ts';
import { decodeFrame } from '../src/wire/frame.ts';
import { DataReader } from '../src/wire/pack.ts';
import { bodyOf, controls, encodedPayloads, greetings, packed, type World } from './frames/corpus.ts';
import { checkData, decodeAll, decodeOne } from './frames/decoding.ts';
import { Intruder } from './frames/intruder.ts';
import { Mutator } from './frames/mutation.ts';
import { bundle, chance, given, type Line, Process } from './kill/process.ts';
import { silent } from './quiet.ts';

// A million frames that are nearly right, made from valid ones of every type by a fixed seed, and a minute of random bytes:
// to everything that decodes, and over sockets that have been through the handshake to a leader in a process of its own, in the
// name of a member and on to another one. Nothing crashes; nothing is decoded but data; nothing takes 20 ms; memory stays; the
// honest members' links stay, and their messages come. `--brief` takes a few thousand; `--seed=`.

// V8's own threads, and the allocator's pools for each, leave and take back tens of MiB at any time, as they compile: without
// them resident memory says what decoding leaves.
const allocator = { MALLOC_ARENA_MAX: '1', MALLOC_TRIM_THRESHOLD_: '65536', MALLOC_MMAP_THRESHOLD_: '65536' };
const alone = '--single-threaded';
if (!process.execArgv.includes(alone)) {
  const { status } = spawnSync(process.execPath, [alone, ...process.execArgv, ...process.argv.slice(1)], {
    stdio: 'inherit',
    env: { ...process.env, ...allocator },
  });
  process.exit(status ?? 1);
}

const brief = process.argv.includes('--brief');
const seed = given('seed', 20_240_501);
const decodes = given('decodes', brief ? 4_000 : 1_000_000);
const sends = given('sends', brief ? 800 : 200_000);
const noise = given('noise', brief ? 1 : 60) * 1000;
/** In milliseconds. In brief nothing is judged by it: the machine may be busy. */
const longest = 20;
const mostGrowth = 5 * 1024 * 1024;
/** The bodies are sent in so many parts, and the random bytes in as many. */
const parts = brief ? 4 : 10;
let busiest = 0;
let repeated = 0;

setFlagsFromString('--expose_gc');
const gc = runInNewContext('gc') as () => void;
let random = chance(seed);
let mutator = new Mutator(random);
const problems: string[] = [];
const mebibytes = (bytes: number): string => (bytes / 1024 / 1024).toFixed(1);
const secret = new TextEncoder().encode('a secret of the cluster');
const transport = new TcpTransport({ clock: systemClock });

// What decodes

let world: World = {
  near: { node: 'home', incarnation: '0-00000000000000bb', mailbox: 'dddddddddddddddd' },
  far: { node: 'far', incarnation: '0-00000000000000cc', mailbox: 'eeeeeeeeeeeeeeee' },
  durable: 'ffffffffffffffff',
  own: 'evil',
};

/** One frame that is nearly right: changed as what it is, or as bytes, or both. @returns its body. */
function mutant(frames: ReturnType<typeof controls>, bodies: readonly Uint8Array[]): Uint8Array {
  const way = random();
  if (way < 0.5) return mutator.control(mutator.pick(frames));
  const body = mutator.pick(bodies);
  if (way < 0.8)
    return body[1] === 32 || body[1] === 33 ? mutator.row(body) : mutator.bytes(body, mutator.pick(bodies));
  return mutator.bytes(random() < 0.3 ? mutator.control(mutator.pick(frames)) : body, mutator.pick(bodies));
}

/**
 * How long it keeps the processor busy, in milliseconds. When that was long, the best of some tries counts: others use this
 * machine, too, and at first code is not compiled.
 */
function timed(run: () => void, fine = longest / 2): number {
  let best = Number.POSITIVE_INFINITY;
  for (let tries = 0; tries < 10 && best > fine; tries++) {
    const [wall, cpu] = [performance.now(), process.cpuUsage()];
    run();
    const { user, system } = process.cpuUsage(cpu);
    best = Math.min(best, performance.now() - wall, (user + system) / 1000);
  }
  return best;
}

function memory(): number {
  gc();
  gc();
  return process.memoryUsage.rss();
}

function decodeThem(): void {
  const frames = [...greetings(), ...controls(world)];
  const bodies = [...frames.map(bodyOf), ...packed(), ...packed(), ...packed()];
  const payloads = encodedPayloads();
  const counts = { taken: 0, refused: 0 };
  const samples: number[] = [];
  let slowest = 0;
  let reader = new DataReader();
  for (let n = 0; n < decodes; n++) {
    if (n % 1000 === 0) reader = new DataReader(4 * 1024 * 1024);
    if (n % Math.ceil(decodes / 20) === 0) samples.push(memory());
    const bare = n % 8 === 0;
    const bytes = bare ? mutator.bytes(mutator.pick(payloads), mutator.pick(payloads)) : mutant(frames, bodies);
    try {
      let taken: unknown[] | undefined;
      const took = timed(() => {
        taken = bare ? decodeOne(bytes) : decodeAll(bytes, reader);
      });
      checkData(taken ?? []);
      counts[taken === undefined ? 'refused' : 'taken']++;
      slowest = Math.max(slowest, took);
      if (took > longest && !brief) problems.push(`decoding took ${took.toFixed(1)} ms: ${head(bytes)}`);
    } catch (error) {
      problems.push(`mutation ${n} of seed ${seed}: ${String(error)}: ${head(bytes)}`);
      if (problems.length > 20) return;
    }
  }
  samples.push(memory());
  const growth = growthOf(samples, 5);
  if (growth > mostGrowth && !brief) problems.push(`decoding left ${mebibytes(growth)} MiB`);
  console.log(
    `frames: ${decodes} mutations decoded: ${counts.taken} taken, ${counts.refused} refused, the slowest ${slowest.toFixed(1)} ms; ` +
      `resident ${mebibytes(growth)} MiB more at the end than in the first half (${samples.map(mebibytes).join(' ')})`,
  );
}

/**
 * How much more memory there is at the end than ever in the first half: the middle of so many samples in a row, for the
 * allocator gives pages back and takes them again.
 */
function growthOf(samples: readonly number[], width: number): number {
  const middles = samples.map((_, i) => middle(samples.slice(i, i + width))).slice(1, samples.length - width + 1);
  return (middles.at(-1) ?? 0) - Math.max(...middles.slice(0, Math.ceil((samples.length - width) / 2)));
}

function middle(numbers: readonly number[]): number {
  return [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;
}

function head(bytes: Uint8Array): string {
  return `${Buffer.from(bytes.subarray(0, 200)).toString('hex')} (${bytes.length} bytes)`;
}

/** What is far too much is refused before it costs anything. */
function bounds(): void {
  const decoder = new FrameDecoder({ maxFrame: 8 * 1024 * 1024 });
  const before = process.memoryUsage().arrayBuffers;
  const header = timed(
    () => refused(() => new FrameDecoder(decoder).push(Buffer.from([0x06, 0x40, 0, 0]), () => {})),
    1,
  );
  if (process.memoryUsage().arrayBuffers - before > 1024 * 1024) problems.push('a header had memory set aside');
  const maps = Buffer.alloc(1024 * 1024, 0x80);
  maps.set([0xdd, 0x00, 0x0f, 0xff, 0xfb]);
  const empty = timed(() => refused(() => decodePayload(maps)), 1);
  const body = Buffer.concat([Buffer.from([1, 17, 0x81, 0xa1, 0x61]), maps]);
  const frame = timed(() => refused(() => decodeFrame(body)), 1);
  if (!brief && Math.max(header, empty, frame) > 5)
    problems.push(`1 MiB of empty maps took ${Math.max(empty, frame)} ms`);
  console.log(
    `frames: a declared 100 MB are refused at the header in ${header.toFixed(2)} ms, 1 MiB of empty maps in ${empty.toFixed(2)} ms ` +
      `as a payload and ${frame.toFixed(2)} ms as a frame`,
  );
}

function refused(run: () => void): void {
  try {
    run();
  } catch (error) {
    if (error instanceof BusError) return;
    problems.push(String(error));
    return;
  }
  problems.push('what is far too much was taken');
}

// Over sockets

const folder = mkdtempSync(join(tmpdir(), 'mailvan-frames-'));
let home: Process | undefined;
process.on('exit', () => {
  home?.child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});
process.once('SIGINT', () => process.exit(130));

interface Look extends Line {
  readonly rss: number;
  readonly heapUsed: number;
  readonly busiest: number;
  readonly published: number;
  readonly handled: number;
  readonly refused: Record<string, number>;
}

async function ask(node: Process, what: string, answer: string): Promise<Line> {
  const line = node.next(answer);
  node.tell(what);
  return line;
}

/** Goes in under one of a few names. */
async function enter(address: string, n: number): Promise<Intruder> {
  const connection = await transport.dial(parseAddress(address), { timeout: 5000 });
  const intruder = new Intruder(connection, { node: `evil-${n % 8}`, secret });
  if (!(await intruder.greet()))
    throw new Error(`the intruder was not let in: ${JSON.stringify(intruder.frames.at(-1))}`);
  return intruder;
}

/** Sends bodies as one who has joined, and waits until all have been looked at or the link was closed. */
async function attack(address: string, n: number, bodies: readonly Uint8Array[]): Promise<boolean> {
  const intruder = await enter(address, n);
  intruder.say({ type: 'join', version: 1, more: false, subscriptions: [], durables: [] });
  for (const [stream, target] of [world.near, world.far].entries()) {
    const about = { source: `evil-${n % 8}`, origin: '00000000000000aa', from: 1 };
    intruder.say({ type: 'open', stream: stream + 1, target: target.node, ...target, ...about } as never);
  }
  for (const body of bodies) intruder.send(framed(body));
  intruder.say({ type: 'request', id: 424_242, source: `evil-${n % 8}`, target: 'home', method: 'no', params: null });
  const answered = (): boolean => intruder.frames.some((frame) => frame.type === 'reply' && frame.id === 424_242);
  await inTime('an answer or the end of the link', intruder.until(answered));
  const survived = intruder.state !== 'closed';
  intruder.leave();
  return survived;
}

function framed(body: Uint8Array): Uint8Array {
  const frame = Buffer.allocUnsafe(4 + body.length);
  frame.writeUInt32BE(body.length);
  frame.set(body, 4);
  return frame;
}

async function inTime<T>(what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come within 20 s`)), 20_000);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

interface Honest {
  readonly bus: Bus;
  readonly got: number[];
  readonly lost: string[];
}

/** A member that does nothing but get messages: its link must never go. */
async function honest(address: string): Promise<Honest> {
  const bus = await createBus({
    node: 'far',
    leader: address,
    secret,
    logger: silent,
    liveness: { ping: 500, suspect: 5000, down: 10_000 },
  });
  const got: number[] = [];
  const lost: string[] = [];
  bus.on('leader.lost', ({ reason }) => lost.push(reason));
  await bus.subscribe<number>('honest', ({ payload }) => void got.push(payload), { name: 'honest' });
  await bus.subscribe('orders\\..*', () => undefined, { name: 'far' });
  return { bus, got, lost };
}

async function sendThem(): Promise<void> {
  const script = await bundle(new URL('./frames/home.ts', import.meta.url));
  // With the collector's threads a pause would last until the machine has time for each of them, and count the time of all.
  home = new Process('home', script, [join(folder, 'store')], [], ['--single-threaded-gc']);
  const { address } = (await home.said('ready')) as Line & { address: string };
  const far = await honest(address);
  await learn(address);
  const looks: Look[] = [];
  const links = { survived: 0, closed: 0, n: 0 };
  const count = Math.ceil(sends / parts);
  await sendPart(address, Math.ceil(count / 2), links); // it warms up
  for (let part = 0; part < parts; part++) await repeat(looks, part, () => sendPart(address, count, links));
  console.log(
    `frames: ${sends} mutations sent over ${links.n} links: ${links.closed} were closed, ${links.survived} were left open`,
  );
  const noises = { links: 0, bytes: 0 };
  for (let part = 0; part < parts; part++)
    await repeat(looks, parts + part, () => makeNoise(address, noise / parts, noises));
  console.log(`frames: ${noise / 1000} s of random bytes: ${noises.bytes} over ${noises.links} connections`);
  judge(looks, far);
  await far.bus.close();
  home.tell('close');
  await inTime('the end of the home', home.exited);
}

/**
 * Does a part, with a seed of its own. When that kept the home busy for long at a stretch it is done again, up to three
 * times, and the best counts: what the bytes cost comes again, what others on this machine cost does not.
 */
async function repeat(looks: Look[], part: number, act: () => Promise<void>): Promise<void> {
  let best = Number.POSITIVE_INFINITY;
  for (let tries = 0; tries < 4 && best > longest; tries++) {
    if (tries > 0) repeated++;
    random = chance(seed + part);
    mutator = new Mutator(random);
    await ask(home as Process, 'forget', 'forgot'); // there is one
    await act();
    const look = (await ask(home as Process, 'look', 'looked')) as Look;
    looks.push(look);
    best = Math.min(best, look.busiest);
    if (brief) break;
  }
  busiest = Math.max(busiest, best);
}

/** Sends so many bodies that are nearly right, a few over each link. */
async function sendPart(address: string, count: number, links: { n: number; survived: number; closed: number }) {
  const frames = controls(world);
  for (let sent = 0; sent < count; links.n++) {
    // The names that the registry keeps for ever are few, or what is kept would grow by right.
    const own = `evil-${links.n % 8}`;
    const mine = frames.map((frame) => ('source' in frame ? { ...frame, source: own } : frame));
    const mutable = mine.map(bodyOf).filter((body) => body[1] !== 8 && body[1] !== 9);
    const bodies = [...mutable, ...packed(), ...packed(), ...packed()];
    const batch = Array.from({ length: 8 }, () => mutant(mine, bodies));
    const reader = new DataReader();
    // What does not decode ends the link: one of those is enough, at the end.
    const fine = batch.filter((body) => passes(body, reader));
    const broken = batch.find((body) => !fine.includes(body));
    const chosen = broken === undefined || links.n % 4 > 0 ? fine : [...fine, broken];
    if (await attack(address, links.n, chosen)) links.survived++;
    else links.closed++;
    sent += chosen.length;
  }
}

function passes(body: Uint8Array, reader: DataReader): boolean {
  try {
    return decodeAll(body, reader) !== undefined;
  } catch {
    return true; // told of already where all are decoded
  }
}

/** What to say to whom, as every member hears it. */
async function learn(address: string): Promise<void> {
  const spy = await enter(address, 0);
  spy.say({ type: 'join', version: 1, more: false, subscriptions: [], durables: [] });
  const heard = (): World | undefined => {
    const found: { node: string; incarnation: string; mailbox: string }[] = [];
    let durable: string | undefined;
    for (const frame of spy.frames) {
      if (frame.type !== 'delta') continue;
      for (const { node, incarnation, add } of frame.changes)
        for (const { id, name } of add)
          if (name === 'memory' || name === 'far') found.push({ node, incarnation, mailbox: id });
      durable = frame.durables.find(({ name }) => name === 'default/kept')?.id ?? durable;
      spy.say({ type: 'applied', version: frame.version });
    }
    const [near, far] = ['home', 'far'].map((name) => found.find(({ node }) => node === name));
    if (near === undefined || far === undefined || durable === undefined) return undefined;
    return { near, far, durable, own: 'evil' };
  };
  spy.say({ type: 'applied', version: 0 });
  await inTime(
    'the registry',
    spy.until(() => heard() !== undefined),
  );
  world = heard() ?? world;
  spy.leave();
}

/** Random bytes, to who asks for a greeting and to who has had one. */
async function makeNoise(address: string, time: number, done: { links: number; bytes: number }): Promise<void> {
  const end = performance.now() + time;
  for (; performance.now() < end; done.links++) {
    const { links } = done;
    const anonymous = links % 2 === 0;
    const connection = await transport.dial(parseAddress(address), { timeout: 5000 });
    const intruder = new Intruder(connection, { node: `evil-${links % 8}`, secret });
    if (!anonymous && !(await intruder.greet())) throw new Error('the intruder was not let in');
    for (let i = 0; i < 16 && intruder.state !== 'closed'; i++) {
      const chunk = Buffer.from(Array.from({ length: 256 }, () => mutator.below(256)));
      if (i === 0 && links % 4 > 1) chunk.set([0, 0, 0, 200, 1, mutator.below(34)]); // as a frame begins
      intruder.send(chunk);
      done.bytes += chunk.length;
    }
    await inTime(
      'the end of a link',
      anonymous || links % 4 === 1 ? ended(intruder) : Promise.race([ended(intruder), soon()]),
    );
    intruder.leave();
  }
}

function ended(intruder: Intruder): Promise<void> {
  return intruder.until(() => false);
}

function soon(): Promise<void> {
  return new Promise((done) => setTimeout(done, 20));
}

function judge(looks: readonly Look[], { got, lost }: Honest): void {
  const last = looks.at(-1);
  if (last === undefined) return;
  const growth = growthOf(
    looks.map(({ rss }) => rss),
    3,
  );
  if (lost.length > 0) problems.push(`the honest member lost its link: ${lost.join('; ')}`);
  const missing = got.findIndex((payload, i) => i > 0 && payload !== (got[i - 1] ?? 0) + 1);
  if (missing >= 0) problems.push(`the honest member missed a message: ${got[missing - 1]}, then ${got[missing]}`);
  if (got.length === 0) problems.push('the honest member got nothing');
  if (last.handled === 0) problems.push('no mutation reached a handler');
  if (!brief && growth > mostGrowth) problems.push(`the home's memory grew by ${mebibytes(growth)} MiB`);
  if (!brief && busiest > longest) problems.push(`the home was busy for ${busiest.toFixed(1)} ms at a stretch`);
  console.log(
    `frames: the home is ${mebibytes(growth)} MiB larger than before (resident and heap: ${looks.map(({ rss, heapUsed }) => `${mebibytes(rss)}/${mebibytes(heapUsed)}`).join(' ')}), ` +
      `was busy for ${busiest.toFixed(1)} ms at most (${repeated} of ${looks.length} parts were repeated), handled ${last.handled}, refused ${JSON.stringify(last.refused)}; ` +
      `the honest member got ${got.length} of ${last.published} messages over one link`,
  );
}

decodeThem();
bounds();
if (problems.length === 0) await sendThem();
for (const problem of problems) console.log(`frames: ${problem}`);
console.log(`frames: seed ${seed} — ${problems.length === 0 ? 'PASS' : 'FAIL'}`);
process.exit(problems.length === 0 ? 0 : 1);
