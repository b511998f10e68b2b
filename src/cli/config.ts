import { defineCommand } from 'citty';
import { type BusConfig, defaultConfigFile, loadConfig } from '../bus/options/config.ts';
import { configSchema } from '../bus/options/config-schema.ts';
import { nearest } from '../core/spelling.ts';
import { Failure, failureOf, misuse } from './failure.ts';
import type { Invocation } from './invocation.ts';

const actions = ['check', 'schema'];
const help = "'mailvan config --help' tells more";

/** `mailvan config check [file]` and `mailvan config schema` */
export const config = defineCommand({
  meta: { name: 'config', description: 'Check a file of settings, or print the JSON Schema of such files' },
  args: {
    action: { type: 'positional', required: true, description: 'check: the file and what it names; or schema' },
    file: { type: 'positional', required: false, description: `For check: the file (else ${defaultConfigFile})` },
    json: { type: 'boolean', description: 'Print one line of JSON; errors too, on stderr' },
  },
  run: async ({ args, data }) => {
    const { terminal } = data as Invocation; // main.ts hands it to every command
    const { action, file } = args;
    if (action === 'schema') {
      if (file !== undefined) throw misuse(`schema takes no file, and ${JSON.stringify(file)} was given`, help);
      await terminal.line(JSON.stringify(configSchema(), null, terminal.json ? 0 : 2));
      return;
    }
    if (action !== 'check') throw unknownAction(action);
    const path = file ?? defaultConfigFile;
    const loaded = await loadConfig(path).catch((error: unknown) => {
      throw explained(error);
    });
    await terminal.line(terminal.json ? JSON.stringify(factsOf(loaded)) : `${path}: ${summaryOf(loaded)}`);
  },
});

function unknownAction(action: string): Failure {
  const near = nearest(action, actions);
  const hint = near === undefined ? '' : `; did you mean ${near}?`;
  return misuse(`config has no action ${JSON.stringify(action)}${hint}`, help);
}

/** The hints of the other commands speak of options, which is not where this came from. */
function explained(error: unknown): Failure {
  const failure = failureOf(error);
  const { code, message, exitCode, details, trace } = failure;
  if (trace !== undefined) return failure;
  const hint = "'mailvan config schema' prints everything that the file may hold";
  return new Failure({ code, message, exitCode, details, hint });
}

/** What it would open, for a program. The secret is not part of it, but whether there is one. */
function factsOf({ file, bus, subscriptions }: BusConfig): Record<string, unknown> {
  const {
    node,
    cluster = 'default',
    service = 'default',
    leader,
    listen,
    dataDir,
    durability,
    secret,
    tls,
    capabilities,
  } = bus;
  return {
    file,
    role: roleOf(bus),
    node,
    cluster,
    service,
    leader,
    listen,
    secret: secret !== undefined,
    tls: tls !== undefined,
    dataDir,
    durability,
    capabilities,
    subscriptions: subscriptions.map(({ name, pattern }) => ({ name, pattern: pattern.text })),
  };
}

function roleOf({ leader }: BusConfig['bus']): 'alone' | 'leader' | 'leaf' {
  return leader === undefined ? 'alone' : leader === true ? 'leader' : 'leaf';
}

function summaryOf({ bus, subscriptions }: BusConfig): string {
  const { node, cluster = 'default', leader, tls, dataDir, durability = 'fsync' } = bus;
  const { listen = `${tls === undefined ? 'tcp' : 'tls'}://127.0.0.1:1900` } = bus;
  const who = node === undefined ? 'a node' : `node ${node}`;
  const place = {
    alone: 'that stands alone',
    leader: `that leads cluster '${cluster}' at ${listen}`,
    leaf: `that joins cluster '${cluster}' at ${leader}`,
  }[roleOf(bus)];
  const kept = dataDir === undefined ? 'no store' : `its store in ${dataDir} (${durability})`;
  const count = `${subscriptions.length} durable subscription${subscriptions.length === 1 ? '' : 's'}`;
  return `opens ${who} ${place}, with ${kept} and ${count}`;
}
