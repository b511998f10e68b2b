import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundle, given, Process } from './kill/process.ts';
import { Log, readTrace } from './power-loss/trace.ts';

// What a power failure may take: strace watches a home that writes each receipt to a pipe as soon as it has it. No receipt of
// level 'fsync' is written before an fdatasync has ended that began after LevelDB's log had the message. And how many
// fdatasyncs that takes. 10,000 receipts, `--brief` 500, `--receipts=`. Skipped without strace, which is a failure under
// MAILVAN_TEST_STRICT=1.

const brief = process.argv.includes('--brief');
const total = given('receipts', brief ? 500 : 10_000);
const seed = given('seed', Math.floor(Math.random() * 1e9));
/** How many fdatasyncs a publish may cost when the next one waits for it. */
const allowed = 1.2;

interface Phase {
  readonly name: string;
  readonly publishes: number;
  syncs: number;
}

/** A file that a call of the traced process has opened. */
interface File {
  readonly log: Log | undefined;
  /** The latest start of an fdatasync of it that has ended. */
  synced: number;
}

async function watch(folder: string): Promise<string> {
  const trace = join(folder, 'trace');
  const calls = 'trace=write,pwrite64,writev,pwritev,fdatasync,fsync,openat';
  const strace = ['strace', '-f', '-xx', '-s', '10000000', '-e', calls, '-e', 'signal=none', '-o', trace];
  const script = await bundle(new URL('./power-loss/home.ts', import.meta.url));
  const home = new Process('home', script, [folder, String(total), String(seed)], strace);
  const timer = setTimeout(() => home.child.kill('SIGTERM'), brief ? 100_000 : 1_200_000);
  await home.exited;
  clearTimeout(timer);
  if (home.child.exitCode !== 0) throw new Error(`the home ended with ${home.child.exitCode}: ${home.errors}`);
  return trace;
}

async function judge(trace: string): Promise<{ problems: string[]; phases: Phase[]; receipts: number; logs: number }> {
  const files = new Map<number, File>();
  /** By message: the earliest time from which on an fdatasync covers it, for each place where it stands. */
  const places = new Map<number, { file: File; written: number }[]>();
  const phases: Phase[] = [];
  const problems: string[] = [];
  let receipts = 0;
  let logs = 0;
  let told = '';
  for await (const { name, fd, data, result, began, ended } of readTrace(trace)) {
    if (name === 'openat') {
      const log = /store\/\d+\.log$/.test(data.toString('latin1')) ? new Log() : undefined;
      if (log !== undefined) logs++;
      if (result >= 0) files.set(fd, { log, synced: 0 });
      continue;
    }
    const file = files.get(fd);
    if (name === 'fdatasync' || name === 'fsync') {
      if (file === undefined || result !== 0) continue;
      file.synced = Math.max(file.synced, began);
      const phase = phases.at(-1);
      if (file.log !== undefined && phase !== undefined) phase.syncs++;
    } else if (name === 'write' && fd === 3) {
      told += data.toString('latin1');
      const lines = told.split('\n');
      told = lines.pop() ?? '';
      for (const line of lines) {
        const [kind, ...words] = line.split(' ');
        if (kind === 'phase') {
          phases.push({ name: words.slice(0, -1).join(' '), publishes: Number(words.at(-1)), syncs: 0 });
          continue;
        }
        receipts++;
        const n = Number(words[0]);
        // One segment for each of its two mailboxes.
        const found = places.get(n) ?? [];
        const covered = found.filter((place) => place.written < place.file.synced);
        if (covered.length < 2) {
          problems.push(
            `receipt ${n} (line ${began}) came first: in the log ${found.length} times, synced ${covered.length}`,
          );
        }
        places.delete(n);
      }
    } else if (file?.log !== undefined) {
      if (name !== 'write') throw new Error(`LevelDB uses ${name}, which is not looked at`);
      if (result !== data.length) throw new Error(`a write of ${data.length} bytes wrote ${result}`);
      file.log.append(data, ended);
      file.log.look(/<message (\d{8})>/g, 17, (match, written) => {
        const n = Number(match[1]);
        const list = places.get(n) ?? [];
        places.set(n, list);
        list.push({ file, written });
      });
    }
  }
  return { problems, phases: phases.filter(({ publishes }) => publishes > 0), receipts, logs };
}

const strict = process.env.MAILVAN_TEST_STRICT === '1';
if (spawnSync('strace', ['-V']).status !== 0) {
  process.stdout.write(`power-loss: there is no strace here — ${strict ? 'FAIL' : 'SKIPPED'}\n`);
  process.exitCode = strict ? 1 : 0;
} else {
  const folder = mkdtempSync(join(tmpdir(), 'mailvan-power-'));
  try {
    const { problems, phases, receipts, logs } = await judge(await watch(folder));
    const costs = phases.map(({ name, publishes, syncs }) => `${(syncs / publishes).toFixed(3)} ${name}`);
    const [first] = phases;
    if (receipts !== total) problems.push(`${receipts} receipts were seen, not ${total}`);
    if (first === undefined || first.syncs / first.publishes > allowed) {
      problems.push(`more than ${allowed} fdatasyncs a publish, one at a time`);
    }
    process.stdout.write(
      `power-loss, seed ${seed}: ${receipts} receipts over ${logs} logs, ${problems.length} before their messages were on the medium; ` +
        `fdatasyncs a publish: ${costs.join(', ')} — ${problems.length === 0 ? 'PASS' : 'FAIL'}\n`,
    );
    for (const problem of problems.slice(0, 10)) process.stdout.write(`  ${problem}\n`);
    process.exitCode = problems.length === 0 ? 0 : 1;
  } finally {
    if (!process.argv.includes('--keep')) rmSync(folder, { recursive: true, force: true });
  }
}
