#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { type ArgsDef, runCommand } from 'citty';
import { nearest } from '../core/spelling.ts';
import { readArguments } from './arguments.ts';
import { type ExitCode, exitCodes, failureOf, misuse } from './failure.ts';
import { commandHelp, overallHelp } from './help.ts';
import type { Command, Invocation } from './invocation.ts';
import { Terminal } from './terminal.ts';

/** Each is loaded when it is asked for: `--version` should not wait for a bus. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  run: async () => (await import('./run.ts')).run,
  pub: async () => (await import('./pub.ts')).pub,
  sub: async () => (await import('./sub.ts')).sub,
  status: async () => (await import('./status.ts')).status,
  stop: async () => (await import('./stop.ts')).stop,
  explain: async () => (await import('./explain.ts')).explain,
  events: async () => (await import('./events.ts')).events,
  config: async () => (await import('./config.ts')).config,
  init: async () => (await import('./init.ts')).init,
  mailbox: async () => (await import('./mailbox.ts')).mailbox,
  dlq: async () => (await import('./dlq.ts')).dlq,
  store: async () => (await import('./store.ts')).store,
  nodes: async () => (await import('./nodes.ts')).nodes,
  promote: async () => (await import('./promote.ts')).promote,
  actors: async () => (await import('./actors.ts')).actors,
  secret: async () => (await import('./secret.ts')).secret,
  cert: async () => (await import('./cert.ts')).cert,
  top: async () => (await import('./top.ts')).top,
};

const isHelp = (argument: string | undefined): boolean => argument === '--help' || argument === '-h';

function version(): string {
  const file = new URL('../../package.json', import.meta.url); // as far from src/cli as from dist/cli
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

async function main(argv: readonly string[], terminal: Terminal): Promise<void> {
  const [name, ...rest] = argv;
  if (name === '--version' || name === '-v') {
    await terminal.line(version());
    return;
  }
  if (isHelp(name) || (name === 'help' && rest.length === 0)) {
    await terminal.line(await overallHelp(commands, version()));
    return;
  }
  if (name === 'help') return main([...rest, '--help'], terminal);
  const load = name !== undefined && Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (name === undefined || load === undefined) throw unknown(name);
  const command = await load();
  const before = rest.includes('--') ? rest.slice(0, rest.indexOf('--')) : rest;
  if (before.some(isHelp)) {
    await terminal.line(await commandHelp(name, command, terminal.hasColours));
    return;
  }
  const given = readArguments(name, rest, command.args as ArgsDef); // ours are plain objects
  await runCommand(command, { rawArgs: rest, data: { terminal, given } satisfies Invocation });
}

function unknown(name: string | undefined): Error {
  const names = Object.keys(commands);
  const list = `the commands are ${names.join(', ')}; 'mailvan --help' tells more`;
  if (name === undefined) return misuse('there is no command', list);
  if (name.startsWith('-')) return misuse(`there is no option ${name} here`, `options follow the command; ${list}`);
  const near = nearest(name, names);
  return misuse(`there is no command ${name}${near === undefined ? '' : `; did you mean ${near}?`}`, list);
}

const argv = process.argv.slice(2);
const terminal = new Terminal(argv.includes('--json'));
let exitCode: ExitCode = exitCodes.ok;
try {
  await main(argv, terminal);
} catch (error) {
  const failure = failureOf(error);
  terminal.fail(failure);
  if (process.connected) await (await import('./detaching.ts')).reportFailed(failure);
  exitCode = failure.exitCode;
}
await terminal.flush();
// A module that `run` has loaded may have left something open.
process.exit(exitCode);
