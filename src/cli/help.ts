import { stripVTControlCharacters } from 'node:util';
import { renderUsage } from 'citty';
import type { Command } from './invocation.ts';

const examples: Readonly<Record<string, readonly string[]>> = {
  run: [
    'mailvan run --lead ./orders.js',
    'mailvan run --lead --listen tcp://10.0.8.1:1900 --secret-file ./secret ./orders.js',
    'mailvan run --leader tcp://10.0.8.1:1900 --secret-file ./secret ./invoices.js',
  ],
  pub: [
    "mailvan pub orders.created 'hello'",
    'mailvan pub orders.created \'{"id": 7}\' --json-payload --key 7 --header trace=abc',
    'tail -f access.log | mailvan pub log.access --at-least 0',
  ],
  sub: [
    "mailvan sub 'orders\\..*'",
    "mailvan sub 'orders.#' --wildcard --json | jq .payload",
    'mailvan sub orders.created --count 1 --timeout 30s',
  ],
  status: ['mailvan status', "mailvan status --json | jq '.members[].node'"],
};

const exitCodes = [
  'EXIT CODES',
  '',
  '  0  ok',
  '  1  failed',
  '  2  not called as it should be',
  '  3  cannot connect, or a node could not be reached',
  '  5  nobody subscribed',
  '  6  time was up',
];

/** What `mailvan <command> --help` prints. */
export async function commandHelp(name: string, command: Command, colours: boolean): Promise<string> {
  const usage = await renderUsage(command, { meta: { name: 'mailvan' } });
  const lines = [
    usage.replace(/ +$/gm, '').trimEnd(),
    '',
    'EXAMPLES',
    '',
    ...(examples[name] ?? []).map((line) => `  ${line}`),
  ];
  const text = [...lines, '', ...exitCodes].join('\n');
  return colours ? text : stripVTControlCharacters(text);
}

/** What `mailvan --help` prints. */
export async function overallHelp(
  commands: Readonly<Record<string, () => Promise<Command>>>,
  version: string,
): Promise<string> {
  const rows: string[] = [];
  for (const [name, load] of Object.entries(commands)) {
    const { meta } = await load();
    const description = (meta as { description?: string } | undefined)?.description; // ours are plain objects
    rows.push(`  ${name.padEnd(8)}${description ?? ''}`);
  }
  return [
    `mailvan ${version}: an embeddable message bus, from the command line`,
    '',
    'USAGE',
    '',
    '  mailvan <command> [arguments] [options]',
    '  mailvan <command> --help',
    '',
    'COMMANDS',
    '',
    ...rows,
    '',
    'Every command but `run --lead` joins the leader at --leader, at MAILVAN_LEADER, or at tcp://127.0.0.1:1900.',
    '',
    'EXAMPLES',
    '',
    '  mailvan run --lead ./orders.js           # one terminal: a leader, and what the module subscribes',
    "  mailvan sub 'orders\\..*'                 # another one: see what is published",
    "  mailvan pub orders.created 'hello'       # a third one",
    '',
    ...exitCodes,
  ].join('\n');
}
