import { stripVTControlCharacters } from 'node:util';
import { renderUsage } from 'citty';
import type { Command } from './invocation.ts';

const examples: Readonly<Record<string, readonly string[]>> = {
  run: [
    'mailvan run --lead ./orders.js',
    'mailvan run --lead --listen tcp://10.0.8.1:1900 --secret-file ./secret ./orders.js',
    'mailvan run --leader tcp://10.0.8.1:1900 --secret-file ./secret ./invoices.js',
    'mailvan run --leader tcp://10.0.8.1:1900 --listen tcp://10.0.8.2:1900 --secret-file ./secret ./invoices.js',
    'mailvan run --data ./data --capabilities region=eu,gpu=2 ./kinds.js',
    'mailvan run --lead --data ./data --detach ./orders.js   # until: mailvan stop --data ./data',
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
  stop: [
    'mailvan stop',
    'mailvan stop --data ./data --timeout 20s --force',
    'mailvan stop --pid-file /run/mailvan/orders.pid',
  ],
  explain: ['mailvan explain orders.created', "mailvan explain orders.created --json | jq '.routes[].node'"],
  events: [
    'mailvan events',
    'mailvan events --type message.dead --type store --json',
    'mailvan events --of orders-1 --count 1 --timeout 5m',
  ],
  init: [
    'mailvan init',
    'mailvan init --config deploy/mailvan.config.json --update',
    'mailvan init --connect tcp://10.0.8.1:1900',
  ],
  mailbox: [
    'mailvan mailbox ls --data ./data',
    "mailvan mailbox add invoices 'orders\\..*' --data ./data",
    'mailvan mailbox peek billing/invoices --limit 5 --json --connect tcp://10.0.8.1:1900',
    'mailvan mailbox clear invoices --service billing --data ./data',
  ],
  dlq: [
    'mailvan dlq groups --data ./data',
    'mailvan dlq ls --subscription billing/invoices --since 2h --connect tcp://10.0.8.1:1900 --node orders-1',
    "mailvan dlq retry --error 'connection refused' --data ./data",
    'mailvan dlq export --data ./data > letters.ndjson',
  ],
  store: [
    'mailvan store verify --data ./data',
    'mailvan store backup ./backup --data ./data',
    'mailvan store backup monday --connect tcp://10.0.8.1:1900 --node orders-1',
    'mailvan store stats --data ./data --json',
  ],
  nodes: [
    'mailvan nodes ls',
    'mailvan nodes info writer-1 --json',
    'mailvan nodes drain writer-1 --timeout 2m',
    'mailvan nodes drain writer-1 --undo',
  ],
  promote: [
    'mailvan promote orders-2 --leader tcp://10.0.8.1:1900',
    'mailvan promote orders-2 --leader tcp://10.0.8.2:1900   # the leader is away: where orders-2 itself listens',
    'mailvan promote orders-2 --json',
  ],
  actors: [
    'mailvan actors ls',
    'mailvan actors tree',
    "mailvan actors spawn writer --name orders --pattern 'orders\\..*' --durable --where region=eu --where 'gpu>=2'",
    "mailvan actors explain writer --where 'region=eu|us' --where '!spot'",
    'mailvan actors rebalance orders',
    'mailvan actors stop orders',
  ],
  secret: ['mailvan secret > ./secret'],
  cert: [
    'mailvan cert gen ./pki orders-1 orders-2 cli',
    'mailvan run --lead --listen tls://10.0.8.1:1900 --tls-cert pki/orders-1.crt --tls-key pki/orders-1.key --tls-ca pki/ca.crt ./orders.js',
    'mailvan status --leader tls://10.0.8.1:1900 --tls-cert pki/cli.crt --tls-key pki/cli.key --tls-ca pki/ca.crt',
  ],
  top: ['mailvan top --interval 500ms', 'mailvan top --once'],
  config: ['mailvan config check', 'mailvan config check deploy/mailvan.config.json --json', 'mailvan config schema'],
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
  '  7  the store is damaged',
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
    '`run`, `pub`, `sub`, `status`, `explain`, `events`, `nodes`, `promote`, `actors` and `top` join the leader at --leader,',
    'at MAILVAN_LEADER, or at tcp://127.0.0.1:1900. `stop` ends what `run --detach` or `run --pid-file` has started.',
    '`init`, `mailbox`, `dlq` and `store` open the folder of a node that does not run, or join a cluster by --connect.',
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
