import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';

/** How long a test waits for a process to say or do something, in milliseconds. */
const patience = 60_000;

/** A path of the repository. */
export function pathOf(path: string): string {
  return fileURLToPath(new URL(`../../${path}`, import.meta.url));
}

/** What registers something to be done when it is over: a `TestContext`, or a suite's {@link ownerOfSuite}. */
export interface Owner {
  after(fn: () => unknown): void;
}

/** To be called in `describe()`: what its `before()` starts ends with the suite. */
export function ownerOfSuite(): Owner {
  const steps: (() => unknown)[] = [];
  after(async () => {
    for (const step of steps.reverse()) await step();
  });
  return { after: (fn) => steps.push(fn) };
}

/** How a process ended. */
export interface Ending {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Whether a process leads a group of its own, with all that it starts. */
const grouped = process.platform !== 'win32';
/** The processes that have not ended, or whose stdio somebody still holds. */
const open = new Set<Child>();
// A group of its own does not hear what ends this process.
process.once('exit', () => {
  for (const child of open) child.kill('SIGKILL');
});

/** A process that does not outlive its test. */
export class Child {
  readonly process: ChildProcess;
  stdout = '';
  stderr = '';
  readonly #heard = new EventEmitter();
  readonly #closed: Promise<unknown>;

  constructor(owner: Owner, command: string, args: readonly string[], options: SpawnOptions = {}) {
    this.process = spawn(command, args, { cwd: pathOf('.'), stdio: 'pipe', detached: grouped, ...options });
    this.#closed = once(this.process, 'close').finally(() => open.delete(this));
    open.add(this);
    this.process.stdout?.on('data', (chunk) => {
      this.stdout += chunk;
      this.#heard.emit('change');
    });
    this.process.stderr?.on('data', (chunk) => {
      this.stderr += chunk;
      this.#heard.emit('change');
    });
    this.process.stdin?.on('error', () => {}); // it may have ended before it read everything
    this.process.once('close', () => this.#heard.emit('change'));
    owner.after(async () => {
      if (!open.has(this)) return;
      this.kill('SIGKILL');
      await this.#exited();
      // Whoever has left its group may hold what it wrote to for ever.
      this.process.stdout?.destroy();
      this.process.stderr?.destroy();
      await this.#closed;
    });
  }

  /** Resolves when the process has ended, whoever else still holds its stdio. */
  async #exited(): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) await once(this.process, 'exit');
  }

  /** Resolves when what it has said so far holds a text or matches. */
  async says(stream: 'stdout' | 'stderr', what: string | RegExp): Promise<string> {
    const signal = AbortSignal.timeout(patience);
    for (;;) {
      const text = this[stream];
      if (typeof what === 'string' ? text.includes(what) : what.test(text)) return text;
      if (signal.aborted || this.process.exitCode !== null) throw new Error(`it never said ${what}; ${this.#about()}`);
      await once(this.#heard, 'change', { signal }).catch(() => {});
    }
  }

  /** Writes to its stdin; without a text, closes it. */
  write(text?: string): void {
    if (text === undefined) this.process.stdin?.end();
    else this.process.stdin?.write(text);
  }

  /** Sends a signal; `SIGKILL` also to what it has started, which could hold its stdio for ever. */
  kill(signal: NodeJS.Signals): void {
    const { pid } = this.process;
    if (!open.has(this)) return; // its number may be another one's by now
    if (signal !== 'SIGKILL' || !grouped || pid === undefined) {
      this.process.kill(signal);
      return;
    }
    try {
      process.kill(-pid, signal);
    } catch {
      // Nobody of its group is left.
    }
  }

  /** Resolves when it has ended and everything that it said has come in. */
  async ends(): Promise<Ending> {
    const late = AbortSignal.timeout(patience);
    const tooLate = once(late, 'abort').then(() => {
      throw new Error(`it did not end; ${this.#about()}`);
    });
    await Promise.race([this.#closed, tooLate]);
    const { stdout, stderr } = this;
    return { code: this.process.exitCode, stdout, stderr };
  }

  #about(): string {
    return `exit code ${this.process.exitCode}, stdout: ${this.stdout}, stderr: ${this.stderr}`;
  }
}

/** The built command when it is newer than its sources, since it starts faster; else the sources through tsx. */
const command = ((): readonly string[] => {
  const built = pathOf('dist/cli/main.js');
  const folder = pathOf('src/cli');
  const newest = Math.max(...readdirSync(folder).map((file) => statSync(`${folder}/${file}`).mtimeMs));
  if (existsSync(built) && statSync(built).mtimeMs > newest) return [built];
  return ['--import', 'tsx', pathOf('src/cli/main.ts')];
})();

/** Starts `mailvan` as a user would. */
export function mailvan(owner: Owner, args: readonly string[], env: Record<string, string> = {}): Child {
  const rest = Object.entries(process.env).filter(([name]) => !name.startsWith('MAILVAN_'));
  return new Child(owner, process.execPath, [...command, ...args], { env: { ...Object.fromEntries(rest), ...env } });
}

/** Runs `mailvan` to its end. */
export function run(owner: Owner, args: readonly string[], input?: string): Promise<Ending> {
  const child = mailvan(owner, args);
  if (input !== undefined) child.write(input);
  child.write();
  return child.ends();
}

/** A module of this folder, for `mailvan run`. */
export function moduleOf(name: string): string {
  return pathOf(`test/cli/modules/${name}`);
}

/** Starts a leader on a free port. */
export async function leader(owner: Owner, ...args: string[]): Promise<{ child: Child; address: string }> {
  const listen = args.includes('--listen') ? [] : ['--listen', 'tcp://127.0.0.1:0'];
  const options = ['--lead', ...listen, '--node', 'hub', ...args];
  const child = mailvan(owner, ['run', moduleOf('orders.mjs'), ...options]);
  const [, address = ''] = /at (t(?:cp|ls):\S+),/.exec(await child.says('stderr', 'Ctrl-C')) ?? [];
  return { child, address };
}
