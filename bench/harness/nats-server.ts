import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { access, constants, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

/** A NATS server on a free port of the loopback. */
export interface NatsServer {
  /** `host:port` */
  readonly address: string;
  stop(): Promise<void>;
}

/** Debian installs it where an ordinary user's PATH does not lead. */
const places = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/bin'];

/** Where the program lies; undefined when it is not installed. */
export async function findNatsServer(): Promise<string | undefined> {
  for (const place of places) {
    const path = join(place, 'nats-server');
    try {
      await access(path, constants.X_OK);
      return path;
    } catch {
      // Not there.
    }
  }
  return undefined;
}

/** Starts the server. It ends with {@link NatsServer.stop}, and at the latest with this process. */
export async function startNatsServer(program: string): Promise<NatsServer> {
  const folder = await mkdtemp(join(tmpdir(), 'mailvan-bench-'));
  const config = join(folder, 'nats.conf');
  // A round's messages wait in the server when the subscriber is slower; the default of 64 MB would nearly do.
  await writeFile(config, 'max_pending: 268435456\n');
  const child = spawn(program, ['-c', config, '-a', '127.0.0.1', '-p', '-1', '--ports_file_dir', folder], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    if (said.length < 4096) said += chunk.toString();
  });
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  const kill = () => {
    child.kill('SIGKILL');
  };
  const abandon = () => {
    kill();
    rmSync(folder, { recursive: true, force: true });
  };
  process.once('exit', abandon);
  const stop = async () => {
    process.off('exit', abandon);
    if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) {
      child.kill('SIGTERM');
      const timer = setTimeout(kill, 2_000);
      await ended;
      clearTimeout(timer);
    }
    await rm(folder, { recursive: true, force: true });
  };
  try {
    return { address: await portOf(folder, ended), stop };
  } catch {
    await stop();
    throw new Error(`${program} does not start: ${said.trim() || 'it says nothing'}`);
  }
}

/** The server writes a file that names its port as soon as it listens. */
async function portOf(folder: string, ended: Promise<void>): Promise<string> {
  let running = true;
  void ended.then(() => {
    running = false;
  });
  for (let tries = 0; tries < 200 && running; tries++) {
    const file = (await readdir(folder)).find((name) => name.endsWith('.ports'));
    const text = file === undefined ? '' : await readFile(join(folder, file), 'utf8');
    const address = /"nats":\s*\[\s*"nats:\/\/(?<address>[^"]+)"/.exec(text)?.groups?.address;
    if (address !== undefined) return address;
    await new Promise((resolve) => {
      setTimeout(resolve, 25);
    });
  }
  throw new Error('no port');
}
