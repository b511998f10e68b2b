import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { defineCommand } from 'citty';
import type { Bus } from '../bus/bus.ts';
import type { BusStatus } from '../bus/status.ts';
import { closeAll, deferred } from '../core/async.ts';
import { systemClock } from '../core/clock.ts';
import { BusError, describe } from '../core/errors.ts';
import { connect, connectionArguments } from './connection.ts';
import { capabilitiesOf } from './constraints.ts';
import { detachingArguments, isElsewhere, reportRunning } from './detaching.ts';
import { exitCodes, Failure, misuse } from './failure.ts';
import type { Invocation } from './invocation.ts';
import { watch } from './notices.ts';
import { listenForStop } from './signals.ts';

/** What a module exports by default: defines subscriptions and kinds of handler actors, and may return what is to be called at the end. */
export type Definition = (bus: Bus) => unknown;

/** How long what the module returned may take at the end, in milliseconds; the bus then has as long again. */
const closingTime = 30_000;

/** `mailvan run <module>` */
export const run = defineCommand({
  meta: { name: 'run', description: 'Run the subscriptions and kinds that a module defines, until a signal ends it' },
  args: {
    module: {
      type: 'positional',
      required: true,
      description: 'A file whose default export gets the bus: (bus) => { … }',
    },
    lead: { type: 'boolean', description: 'Make this node the leader' },
    listen: {
      type: 'string',
      valueHint: 'address',
      description:
        'Where to listen: with --lead (else tcp://127.0.0.1:1900), or with --leader, so that this node can be promoted',
    },
    insecure: { type: 'boolean', description: 'With --listen: allow other machines without a secret or TLS' },
    data: {
      type: 'string',
      valueHint: 'folder',
      description:
        "This node's dataDir, for durable mailboxes and what it forwards (else it keeps everything in memory)",
    },
    capabilities: {
      type: 'string',
      valueHint: 'k=v,k2=v2',
      description: 'What this node can do, for placements that ask for it: true, false, numbers or text',
    },
    ...detachingArguments,
    ...connectionArguments,
  },
  run: async ({ args, data, rawArgs }) => {
    const { terminal, given } = data as Invocation; // main.ts hands it to every command
    if (await isElsewhere(args, rawArgs, terminal)) return;
    const { lead = false, listen, insecure = false, data: dataDir } = args;
    if (!lead && listen !== undefined && args.leader === undefined && process.env.MAILVAN_LEADER === undefined)
      throw misuse('--listen: is this node to lead, or to follow?', 'add --lead, or where the leader is by --leader');
    if (lead && args.leader !== undefined) throw misuse('a node cannot lead and join: give --lead or --leader');
    const capabilities = capabilitiesOf(given.values('capabilities'));
    const define = await definitionOf(args.module);
    const bus = await connect(
      'run',
      args,
      { lead, listen, insecure },
      {
        capabilities,
        ...(dataDir === undefined ? {} : { dataDir }),
      },
    );
    const stop = listenForStop();
    let end: unknown;
    try {
      watch(bus, terminal);
      end = await define(bus);
      const status = await bus.status();
      const subscriptions = status.subscriptions.map(({ name, pattern }) => ({ name, pattern }));
      const { node, role, cluster, address, leader } = status;
      const kinds = bus.handlers.names;
      const running = { node, role, cluster, address, leader: leader?.node, subscriptions, kinds };
      terminal.note(greetingOf(status, kinds), { running });
      reportRunning(running);
      const reason = await stop.asked;
      if (reason === 'idle') throw closedByItself();
      terminal.note(`${reason}: closing; a second one ends it at once`, { closing: reason });
    } finally {
      // What the module ends may still be needed by the actors that run here: they leave first.
      await closeAll([() => handOver(bus), () => callEnd(end), () => bus.close({ timeout: closingTime })]);
      stop.end();
    }
  },
});

async function definitionOf(module: string): Promise<Definition> {
  const path = resolve(module);
  let loaded: { default?: unknown };
  try {
    loaded = await import(pathToFileURL(path).href);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ERR_UNKNOWN_FILE_EXTENSION') {
      const hint = 'compile it, run it with Node 22.18 or later, or start node with --import tsx';
      throw misuse(`${module}: this Node (${process.version}) cannot read such a file`, hint);
    }
    if (code === 'ERR_MODULE_NOT_FOUND' && message.includes(`'${path}'`)) throw misuse(`there is no file ${path}`);
    throw error;
  }
  const { default: define } = loaded;
  if (typeof define === 'function') return define as Definition;
  throw misuse(
    `${module} exports ${define === undefined ? 'no default' : `${describe(define)} as its default`}`,
    "write: export default async (bus) => { await bus.subscribe('orders\\\\..*', (message) => { … }); };",
  );
}

function greetingOf(status: BusStatus, kinds: readonly string[]): string {
  const { node, role, cluster, address, leader, subscriptions } = status;
  const place = role === 'leader' ? 'leads' : `follows ${leader?.node ?? 'whoever leads'} in`;
  const where = address === undefined ? '' : `${role === 'leader' ? '' : ' and listens'} at ${address}`;
  const names = subscriptions.map(({ name, pattern }) => `\n  ${name}  ${pattern}`).join('');
  const count = `${subscriptions.length} subscription${subscriptions.length === 1 ? '' : 's'}`;
  const defined = kinds.length === 0 ? '' : ` and the kind${kinds.length === 1 ? '' : 's'} ${kinds.join(', ')}`;
  return `${node} ${place} cluster '${cluster}'${where}, with ${count}${defined}; Ctrl-C ends${names}`;
}

/** Has other nodes take over the handler actors that run here. What does not make it in time, `close()` ends. */
async function handOver(bus: Bus): Promise<void> {
  if (bus.handlers.names.length === 0 || bus.state !== 'running') return;
  await bus.placements.drain(bus.node, { timeout: closingTime }).catch((error: unknown) => {
    if (!(error instanceof BusError) || error.code !== 'TIMEOUT') throw error;
  });
}

async function callEnd(end: unknown): Promise<void> {
  if (typeof end !== 'function') return;
  const late = deferred<never>();
  const timer = systemClock.timer(closingTime, () =>
    late.reject(
      new Failure({
        code: 'TIMEOUT',
        message: `the function that the module returned did not end within ${closingTime / 1000} s`,
        exitCode: exitCodes.failed,
      }),
    ),
  );
  try {
    await Promise.race([end(), late.promise]);
  } finally {
    timer.cancel();
  }
}

function closedByItself(): Failure {
  return new Failure({
    code: 'CLOSED',
    message: 'the bus has closed by itself: a part of it failed for good',
    exitCode: exitCodes.failed,
    hint: 'see why by --log-level warn, and start it again',
  });
}
