import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readLines } from './kill/ledger.ts';
import { bundle, given } from './kill/process.ts';

// A volume of 4 MiB (tmpfs, in a mount namespace of its own) fills up under a home that takes and handles messages: publishes
// are refused, and soon; space is freed, and the home takes messages again by itself within 5 seconds; then SIGKILL, and what
// had a receipt is handled, before or after. 20 times, `--brief` 1, `--rounds=`. Skipped where no volume can be mounted,
// which is a failure under MAILVAN_TEST_STRICT=1.

const brief = process.argv.includes('--brief');
const rounds = given('rounds', brief ? 1 : 20);
/** How long the home may take until a publish is stored after space was freed, in milliseconds. */
const backWithin = 5_000;
/** How long a refusal may take: the publish does not wait for space. */
const refusedWithin = 2_000;

interface Told {
  readonly event: string;
  readonly after?: number;
  readonly refusals?: Record<string, number>;
  readonly slowest?: number;
  readonly stored?: number;
}

async function round(script: string): Promise<{ problems: string[]; summary: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'mailvan-full-'));
  const quote = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;
  const volume = join(folder, 'volume');
  const node = (mode: string): string => [process.execPath, script, volume, folder, mode].map(quote).join(' ');
  const commands = [
    `mkdir ${quote(volume)} && mount -t tmpfs -o size=4m tmpfs ${quote(volume)} || exit 90`,
    `${node('fill')}; test $? -eq 137 || exit 91`,
    `${node('drain')} || exit 92`,
  ];
  const child = spawn('unshare', ['-m', 'sh', '-c', commands.join('\n')], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), 120_000);
  const code = await new Promise<number | null>((done) => child.on('close', done));
  clearTimeout(timer);
  const lines = output
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Told);
  const told = (event: string): Told | undefined => lines.find((line) => line.event === event);
  const ledger = (name: string): number[] => readLines(join(folder, name)).map(Number);
  const receipts = ledger('receipts');
  const handled = [...ledger('handled'), ...ledger('drained')];
  const known = new Set(handled);
  const lost = receipts.filter((n) => !known.has(n));
  const full = told('full');
  const back = told('back')?.after;
  const problems: string[] = [];
  if (code !== 0) problems.push(`it ended with ${code}: ${errors.slice(-2000)} ${output.slice(-1000)}`);
  if (full?.refusals?.STORE_FULL === undefined)
    problems.push(`no publish was refused with STORE_FULL: ${JSON.stringify(full)}`);
  if ((full?.slowest ?? 0) > refusedWithin) problems.push(`a refusal took ${full?.slowest} ms`);
  if (back === undefined || back > backWithin) problems.push(`the home was back after ${back} ms`);
  if (lost.length > 0) problems.push(`${lost.length} have a receipt and were never handled: ${lost.slice(0, 8)}`);
  rmSync(folder, { recursive: true, force: true });
  const again = handled.length - known.size;
  return {
    problems,
    summary: `${receipts.length} receipts, lost ${lost.length}, handled again ${again}, refused ${JSON.stringify(full?.refusals)} within ${full?.slowest} ms, back after ${back} ms`,
  };
}

const mounts = spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status === 0;
if (!mounts) {
  console.log('full-disk: SKIPPED, no volume can be mounted in a namespace (unshare -m)');
  process.exit(process.env.MAILVAN_TEST_STRICT === '1' ? 1 : 0);
}
const script = await bundle(new URL('./full-disk/node.ts', import.meta.url));
let failed = 0;
for (let i = 1; i <= rounds; i++) {
  const { problems, summary } = await round(script);
  console.log(`full-disk ${i} of ${rounds}: ${summary} — ${problems.length === 0 ? 'PASS' : 'FAIL'}`);
  for (const problem of problems) console.log(`full-disk: ${problem}`);
  if (problems.length > 0) failed++;
}
process.exit(failed === 0 ? 0 : 1);
