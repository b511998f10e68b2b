import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Contents, readContents } from './kill/journal.ts';
import { readLines } from './kill/ledger.ts';
import { bundle, chance, freePort, given, type Line, Process, pause, quantile } from './kill/process.ts';

// A publisher, the home of a durable mailbox and its consumer, each a process, at 2,000 messages a second and more, one of
// them killed (SIGKILL) and started again, again and again. At the end: every message with a receipt was handled; none
// entered a mailbox twice; none was handled twice but those that were with a consumer as it or the home was killed; each
// publisher's messages of one key in order. And the home is ready soon, with a large backlog of another subscription.
//
// `--brief`: 5 kills and a backlog of 20,000; otherwise 300 and 1,000,000. `--kills=`, `--backlog=`, `--seed=`, `--rate=`,
// `--variant=remote` (the consumer a process of its own, the publisher without a store) or `home` (the consumer with the
// home, the publisher with a store, which spools).

const brief = process.argv.includes('--brief');
const kills = given('kills', brief ? 5 : 300);
const backlog = given('backlog', brief ? 20_000 : 1_000_000);
const rate = given('rate', 3000);
const seed = given('seed', Math.floor(Math.random() * 1e9));
const only = process.argv.find((word) => word.startsWith('--variant='))?.slice('--variant='.length);
const script = await bundle(new URL('./kill/node.ts', import.meta.url));
/** How many deliveries the consumer holds at most: as in kill/node.ts. */
const credit = 64;
/** How long a consumer may go on after the home was killed, in milliseconds. */
const noticed = 500;
/** How long the home may take until a publish is stored, in milliseconds. */
const readyWithin = 2000;
/** Above so many times the processor time that it needs, it has waited for the machine. */
const busyFactor = 3;

interface Kill {
  readonly role: string;
  readonly at: number;
}

async function run(variant: 'remote' | 'home', kills: number, seed: number): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), 'mailvan-kill-'));
  const port = await freePort();
  const random = chance(seed);
  const roles = variant === 'remote' ? ['home', 'publisher', 'consumer'] : ['home', 'publisher'];
  const processes = new Map<string, Process>();
  const started: Process[] = [];
  const done: Kill[] = [];
  const ready: number[] = [];
  const cpu: number[] = [];
  const start = (role: string): Process => {
    const made = new Process(role, script, [role, folder, String(port), variant, String(backlog), String(rate)]);
    processes.set(role, made);
    started.push(made);
    return made;
  };
  const of = (role: string): Process => processes.get(role) as Process;
  const problems: string[] = [];
  try {
    for (const role of roles) await start(role).said('ready', 300_000);
    const began = performance.now();
    for (let n = 0; n < kills; n++) {
      await pause(100 + random() * 900);
      const role = roles[Math.floor(random() * roles.length)] as string;
      done.push({ role, at: Date.now() });
      await of(role).kill();
      await pause(random() < 0.5 ? 0 : random() * 500);
      const again = start(role);
      const patient = random() < 0.8;
      const up = again.said('ready').then((line: Line) => {
        if (role !== 'home') return;
        ready.push(line.ready as number);
        cpu.push(line.cpu as number);
      });
      if (patient) await up;
      else up.catch(() => undefined); // it may be killed before
    }
    for (const role of roles) await of(role).said('ready');
    const seconds = (performance.now() - began) / 1000;
    of('publisher').tell('quiet');
    const quiet = await of('publisher').next('quiet', 120_000);
    const status = await drained(of('home'), of('publisher'));
    await pause(200);
    for (const role of [...roles].reverse()) {
      of(role).tell('stop');
      await of(role).exited;
    }
    const contents = await readContents(join(folder, 'home'), ['soak/audit']);
    const verdict = judge(folder, contents, done, status);
    problems.push(...verdict.problems);
    const worst = Math.max(0, ...ready);
    // On a machine that is busy with other things the time says little: what the home itself has computed says more.
    const late = ready.filter((ms, i) => Math.min(ms, busyFactor * (cpu[i] as number)) > readyWithin);
    if (late.length > 0) problems.push(`the home took ${late.join(', ')} ms to be ready`);
    const perSecond = Math.round(verdict.receipts / seconds);
    const killed = roles.map((role) => `${done.filter((kill) => kill.role === role).length} of the ${role}`).join(', ');
    process.stdout.write(
      `kill, consumer ${variant}, seed ${seed}: ${kills} kills (${killed}), ${verdict.receipts} receipts at ${perSecond}/s, ` +
        `${verdict.handled} handled, lost ${verdict.lost}, entered twice ${verdict.twice}, handled again ${verdict.again} ` +
        `(at most ${verdict.most} a kill, allowed ${credit}), out of order ${verdict.disorder}; ` +
        `home ready with ${backlog} waiting elsewhere: median ${quantile(ready, 0.5)} ms, worst ${worst} ms of ${ready.length} (processor ${quantile(cpu, 0.5)} and ${Math.max(0, ...cpu)} ms); ` +
        `last publisher: ${JSON.stringify(quiet)} — ${problems.length === 0 ? 'PASS' : 'FAIL'}\n`,
    );
  } catch (error) {
    problems.push(String(error));
  } finally {
    for (const { child } of started) child.kill('SIGKILL');
    for (const problem of problems) process.stdout.write(`  ${problem}\n`);
    if (problems.length === 0 && !process.argv.includes('--keep')) rmSync(folder, { recursive: true, force: true });
    else process.stdout.write(`  the ledgers are in ${folder}; kills: ${JSON.stringify(done.slice(-20))}\n`);
  }
  return problems.length === 0;
}

/** Waits until nothing of the work is left. */
async function drained(home: Process, publisher: Process): Promise<Line> {
  let status: Line;
  let before = '';
  let since = Date.now();
  for (;;) {
    const line = home.next('status');
    home.tell('status');
    const spools = publisher.next('status');
    publisher.tell('status');
    status = await line;
    const left = (status.waiting as Record<string, number>)['soak/work'] ?? 0;
    const spooled = (await spools).spools as number;
    if (left === 0 && spooled === 0) return status;
    const now = `${left} ${spooled}`;
    if (now !== before) [before, since] = [now, Date.now()];
    if (Date.now() - since > 60_000) throw new Error(`nothing moves: ${left} wait, ${spooled} are spooled`);
    await pause(50);
  }
}

interface Verdict {
  readonly receipts: number;
  readonly handled: number;
  readonly lost: number;
  readonly twice: number;
  readonly again: number;
  readonly most: number;
  readonly disorder: number;
  readonly problems: string[];
}

/** Compares the ledgers with each other and with what the home's folder holds. */
function judge(folder: string, contents: Contents, done: readonly Kill[], status: Line): Verdict {
  const lines = (name: string): string[] => readLines(join(folder, name));
  const problems: string[] = [];
  const some = (what: string, list: readonly unknown[]): void => {
    if (list.length > 0) problems.push(`${list.length} ${what}: ${list.slice(0, 8).map(String).join(', ')}`);
  };
  const receipts = new Set(lines('receipts').map((line) => Number.parseInt(line, 10)));

  // What entered: the audit mailbox is never consumed.
  const audit = contents.mailboxes.get('soak/audit');
  const entered = new Map<number, number>();
  const lastOfKey = new Map<string, number>();
  const doubled: number[] = [];
  const wrongOrder: string[] = [];
  for (const { payload, key } of audit?.messages ?? []) {
    const { s, r } = payload as { s: number; r: number };
    const count = (entered.get(s) ?? 0) + 1;
    entered.set(s, count);
    if (count === 2) doubled.push(s);
    if (r > 0 || key === undefined) continue;
    const last = lastOfKey.get(key) ?? -1;
    if (s < last && count === 1) wrongOrder.push(`${s} after ${last} of ${key} in the audit`);
    lastOfKey.set(key, Math.max(last, s));
  }
  some('entered the audit mailbox more than once', doubled);
  const unaudited = [...receipts].filter((s) => !entered.has(s));
  some('have a receipt and never entered the audit mailbox', unaudited);
  for (const gap of audit?.recovered.gaps ?? []) problems.push(`a gap: ${JSON.stringify(gap)}`);

  // What was handled.
  const handled = new Map<number, { at: number; attempts: Set<string> }>();
  const lastHandled = new Map<string, number>();
  const perKill = new Map<number, number>();
  const causeless: string[] = [];
  const sameAttempt: string[] = [];
  const deaths = done.filter(({ role }) => role !== 'publisher').map(({ at }) => at);
  let again = 0;
  for (const line of lines('handled')) {
    const [text = '', key = '-', r = '0', attempt = '1', time = '0'] = line.split(' ');
    const s = Number(text);
    const at = Number(time);
    const before = handled.get(s);
    if (before === undefined) {
      handled.set(s, { at, attempts: new Set([attempt]) });
      if (key !== '-' && r === '0') {
        const last = lastHandled.get(key) ?? -1;
        if (s < last) wrongOrder.push(`${s} handled after ${last} of ${key}`);
        lastHandled.set(key, Math.max(last, s));
      }
      continue;
    }
    again++;
    // Until it notices that the home has gone, a consumer goes on with what it has.
    const death = deaths.findLast((each) => each <= at);
    if (death === undefined || death < before.at - noticed) causeless.push(line);
    else perKill.set(death, (perKill.get(death) ?? 0) + 1);
    if (before.attempts.has(attempt)) sameAttempt.push(line);
    before.attempts.add(attempt);
    before.at = at;
  }
  some('handled twice and nobody was killed between', causeless);
  some('handled twice under one attempt: they entered twice', sameAttempt);
  some('out of order', wrongOrder);
  const most = Math.max(0, ...perKill.values());
  if (most > credit) problems.push(`${most} handled again after one kill: the credit is ${credit}`);
  const lost = [...receipts].filter((s) => !handled.has(s));
  some('have a receipt, were never handled and are not stored', lost);
  const waiting = status.waiting as Record<string, number>;
  if (waiting['soak/backlog'] !== backlog) problems.push(`the backlog is ${waiting['soak/backlog']}, not ${backlog}`);
  if (contents.dead > 0) problems.push(`${contents.dead} dead letters`);
  return {
    receipts: receipts.size,
    handled: handled.size,
    lost: lost.length,
    twice: doubled.length + sameAttempt.length,
    again,
    most,
    disorder: wrongOrder.length,
    problems,
  };
}

let passed = true;
if (only !== 'home')
  passed = (await run('remote', only === undefined ? Math.ceil((kills * 2) / 3) : kills, seed)) && passed;
if (only !== 'remote')
  passed = (await run('home', only === undefined ? Math.floor(kills / 3) : kills, seed + 1)) && passed;
process.exitCode = passed ? 0 : 1;
