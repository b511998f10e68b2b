import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

// What the soak programs that kill processes have in common: processes that tell what happens as lines of JSON, and chance
// that can be had again.

/** One line that a process has said. */
export interface Line {
  readonly event: string;
  readonly [name: string]: unknown;
}

const modules = fileURLToPath(new URL('../../node_modules', import.meta.url));

/**
 * Bundles a script with the sources that it needs, because these programs start it hundreds of times: `--import tsx` takes
 * 1.4 s each time where this takes 0.3 s (measured, busy machine). And what is edited meanwhile changes nothing.
 *
 * @returns the file, which goes with this process.
 */
export async function bundle(script: URL): Promise<string> {
  const { build } = createRequire(import.meta.resolve('tsx'))('esbuild') as {
    build(options: object): Promise<unknown>;
  };
  const folder = mkdtempSync(join(modules, '.soak-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  process.once('SIGTERM', () => process.exit(143));
  const outfile = join(folder, 'script.mjs');
  await build({
    entryPoints: [fileURLToPath(script)],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
    alias: { mailvan: fileURLToPath(new URL('../../src/index.ts', import.meta.url)) },
    logLevel: 'error',
  });
  return outfile;
}

/** A process that was started here: the only ones that are ever killed. */
export class Process {
  readonly name: string;
  readonly child: ChildProcess;
  readonly lines: Line[] = [];
  readonly exited: Promise<void>;
  #errors = '';
  #waiting: { look(line: Line | undefined): void }[] = [];

  /**
   * @param script what {@link bundle} has made.
   * @param before the command that runs it, for one that is watched.
   * @param flags for Node.
   */
  constructor(
    name: string,
    script: string,
    words: readonly string[],
    before: readonly string[] = [],
    flags: readonly string[] = [],
  ) {
    this.name = name;
    const [command = '', ...rest] = [...before, process.execPath, ...flags, script, ...words];
    this.child = spawn(command, rest, { stdio: ['pipe', 'pipe', 'pipe', 'pipe'] });
    this.child.stdin?.on('error', () => undefined); // it was killed meanwhile
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#errors = (this.#errors + text).slice(-4000);
    });
    (this.child.stdio[3] as NodeJS.ReadableStream).resume();
    const lines = createInterface({ input: this.child.stdout as NodeJS.ReadableStream });
    lines.on('line', (text) => {
      if (!text.startsWith('{')) return;
      const line = JSON.parse(text) as Line;
      this.lines.push(line);
      for (const { look } of [...this.#waiting]) look(line);
    });
    this.exited = new Promise((done) => {
      this.child.on('exit', () => {
        for (const { look } of [...this.#waiting]) look(undefined);
        done();
      });
    });
  }

  /** The last of what it has written to stderr. */
  get errors(): string {
    return this.#errors;
  }

  /** The line that tells of `event`: one that was said already, or the next one. */
  said(event: string, timeout = 60_000): Promise<Line> {
    const before = this.lines.find((line) => line.event === event);
    return before === undefined ? this.next(event, timeout) : Promise.resolve(before);
  }

  /** The next line that tells of `event`. */
  next(event: string, timeout = 60_000): Promise<Line> {
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#waiting = this.#waiting.filter((each) => each !== waiter);
      };
      const fail = (why: string): void => {
        end();
        reject(new Error(`${this.name} (${this.child.pid}) ${why} '${event}': ${this.#errors}`));
      };
      const timer = setTimeout(() => fail(`did not say within ${timeout} ms`), timeout);
      const waiter = {
        look: (line: Line | undefined): void => {
          if (line === undefined) fail('ended before it said');
          else if (line.event === event) {
            end();
            resolve(line);
          }
        },
      };
      this.#waiting.push(waiter);
      if (this.child.exitCode !== null || this.child.signalCode !== null) waiter.look(undefined);
    });
  }

  tell(text: string): void {
    this.child.stdin?.write(`${text}\n`);
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.exited;
  }
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const address = server.address();
  await new Promise((done) => server.close(done));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** Numbers from 0 to 1 that a seed repeats (mulberry32). */
export function chance(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t ^= t + Math.imul(t ^ (t >>> 7), 61 | t);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** The number given as `--<name>=<n>` on the command line. */
export function given(name: string, otherwise: number): number {
  const word = process.argv.find((each) => each.startsWith(`--${name}=`));
  return word === undefined ? otherwise : Number(word.slice(name.length + 3));
}

export function pause(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}

/** The one at a share of sorted numbers. */
export function quantile(numbers: readonly number[], share: number): number {
  const sorted = [...numbers].sort((x, y) => x - y);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}
