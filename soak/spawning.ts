import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundle, chance, freePort, given, Process, pause } from './kill/process.ts';
import { readLedger } from './spawning/ledger.ts';

// The leader is killed (SIGKILL) in the middle of spawning and started again over its store, again and again. At the end every
// spawn that resolved runs exactly once, and of those that rejected, each with a code, nothing is left: by what every node
// knows, and by what the instances themselves have noted. 50 kills, `--brief` 3; `--kills=`, `--seed=`, `--keep`.

const brief = process.argv.includes('--brief');
const kills = given('kills', brief ? 3 : 50);
const seed = given('seed', Math.floor(Math.random() * 1e9));
/** How long the cluster may take until everything is as it should be, in milliseconds. */
const allowed = 15_000;
const workers = ['one', 'two'];
const script = await bundle(new URL('./spawning/node.ts', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'mailvan-spawning-'));
const random = chance(seed);
const port = String(await freePort());
const started: Process[] = [];
process.on('exit', () => {
  for (const { child } of started) child.kill('SIGKILL');
});

async function start(name: string): Promise<Process> {
  const made = new Process(name, script, [name, folder, port, String(seed)]);
  started.push(made);
  await made.said('ready');
  return made;
}

/** A start of an instance by the ledgers, and when it ended. */
interface Life {
  readonly name: string;
  readonly node: string;
  readonly generation: number;
  readonly from: number;
  to: number;
}

function lives(): Life[] {
  const all: Life[] = [];
  for (const worker of workers) {
    const open = new Map<string, Life>();
    for (const [what, name = '', node = '', generation, , at] of readLedger(join(folder, worker))) {
      const key = `${name} ${generation}`;
      const life = { name, node, generation: Number(generation), from: Number(at), to: Number.POSITIVE_INFINITY };
      if (what === 'start') all.push(life);
      if (what === 'start') open.set(key, life);
      const ended = open.get(key);
      if (what === 'stop' && ended !== undefined) ended.to = Number(at);
    }
  }
  return all.sort((a, b) => a.from - b.from);
}

interface Placed {
  readonly name: string;
  readonly instances: readonly string[];
}

/** What is wrong, by the ledgers and by what each node lists. */
async function judge(nodes: readonly Process[], spawner: Process): Promise<string[]> {
  const problems: string[] = [];
  const some = (what: string, list: readonly string[]): void => {
    if (list.length > 0) problems.push(`${list.length} ${what}: ${list.slice(0, 5).join(', ')}`);
  };
  const names = (event: string): string[] =>
    spawner.lines.filter((line) => line.event === event).map(({ n }) => `s${n}`);
  const [sent, resolved, rejected] = [names('sent'), names('resolved'), names('rejected')];
  if (resolved.length + rejected.length !== sent.length) problems.push('some have neither resolved nor rejected');
  const living = new Map<string, Life[]>();
  for (const life of lives().filter(({ to }) => to === Number.POSITIVE_INFINITY))
    living.set(life.name, [...(living.get(life.name) ?? []), life]);
  const of = (name: string): string[] => (living.get(name) ?? []).map((life) => `${life.node} ${life.generation}`);
  const show = (name: string): string => `${name} (${of(name).join('; ')})`;
  some('resolved and do not run exactly once', resolved.filter((name) => of(name).length !== 1).map(show));
  some('rejected and run', rejected.filter((name) => of(name).length > 0).map(show));
  for (const node of nodes) {
    const line = node.next('list');
    node.tell('list');
    const { placements, alive } = await line;
    if (alive !== nodes.length) problems.push(`'${node.name}' sees ${alive} nodes alive`);
    const listed = new Map((placements as Placed[]).map(({ name, instances }) => [name, instances.join('; ')]));
    const wrong = resolved.filter((name) => listed.get(name) !== `${of(name).join('; ')} running`);
    const text = (name: string): string => `${show(name)} as ${listed.get(name)}`;
    some(`resolved and listed by '${node.name}' as something else`, wrong.map(text));
    some(`rejected and listed by '${node.name}'`, rejected.filter((name) => listed.has(name)).map(text));
  }
  return problems;
}

/** Kills the leader at some moment after a spawn was sent. @returns how many were under way. */
async function killOnce(leader: Process, spawner: Process): Promise<number> {
  // Four times of five when it has settled; otherwise while it still waits for the others.
  if (random() < 0.8) await spawner.next('resolved');
  await pause(random() * 800);
  await spawner.next('sent');
  const delay = random() * 12;
  if (delay > 2) await pause(delay);
  await leader.kill();
  return count(spawner, 'sent') - count(spawner, 'resolved') - count(spawner, 'rejected');
}

function count(spawner: Process, what: string): number {
  return spawner.lines.filter(({ event }) => event === what).length;
}

/** Generations that have run twice at a time: those are the same instance. */
function doubles(all: readonly Life[]): string[] {
  const last = new Map<string, number>();
  const found: string[] = [];
  for (const { name, generation, from, to } of all) {
    const key = `${name} generation ${generation}`;
    if (from < (last.get(key) ?? 0)) found.push(key);
    last.set(key, Math.max(to, last.get(key) ?? 0));
  }
  return found;
}

async function run(): Promise<string[]> {
  let leader = await start('leader');
  const others = await Promise.all(workers.map(start));
  const spawner = await start('spawner');
  let midway = 0;
  for (let n = 0; n < kills; n++) {
    midway += await killOnce(leader, spawner);
    await pause(random() * 400);
    leader = await start('leader');
  }
  const quiet = spawner.next('quiet');
  spawner.tell('quiet');
  await quiet;
  const since = performance.now();
  const nodes = [leader, ...others, spawner];
  let problems = await judge(nodes, spawner);
  while (problems.length > 0 && performance.now() - since < allowed) {
    await pause(200);
    problems = await judge(nodes, spawner);
  }
  const took = Math.round(performance.now() - since);
  const all = lives();
  const twice = doubles(all);
  if (twice.length > 0) problems.push(`${twice.length} ran twice at a time: ${twice.slice(0, 5).join(', ')}`);
  const codes: Record<string, number> = {};
  for (const { code } of spawner.lines.filter(({ event }) => event === 'rejected'))
    codes[String(code)] = (codes[String(code)] ?? 0) + 1;
  const untyped = Object.keys(codes).filter((code) => code.startsWith('none'));
  if (untyped.length > 0) problems.push(`rejected without a code: ${untyped.join(', ')}`);
  const [sent, resolved, rejected] = ['sent', 'resolved', 'rejected'].map((what) => count(spawner, what));
  if (resolved === 0 || midway === 0) problems.push('nothing was spawned, or no leader killed in the middle of it');
  console.log(
    `spawning, seed ${seed}: ${kills} kills of the leader in the middle of ${midway} spawns, ${sent} in all = ${resolved} resolved + ` +
      `${rejected} rejected ${JSON.stringify(codes)}; ${all.length} starts, ${all.filter(({ to }) => Number.isFinite(to)).length} ended, ` +
      `twice at a time ${twice.length}; all as it should be ${took} ms after the last answer (allowed ${allowed}) — ` +
      `${problems.length === 0 ? 'PASS' : 'FAIL'}`,
  );
  return problems;
}

console.log(`spawning: seed ${seed}`);
const problems = await run().catch((error: unknown) => [`FAIL: ${(error as Error).message}`]);
for (const problem of problems) console.log(`spawning: ${problem}`);
if (problems.length === 0 && !process.argv.includes('--keep')) rmSync(folder, { recursive: true, force: true });
else console.log(`spawning: the ledgers are in ${folder}`);
process.exit(problems.length === 0 ? 0 : 1);
