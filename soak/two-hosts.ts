import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

// examples/3-two-hosts between two network namespaces that a veth pair joins. While numbered lines flow the link is cut and
// comes back: both sides report the other as suspect, both rejoin by themselves, traffic resumes, and every line whose
// receipt named nobody unreachable is in the consumer's file, once, in order. Needs root and iproute2.
// `--brief` cuts for 6 s instead of 10, and has the nodes suspect a silent link after 1 s instead of 3.

const brief = process.argv.includes('--brief');
const cut = brief ? 6_000 : 10_000;
const patience = brief ? ['--suspect', '1000'] : [];
/** Milliseconds from one line to the next. */
const pace = 10;
/** How long both may take to rejoin once the link is back: the longest wait before a redial, and two connects. */
const rejoin = 10_000;
const deadline = AbortSignal.timeout(brief ? 40_000 : 90_000);
const secret = ['--secret', 'a secret of the soak'];
const address = 'tcp://10.213.77.1:1900';
const names = {
  consumer: `mv${process.pid}c`,
  producer: `mv${process.pid}p`,
  left: `mv${process.pid}l`,
  right: `mv${process.pid}r`,
};
const folder = mkdtempSync(join(tmpdir(), 'mailvan-two-hosts-'));
const outfile = join(folder, 'lines');

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** One of the example's programs, in its namespace. */
class Program {
  readonly child: ChildProcess;
  readonly out: string[] = [];
  readonly events: string[] = [];
  readonly #told = new EventEmitter();

  constructor(namespace: string, script: string, args: readonly string[]) {
    const path = fileURLToPath(new URL(`../examples/3-two-hosts/${script}`, import.meta.url));
    const command = ['netns', 'exec', namespace, process.execPath, '--import', 'tsx', path, ...args];
    this.child = spawn('ip', command, { stdio: ['pipe', 'pipe', 'pipe'] });
    children.push(this.child);
    for (const [stream, lines] of [
      [this.child.stdout, this.out],
      [this.child.stderr, this.events],
    ] as const) {
      if (stream === null) continue; // not so: all three are pipes
      createInterface({ input: stream }).on('line', (line) => {
        lines.push(line);
        this.#told.emit('line');
      });
    }
    this.child.once('exit', () => this.#told.emit('line'));
  }

  /** Resolves when something holds; looks again at each line. */
  async until(what: string, holds: () => boolean, signal: AbortSignal = deadline): Promise<void> {
    while (!holds()) {
      if (this.child.exitCode !== null) throw new Error(`a program ended before ${what}: ${this.events.join('\n')}`);
      await once(this.#told, 'line', { signal }).catch(() => {
        throw new Error(`gave up waiting until ${what}; events: ${this.events.slice(-10).join(', ')}`);
      });
    }
  }

  count(event: string): number {
    return this.events.filter((line) => line.startsWith(`[${event}]`)).length;
  }

  async exit(): Promise<number | null> {
    if (this.child.exitCode === null) await once(this.child, 'exit', { signal: deadline });
    return this.child.exitCode;
  }
}

const children: ChildProcess[] = [];

/** Whatever ends this program: nothing is left behind. */
function clean(): void {
  for (const child of children) child.kill('SIGKILL');
  for (const namespace of [names.consumer, names.producer]) {
    try {
      ip('netns', 'del', namespace);
    } catch {
      // It was never made.
    }
  }
  rmSync(folder, { recursive: true, force: true });
}

/** Two hosts and the cable between them. @returns why not, when this machine does not let us. */
function connect(): string | undefined {
  if (process.getuid?.() !== 0) return 'it needs root';
  try {
    ip('netns', 'add', names.consumer);
    ip('netns', 'add', names.producer);
    ip(
      'link',
      'add',
      names.left,
      'netns',
      names.consumer,
      'type',
      'veth',
      'peer',
      'name',
      names.right,
      'netns',
      names.producer,
    );
  } catch (error) {
    return `it needs iproute2 and the right to make network namespaces (${(error as Error).message.trim()})`;
  }
  for (const [namespace, link, host] of [
    [names.consumer, names.left, '10.213.77.1/24'],
    [names.producer, names.right, '10.213.77.2/24'],
  ] as const) {
    ip('-n', namespace, 'address', 'add', host, 'dev', link);
    ip('-n', namespace, 'link', 'set', link, 'up');
    ip('-n', namespace, 'link', 'set', 'lo', 'up');
  }
  return undefined;
}

/** Compares what the producer was told with what the file holds. */
function judge(written: number, told: readonly string[], file: readonly string[]): string[] {
  const numberOf = (line: string): number => Number(/line (\d+)/.exec(line)?.[1]);
  const ok = told.filter((line) => line.startsWith('ok ')).map(numberOf);
  const unreachable = told.filter((line) => line.startsWith('unreachable ')).length;
  const failed = told.filter((line) => line.startsWith('failed ')).length;
  const numbers = file.map(numberOf);
  const distinct = new Set(numbers);
  const lost = ok.filter((n) => !distinct.has(n)).length;
  const doubled = numbers.length - distinct.size;
  const disordered = numbers.filter((n, i) => n < (numbers[i - 1] ?? 0)).length;
  const problems: string[] = [];
  if (ok.length + unreachable + failed !== written) problems.push('some lines had neither a receipt nor an error');
  if (unreachable === 0) problems.push('no receipt named anybody unreachable: the cut was not noticed');
  if (lost + doubled + disordered > 0) problems.push('lines were lost, doubled or out of order');
  const counts = `${written} lines, ${unreachable} named unreachable, ${numbers.length} in the file`;
  const unknown = failed === 0 ? '' : `, ${failed} failed`;
  const verdict = problems.length === 0 ? 'PASS' : 'FAIL';
  const errors = `lost ${lost}, doubled ${doubled}, out of order ${disordered}`;
  console.log(`two-hosts: ${counts}${unknown}, ${errors} — ${verdict}`);
  return problems;
}

async function run(): Promise<string[]> {
  const problems: string[] = [];
  const topic = ['--topic', 'soak.lines'];
  const consumer = new Program(names.consumer, 'consumer.ts', [
    ...['--listen', address, ...secret, ...topic, '--outfile', outfile, ...patience],
  ]);
  await consumer.until('the consumer listens', () => consumer.out.some((line) => line.includes('listening on')));
  const producer = new Program(names.producer, 'producer.ts', ['--leader', address, ...secret, ...topic, ...patience]);
  let written = 0;
  const writer = setInterval(() => producer.child.stdin?.write(`line ${++written}\n`), pace);
  const took = (from: number, count: number) => (): boolean =>
    producer.out.filter((line) => line.startsWith('ok ') && Number(line.slice(8)) > from).length >= count;
  try {
    await producer.until('lines flow', took(0, 100));
    console.log(`cutting the link for ${cut / 1000} s`);
    ip('-n', names.producer, 'link', 'set', names.right, 'down');
    await wait(cut);
    if (producer.count('node.suspect') === 0) problems.push('the producer did not suspect the consumer');
    if (consumer.count('node.suspect') === 0) problems.push('the consumer did not suspect the producer');
    const joined = consumer.count('node.joined');
    const found = producer.count('leader.found');
    ip('-n', names.producer, 'link', 'set', names.right, 'up');
    const back = performance.now();
    const late = AbortSignal.any([deadline, AbortSignal.timeout(rejoin)]);
    await producer.until('the producer has rejoined', () => producer.count('leader.found') > found, late);
    await consumer.until('the consumer has seen it', () => consumer.count('node.joined') > joined, late);
    console.log(`both rejoined ${((performance.now() - back) / 1000).toFixed(1)} s after the link came back`);
    await producer.until('traffic has resumed', took(written, 100));
  } finally {
    clearInterval(writer);
    producer.child.stdin?.end();
  }
  await producer.exit();
  consumer.child.kill('SIGTERM'); // it drains its mailbox and finishes the file
  const code = await consumer.exit();
  if (code !== 0) problems.push(`the consumer ended with code ${code}`);
  const file = readFileSync(outfile, 'utf8').split('\n').slice(0, -1);
  return [...problems, ...judge(written, producer.out, file)];
}

process.on('exit', clean);
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1));
const obstacle = connect();
if (obstacle !== undefined) {
  const strict = process.env.MAILVAN_TEST_STRICT === '1';
  console.log(`two-hosts: ${strict ? 'FAIL' : 'skipped'}: ${obstacle}`);
  process.exit(strict ? 1 : 0);
}
const problems = await run().catch((error: unknown) => [`FAIL: ${(error as Error).message}`]);
for (const problem of problems) console.log(`two-hosts: ${problem}`);
process.exit(problems.length === 0 ? 0 : 1);
