import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, constants, mkdir, mkdtemp, readFile, rm, statfs, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Debian installs servers where an ordinary user's PATH does not lead. */
const places = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/bin'];
const inMemory = 0x01021994; // TMPFS_MAGIC

/** Where a program lies; undefined when it is not installed. */
export async function find(program: string): Promise<string | undefined> {
  for (const place of places) {
    const path = join(place, program);
    try {
      await access(path, constants.X_OK);
      return path;
    } catch {
      // Not there.
    }
  }
  return undefined;
}

/** A fresh folder on a disk: not where temporary files lie when that is memory. */
export async function freshFolder(): Promise<string> {
  const { type } = await statfs(tmpdir());
  const parent = type === inMemory ? fileURLToPath(new URL('..', import.meta.url)) : tmpdir();
  return mkdtemp(join(parent, 'mailvan-durable-'));
}

/** A peer's server on the loopback, whose data outlive it. */
export class Server {
  readonly address: string;
  readonly #program: string;
  readonly #args: readonly string[];
  readonly #ready: (port: number) => Promise<boolean>;
  readonly #port: number;
  #child: ChildProcess | undefined;
  readonly #abandon = () => {
    this.#child?.kill('SIGKILL');
  };

  private constructor(
    program: string,
    args: readonly string[],
    port: number,
    ready: (port: number) => Promise<boolean>,
  ) {
    this.#program = program;
    this.#args = args;
    this.#port = port;
    this.#ready = ready;
    this.address = `127.0.0.1:${port}`;
  }

  static async jetstream(program: string, folder: string): Promise<Server> {
    const port = await freePort();
    const config = join(folder, 'nats.conf');
    await mkdir(folder, { recursive: true });
    await writeFile(
      config,
      `max_pending: 268435456\njetstream { store_dir: ${JSON.stringify(join(folder, 'js'))}, max_file_store: 20G }\n`,
    );
    // Clients are let in when the store has been read.
    const server = new Server(program, ['-c', config, '-a', '127.0.0.1', '-p', `${port}`], port, (at) =>
      says(at, '', 'INFO'),
    );
    await server.start();
    return server;
  }

  static async redis(program: string, folder: string): Promise<Server> {
    const port = await freePort();
    await mkdir(folder, { recursive: true });
    // Neither snapshots nor rewrites of the log: they would only cost it.
    const args = [
      ...['--port', `${port}`, '--bind', '127.0.0.1', '--dir', folder, '--save', ''],
      ...['--appendonly', 'yes', '--appendfsync', 'always', '--auto-aof-rewrite-percentage', '0'],
    ];
    const server = new Server(program, args, port, (at) => says(at, 'PING\r\n', '+PONG'));
    await server.start();
    return server;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** @returns milliseconds until it answers. */
  async start(): Promise<number> {
    const start = performance.now();
    const child = spawn(this.#program, [...this.#args], { stdio: 'ignore' });
    this.#child = child;
    process.once('exit', this.#abandon);
    let failed: unknown;
    child.once('error', (error) => {
      failed = error;
    });
    while (!(await this.#ready(this.#port))) {
      if (failed !== undefined || child.exitCode !== null || performance.now() - start > 60_000)
        throw new Error(`${this.#program} does not start`, { cause: failed });
      await new Promise((resolve) => {
        setTimeout(resolve, 2);
      });
    }
    return performance.now() - start;
  }

  /** At once and without a farewell, as in a crash. */
  async kill(): Promise<void> {
    process.off('exit', this.#abandon);
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }
}

/** Anonymous memory of a process, in MiB: without mapped files, which the kernel can drop. */
export async function anonymousMemory(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/RssAnon:\s+(\d+) kB/.exec(text)?.[1]) / 1024;
}

/** Removes what a run left behind. */
export function remove(folder: string): Promise<void> {
  return rm(folder, { recursive: true, force: true, maxRetries: 3 });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // of a TCP server that listens
  server.close();
  await once(server, 'close');
  return port;
}

function says(port: number, question: string, answer: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    const end = (result: boolean) => {
      socket.destroy();
      resolve(result);
    };
    socket.setTimeout(5_000, () => end(false));
    socket.on('error', () => end(false));
    socket.on('connect', () => question !== '' && socket.write(question));
    socket.on('data', (chunk) => end(chunk.toString('latin1').startsWith(answer)));
    socket.on('close', () => end(false));
  });
}
