import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';
import { VirtualClock } from '../../src/core/virtual-clock.ts';
import { prefixRange, type Store } from '../../src/storage/store.ts';

/** A folder on the disk that is removed after the test. */
export function tempFolder(t: { after(fn: () => unknown): void }): string {
  const folder = mkdtempSync(join(tmpdir(), 'mailvan-store-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** The files of a folder by name; LOG and LOCK, which hold no data, left out. */
export function filesOf(folder: string): Map<string, Buffer> {
  const names = readdirSync(folder).filter((name) => !/^(LOG|LOG\.old|LOCK)$/.test(name));
  return new Map(
    names
      .sort()
      .filter((name) => statSync(join(folder, name)).isFile())
      .map((name) => [name, readFileSync(join(folder, name))]),
  );
}

/** Seeded dice; print the seed with a failure. */
export function diceOf(seed: number): (sides: number) => number {
  const clock = new VirtualClock(seed);
  return (sides) => Math.floor(clock.random() * sides);
}

export function keyOf(n: number): string {
  return `n/${String(n).padStart(8, '0')}`;
}

/** A value that belongs to its number and no other, of a length that differs from number to number. */
export function bytesOf(n: number): Uint8Array {
  return Buffer.alloc(20 + ((n * 7919) % 900), `${n}.`);
}

/** Writes numbered entries, one a batch. */
export async function fill(store: Store, from: number, to: number, sync = false): Promise<void> {
  for (let n = from; n < to; n++) await store.write([{ type: 'put', key: keyOf(n), value: bytesOf(n) }], sync);
}

/** The numbers that a store holds, in order; throws when a value is not the one of its number. */
export async function numbersOf(store: Store): Promise<number[]> {
  const found: number[] = [];
  for await (const [key, value] of store.scan(prefixRange('n/'))) {
    const n = Number(key.slice(2));
    if (Buffer.compare(value, bytesOf(n)) !== 0) throw new Error(`${key} has a wrong value`);
    found.push(n);
  }
  return found;
}

export function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}

/** A program in a process of its own. */
export interface Child {
  readonly process: ChildProcess;
  /** What it prints, line by line. */
  readonly lines: AsyncIterableIterator<string>;
  /** Resolves to all that it printed once it has ended; rejects when it failed. */
  readonly end: Promise<string>;
}

const root = new URL('../../', import.meta.url);

const prelude = `
const { LevelStore } = await import(${JSON.stringify(new URL('src/storage/level.ts', root).href)});
const { openFolder } = await import(${JSON.stringify(new URL('src/storage/folder.ts', root).href)});
const { Ballast } = await import(${JSON.stringify(new URL('src/storage/ballast.ts', root).href)});
const { fill, numbersOf, keyOf, bytesOf } = await import(${JSON.stringify(import.meta.url)});
const fs = await import('node:fs');
const say = (value) => fs.writeSync(1, JSON.stringify(value) + '\\n');
const codeOf = async (work) => { try { await work; return 'ok'; } catch (error) { return error.code ?? String(error); } };
`;

/** The arguments of node for a program that may use the storage room by name; its own are from `process.argv[1]` on. */
export function program(body: string, ...args: string[]): string[] {
  return ['--import', 'tsx', '--input-type=module', '--eval', prelude + body, ...args];
}

/** Starts a program; it is killed when the test ends. */
export function start(t: TestContext, command: string, args: readonly string[]): Child {
  const child = spawn(command, args, { cwd: root, stdio: ['pipe', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const end = new Promise<string>((done, fail) => {
    child.on('error', fail);
    child.on('close', (code) => (code === 0 ? done(output) : fail(new Error(`it ended with ${code}: ${output}`))));
  });
  end.catch(() => undefined);
  t.after(() => child.kill('SIGKILL'));
  return { process: child, lines, end };
}

/** Why no small volume can be mounted here, or false: then {@link onTmpfs} works. Never skipped when strict. */
export const noTmpfs: string | false =
  process.env.MAILVAN_TEST_STRICT === '1' ||
  spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status === 0
    ? false
    : 'needs the right to mount a tmpfs in a namespace (unshare -m)';

/** Runs programs one after the other on a volume of 4 MiB, which is theirs alone; its folder is their first argument. */
export function onTmpfs(t: TestContext, ...bodies: string[]): Child {
  const folder = tempFolder(t);
  const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
  const runs = bodies.map((body) => [process.execPath, ...program(body, folder)].map(quote).join(' '));
  const script = `mount -t tmpfs -o size=4m tmpfs ${quote(folder)} && { ${runs.join(' ; ')} ; }`;
  return start(t, 'unshare', ['-m', 'sh', '-c', script]);
}
