import { type ChildProcess, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** What a process of soak/durable/node.ts says. */
export type Line = Record<string, unknown>;

const script = fileURLToPath(new URL('./node.ts', import.meta.url));
const children = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1));

/** One process of a soak, in a network namespace where one is given. */
export class Process {
  readonly name: string;
  readonly child: ChildProcess;
  readonly lines: Line[] = [];
  readonly #told = new EventEmitter();
  #errors = '';

  constructor(task: { node: string } & Record<string, unknown>, namespace?: string) {
    this.name = task.node;
    const command = [process.execPath, '--import', 'tsx', script, JSON.stringify(task)];
    const [program, ...args] = namespace === undefined ? command : ['ip', 'netns', 'exec', namespace, ...command];
    this.child = spawn(program as string, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    children.add(this.child);
    createInterface({ input: this.child.stdout as NodeJS.ReadableStream }).on('line', (text) => {
      this.lines.push(JSON.parse(text) as Line);
      this.#told.emit('line');
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#errors = `${this.#errors}${text}`.slice(-4_000);
    });
    this.child.stdin?.on('error', () => undefined); // it was killed
    this.child.once('exit', () => this.#told.emit('line'));
  }

  get ended(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  /** Resolves when something holds. */
  async until(what: string, holds: () => boolean, ms = 30_000): Promise<void> {
    const signal = AbortSignal.timeout(ms);
    while (!holds()) {
      if (this.ended) throw new Error(`${this.name} ended before ${what}: ${this.#errors}`);
      await once(this.#told, 'line', { signal }).catch(() => {
        throw new Error(`gave up waiting until ${what} (${this.name}): ${this.#errors}`);
      });
    }
  }

  up(): Promise<void> {
    return this.until('it is up', () => this.lines.some((line) => 'up' in line));
  }

  tell(text: string): void {
    this.child.stdin?.write(`${text}\n`);
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    if (!this.ended) await once(this.child, 'exit');
  }

  /** What it has said of one kind. */
  said(what: string): Line[] {
    return this.lines.filter((line) => what in line);
  }
}

/** How the numbers that were handled differ from those that were owed. */
export function judge(owed: readonly number[], handled: readonly { n: number; attempt: number }[]) {
  const all = new Set(handled.map(({ n }) => n));
  const first = handled.filter(({ attempt }) => attempt === 1).map(({ n }) => n);
  return {
    lost: owed.filter((n) => !all.has(n)).length,
    doubled: first.length - new Set(first).size,
    disordered: first.filter((n, i) => n < (first[i - 1] ?? n)).length,
  };
}
