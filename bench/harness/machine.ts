import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { arch, cpus, release, type as system, totalmem } from 'node:os';
import { promisify } from 'node:util';
import { find } from '../durable-lib/servers.ts';
import { findNatsServer } from './nats-server.ts';

/** Where a run was made. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memory: string;
  readonly system: string;
}

export function machine(): Machine {
  const list = cpus();
  return {
    cpu: list[0]?.model ?? 'unknown',
    cores: list.length,
    memory: `${(totalmem() / 1024 ** 3).toFixed(1)} GiB`,
    system: `${system()} ${release()}, ${arch()}`,
  };
}

/** The version of everything that takes part. */
export async function versions(): Promise<Record<string, string>> {
  const found: Record<string, string> = { node: process.versions.node };
  found.mailvan = await versionIn('../../package.json');
  for (const peer of ['moleculer', 'nact', 'nats', 'ioredis'])
    found[peer] = await versionIn(`../node_modules/${peer}/package.json`);
  const server = await findNatsServer();
  if (server !== undefined) {
    const { stdout } = await promisify(execFile)(server, ['--version']);
    found['nats-server'] = stdout.trim().replace(/^nats-server: v/, '');
  }
  const redis = await find('redis-server');
  if (redis !== undefined) {
    const { stdout } = await promisify(execFile)(redis, ['--version']);
    found['redis-server'] = /v=(\S+)/.exec(stdout)?.[1] ?? 'unknown';
  }
  return found;
}

async function versionIn(path: string): Promise<string> {
  const { version } = JSON.parse(await readFile(new URL(path, import.meta.url), 'utf8')) as { version: string }; // npm wrote it
  return version;
}
