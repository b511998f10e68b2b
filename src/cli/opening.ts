import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { ArgsDef } from 'citty';
import { type Bus, createBus } from '../bus/bus.ts';
import { type BusConfig, defaultConfigFile, loadConfig } from '../bus/options/config.ts';
import type { BusOptions } from '../bus/options/options.ts';
import { BusError } from '../core/errors.ts';
import { silentLogger } from '../core/log.ts';
import { type ConnectionOptions, connect, connectionArguments } from './connection.ts';
import { Failure, failureOf, misuse } from './failure.ts';

const { leader: _, node: __, ...joining } = connectionArguments;

/** What a command takes that works on a folder, or on a cluster. */
export const openingArguments = {
  data: { type: 'string', valueHint: 'folder', description: 'The dataDir to work on; no process may have it open' },
  config: {
    type: 'string',
    valueHint: 'file',
    description: `A file of settings that names it (else ${defaultConfigFile})`,
  },
  connect: {
    type: 'string',
    valueHint: 'address',
    description: 'Ask a running cluster by its leader instead, whichever node the mailbox is on',
  },
  service: {
    type: 'string',
    valueHint: 'name',
    description: "Whose subscriptions bare names mean (else the file's, else default)",
  },
  ...joining,
} as const satisfies ArgsDef;

/** The opening options as they were given. */
export interface OpeningOptions extends Omit<ConnectionOptions, 'leader' | 'node'> {
  readonly data?: string | undefined;
  readonly config?: string | undefined;
  readonly connect?: string | undefined;
  readonly service?: string | undefined;
}

/** What a command works on. */
export interface Opened {
  readonly bus: Bus;
  /** The file of settings, when one was read. */
  readonly config: BusConfig | undefined;
}

/**
 * Opens the store of a node that does not run, as a bus that is in no cluster; or joins a cluster.
 *
 * @param makes whether a store that does not exist yet may be made.
 * @param reads whether the file of settings is needed in any case.
 */
export async function openFor(
  command: string,
  options: OpeningOptions,
  { makes, reads }: { makes: boolean; reads: boolean },
): Promise<Opened> {
  const { data, config: file, connect: address, shared, service } = options;
  if (address !== undefined && data !== undefined) {
    throw misuse('--connect asks the nodes that run, and --data opens a folder that none has open: give one of them');
  }
  if (shared !== undefined && (address !== undefined || data !== undefined)) {
    throw misuse('--shared names a folder that may be in use, so it needs neither --data nor --connect');
  }
  const elsewhere = address !== undefined || shared !== undefined;
  const wanted = reads || file !== undefined || (data === undefined && !elsewhere);
  const config = wanted ? await loadConfig(file ?? defaultConfigFile) : undefined;
  const own = service ?? config?.bus.service;
  const named = own === undefined ? {} : { service: own };
  if (elsewhere) return { bus: await connect(command, { ...options, leader: address }, undefined, named), config };
  const dataDir = data ?? config?.bus.dataDir;
  if (dataDir === undefined && config?.bus.shared !== undefined) {
    const { node: _, ...rest } = config.bus; // a process that runs may bear the name
    return { bus: await opened({ ...rest, logger: silentLogger, ...named }), config };
  }
  if (dataDir === undefined) {
    const hint = 'name the folder by --data, or ask the cluster by --connect <address>';
    throw misuse(`${config?.file} names no store: its durable subscriptions live at its leader`, hint);
  }
  if (!makes && !existsSync(join(dataDir, 'store'))) {
    const hint = "'mailvan init' makes one of a mailvan.config.json, and so does createBus({ dataDir })";
    throw new Failure({ code: 'NOT_FOUND', message: `there is no store in ${dataDir}`, exitCode: 1, hint });
  }
  const { node, durability, limits } = config?.bus ?? {};
  const given: BusOptions = {
    ...{ dataDir, logger: silentLogger, ...named },
    ...(node === undefined ? {} : { node }),
    ...(durability === undefined ? {} : { durability }),
    ...(limits === undefined ? {} : { limits }),
  };
  return { bus: await opened(given), config };
}

async function opened(options: BusOptions): Promise<Bus> {
  try {
    return await createBus(options);
  } catch (error) {
    throw explained(error);
  }
}

/** A node that runs holds the lock of its folder: it can be asked instead. */
function explained(error: unknown): Failure {
  const failure = failureOf(error);
  if (!(error instanceof BusError) || error.code !== 'STORE_LOCKED') return failure;
  const { code, message, exitCode, details } = failure;
  const hint = 'a node that runs has it open: ask it by --connect <address of its leader>, or stop it';
  return new Failure({ code, message, exitCode, details, hint });
}
