import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Contents, readContents } from './kill/journal.ts';
import { readLines } from './kill/ledger.ts';
import { bundle, chance, given, Process, pause, quantile } from './kill/process.ts';

// Six processes over one shared folder, each of which publishes and consumes: 1,000 durable messages a second. Whoever owns the
// folder is killed (SIGKILL) and started again, again and again, and once it is only frozen for a while. At the end: every
// message with a receipt is in the mailbox that nobody consumes, and was handled; none is in a mailbox twice; each
// publisher's messages are in order, and those of one key were handled in order. And each time another process serves the
// folder within 2 s, and confirms what is published.
//
// `--brief`: 3 kills; otherwise 50. `--kills=`, `--rate=` (in all), `--seed=`, `--keep`.

const brief = process.argv.includes('--brief');
const kills = given('kills', brief ? 3 : 50);
const rate = given('rate', 1000);
const seed = given('seed', Math.floor(Math.random() * 1e9));
const names = ['p1', 'p2', 'p3', 'p4', 'p5', 'p6'];
/** How long it may take until another process serves the folder, in milliseconds. */
const servedWithin = 2000;
/** Above so many times the processor time that it needs, it has waited for the machine. */
const busyFactor = 3;

interface Owner {
  readonly epoch: number;
  readonly node: string;
  readonly pid: number;
}

const script = await bundle(new URL('./shared/node.ts', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'mailvan-shared-'));
const random = chance(seed);
const processes = new Map<string, Process>();
const started: Process[] = [];
const problems: string[] = [];
const killed: number[] = [];
const served: number[] = [];
/** How long the next owner has computed until it was in its place, in milliseconds. */
const cpu: number[] = [];

function start(name: string): Process {
  const made = new Process(name, script, [name, folder, String(rate / names.length)]);
  processes.set(name, made);
  started.push(made);
  return made;
}

function owner(): Owner {
  return JSON.parse(readFileSync(`${folder}/bus/current`, 'utf8')) as Owner;
}

async function killOwner(): Promise<void> {
  const { epoch, node, pid } = owner();
  const victim = processes.get(node) as Process;
  if (victim.child.pid !== pid) throw new Error(`the folder is said to be served by ${node} ${pid}, which is gone`);
  killed.push(Date.now());
  const began = performance.now();
  await victim.kill();
  while (owner().epoch === epoch) {
    if (performance.now() - began > 30_000) throw new Error(`nobody serves the folder after ${node}`);
    await pause(2);
  }
  served.push(Math.round(performance.now() - began));
  const next = processes.get(owner().node) as Process;
  const since = killed.at(-1) as number;
  const found = next.lines.findLast(({ event, at }) => event === 'found' && (at as number) >= since);
  cpu.push((found ?? (await next.next('found'))).cpu as number);
  await start(node).said('ready');
}

/** While the owner is frozen nobody takes its place; when it goes on, so does everything. */
async function freezeOwner(): Promise<void> {
  const { epoch, node } = owner();
  const { child } = processes.get(node) as Process;
  child.kill('SIGSTOP');
  await pause(brief ? 1000 : 8000);
  if (owner().epoch !== epoch) problems.push('a frozen owner was doubled');
  child.kill('SIGCONT');
  await pause(brief ? 200 : 3000); // what has gathered comes at once
}

/** Compares the ledgers with each other and with what the folder holds. */
function judge(contents: Contents): string {
  const lines = (name: string): string[][] => readLines(join(folder, name)).map((line) => line.split(' '));
  const some = (what: string, list: readonly string[]): number => {
    if (list.length > 0) problems.push(`${list.length} ${what}: ${list.slice(0, 8).join(', ')}`);
    return list.length;
  };
  const receipts = lines('receipts');
  const confirmed = new Set(receipts.map(([p, n]) => `${p} ${n}`));

  const entered = new Map<string, number>();
  const last = new Map<string, number>();
  const disorder: string[] = [];
  for (const { payload } of contents.mailboxes.get('soak/audit')?.messages ?? []) {
    const { p, n, r } = payload as { p: string; n: number; r: number };
    const count = (entered.get(`${p} ${n}`) ?? 0) + 1;
    entered.set(`${p} ${n}`, count);
    // What was repeated stands behind what followed it.
    if (r > 0 || count > 1) continue;
    if (n < (last.get(p) ?? -1)) disorder.push(`${p} ${n} after ${last.get(p)}`);
    last.set(p, n);
  }
  const attempts = new Map<string, Set<string>>();
  const lastOfKey = new Map<string, number>();
  const sameAttempt: string[] = [];
  for (const [p = '', n = '', r = '', key = '', attempt = ''] of lines('handled')) {
    const before = attempts.get(`${p} ${n}`);
    if (before === undefined) {
      attempts.set(`${p} ${n}`, new Set([attempt]));
      if (key === '-' || r !== '0') continue;
      if (Number(n) < (lastOfKey.get(key) ?? -1)) disorder.push(`${p} ${n} handled after ${lastOfKey.get(key)}`);
      lastOfKey.set(key, Number(n));
    } else {
      if (before.has(attempt)) sameAttempt.push(`${p} ${n} at ${attempt}`);
      before.add(attempt);
    }
  }
  const lost = [
    ...[...confirmed].filter((each) => !entered.has(each)).map((each) => `${each} (not stored)`),
    ...[...confirmed].filter((each) => !attempts.has(each)).map((each) => `${each} (not handled)`),
  ];
  const twice = [...[...entered].filter(([, count]) => count > 1).map(([each]) => each), ...sameAttempt];
  if (contents.dead > 0) problems.push(`${contents.dead} dead letters`);
  // What was published after a kill shows when somebody took it: a publish waits for that.
  const gaps = killed.map((at) => {
    const after = receipts.filter(([, , , tried]) => Number(tried) > at).map(([, , , , done]) => Number(done) - at);
    return after.reduce((least, ms) => Math.min(least, ms), Number.POSITIVE_INFINITY);
  });
  for (const [what, list] of [['was served', served] as const, ['confirmed', gaps] as const]) {
    const late = list.filter((ms, i) => Math.min(ms, busyFactor * (cpu[i] as number)) > servedWithin);
    if (late.length > 0) problems.push(`the folder ${what} only after ${late.join(', ')} ms`);
  }
  const counts = [some('lost', lost), some('in a mailbox twice', twice), some('out of order', disorder)];
  return (
    `${confirmed.size} receipts, ${attempts.size} handled, lost ${counts[0]}, entered twice ${counts[1]}, ` +
    `out of order ${counts[2]}; served again after ${quantile(served, 0.5)} ms, worst ${Math.max(...served)}; ` +
    `confirmed again after ${quantile(gaps, 0.5)} ms, worst ${Math.max(...gaps)} (processor ${quantile(cpu, 0.5)} and ${Math.max(...cpu)} ms)`
  );
}

try {
  await Promise.all(names.map((name) => start(name).said('ready')));
  const began = performance.now();
  for (let n = 0; n < kills; n++) {
    await pause(200 + random() * 600);
    if (n === Math.floor(kills / 2)) await freezeOwner();
    await killOwner();
  }
  await pause(300);
  const seconds = (performance.now() - began) / 1000;
  const all = [...processes.values()];
  const codes: Record<string, number> = {};
  for (const each of all) each.tell('quiet');
  for (const line of await Promise.all(all.map((each) => each.said('quiet')))) {
    for (const [code, count] of Object.entries(line.codes as object)) codes[code] = (codes[code] ?? 0) + count;
  }
  for (const each of all) each.tell('drain');
  await Promise.all(all.map((each) => each.said('drained', 310_000)));
  for (const each of all) {
    each.tell('stop');
    await each.exited;
  }
  const verdict = judge(await readContents(join(folder, 'bus'), ['soak/audit']));
  process.stdout.write(
    `shared folder, seed ${seed}: six processes, ${kills} owners killed in ${Math.round(seconds)} s, ${verdict}; ` +
      `repeated for ${JSON.stringify(codes)} — ${problems.length === 0 ? 'PASS' : 'FAIL'}\n`,
  );
} catch (error) {
  problems.push(String(error));
} finally {
  for (const { child } of started) child.kill('SIGKILL');
  for (const problem of problems) process.stdout.write(`  ${problem}\n`);
  if (problems.length === 0 && !process.argv.includes('--keep')) rmSync(folder, { recursive: true, force: true });
  else process.stdout.write(`  the ledgers are in ${folder}\n`);
}
process.exitCode = problems.length === 0 ? 0 : 1;
