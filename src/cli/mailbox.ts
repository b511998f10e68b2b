import { defineCommand } from 'citty';
import type { Bus } from '../bus/bus.ts';
import type { MailboxInfo, MailboxStats } from '../bus/durable/mailbox-control.ts';
import type { PeekedMessage } from '../bus/durable/peeking.ts';
import { wildcard } from '../routing/pattern.ts';
import { type Actions, checkAction } from './actions.ts';
import { readCount } from './arguments.ts';
import type { Invocation } from './invocation.ts';
import { openFor, openingArguments } from './opening.ts';
import { plain, portable } from './rendering.ts';
import { numberOf, tableOf } from './table.ts';
import type { Terminal } from './terminal.ts';

const actions: Actions = {
  ls: [],
  stats: ['name'],
  peek: ['name'],
  clear: ['name'],
  prune: ['name'],
  add: ['name', 'pattern'],
  rm: ['name'],
};

/** `mailvan mailbox <action> [name] [pattern]` */
export const mailbox = defineCommand({
  meta: { name: 'mailbox', description: 'Look into durable mailboxes, and look after them' },
  args: {
    action: { type: 'positional', required: true, description: Object.keys(actions).join(', ') },
    name: { type: 'positional', required: false, description: 'The subscription: its name, or <service>/<name>' },
    pattern: {
      type: 'positional',
      required: false,
      description: 'For add: a regular expression that must match the whole topic',
    },
    limit: { type: 'string', valueHint: 'n', description: 'For peek: how many messages (else 20, at most 1000)' },
    from: { type: 'string', valueHint: 'position', description: 'For peek: where to begin, as peek --json shows it' },
    wildcard: { type: 'boolean', description: 'For add: the pattern is an AMQP wildcard: * is a word, # any number' },
    update: { type: 'boolean', description: 'For add: changes the pattern of one that exists' },
    discard: { type: 'boolean', description: 'For rm: although messages wait in it' },
    lost: {
      type: 'boolean',
      description: 'For rm, with --connect: its home will not return; what is spooled for it becomes dead letters',
    },
    ...openingArguments,
  },
  run: async ({ args, data }) => {
    const { terminal } = data as Invocation; // main.ts hands it to every command
    const { action, name = '', pattern = '' } = args;
    checkAction('mailbox', actions, action, { name: args.name, pattern: args.pattern });
    const limit = args.limit === undefined ? 20 : readCount('--limit', args.limit, 1);
    const { bus } = await openFor('mailbox', args, { makes: action === 'add', reads: false });
    try {
      const { mailboxes } = bus;
      if (action === 'ls') await showList(terminal, await mailboxes.list());
      else if (action === 'stats') await showStats(terminal, await mailboxes.stats(name));
      else if (action === 'peek') {
        const from = args.from === undefined ? {} : { from: args.from };
        for (const message of await mailboxes.peek(name, { limit, ...from })) await showMessage(terminal, message);
      } else
        await change(bus, terminal, action, name, {
          pattern: args.wildcard === true ? wildcard(pattern) : pattern,
          update: args.update === true,
          discard: args.discard === true,
          lost: args.lost === true,
        });
    } finally {
      await bus.close();
    }
  },
});

interface Changes {
  readonly pattern: Parameters<Bus['mailboxes']['add']>[0]['pattern'];
  readonly update: boolean;
  readonly discard: boolean;
  readonly lost: boolean;
}

async function change(
  { mailboxes }: Bus,
  terminal: Terminal,
  action: string,
  name: string,
  { pattern, update, discard, lost }: Changes,
): Promise<void> {
  const tell = async (text: string, facts: object): Promise<void> =>
    void (await terminal.line(terminal.json ? JSON.stringify(facts) : text));
  if (action === 'add') {
    const added = await mailboxes.add({ name, pattern, update });
    await tell(`${added.name} ${added.outcome}, on node ${added.home}`, added);
  } else if (action === 'rm') {
    await mailboxes.remove(name, { discard, lost });
    await tell(`${name} removed${lost ? ': its home counts as lost' : ''}`, { name, removed: true, lost });
  } else {
    const count = action === 'clear' ? await mailboxes.clear(name) : await mailboxes.prune(name);
    const verb = action === 'clear' ? 'cleared' : 'pruned';
    await tell(`${numberOf(count)} message${count === 1 ? '' : 's'} ${verb}`, { name, [verb]: count });
  }
}

const columns = [
  { title: 'NAME' },
  { title: 'PATTERN' },
  { title: 'HOME' },
  { title: 'WAITING', numeric: true },
  { title: 'PARKED', numeric: true },
  { title: 'RUNNING', numeric: true },
  { title: 'BYTES', numeric: true },
  { title: 'CONSUMERS', numeric: true },
  { title: 'OLDEST', numeric: true },
];

async function showList(terminal: Terminal, list: readonly MailboxInfo[]): Promise<void> {
  if (terminal.json) {
    for (const info of list) await terminal.line(JSON.stringify(info));
    return;
  }
  if (list.length === 0) {
    await terminal.line("There is no durable mailbox: make one by 'mailvan mailbox add <name> <pattern>'");
    return;
  }
  const strong = (text: string): string => (terminal.hasColours ? `\u001b[1m${text}\u001b[22m` : text);
  for (const line of tableOf(columns, list.map(rowOf), strong)) await terminal.line(line);
}

function rowOf(info: MailboxInfo): string[] {
  const { name, pattern, home, reachable, waiting, parked, running, bytes, consumers, oldest } = info;
  if (!reachable) return [name, plain(pattern), `${home} (no answer)`];
  const counts = [waiting, parked, running, bytes, consumers].map(numberOf);
  return [name, plain(pattern), home, ...counts, oldest === undefined ? '' : ageOf(oldest)];
}

async function showStats(terminal: Terminal, stats: MailboxStats): Promise<void> {
  if (terminal.json) {
    await terminal.line(JSON.stringify(stats));
    return;
  }
  const { policy: _, name, pattern, oldest, createdAt, ...numbers } = stats;
  const facts = {
    ...{ name, pattern: plain(pattern), ...numbers },
    ...(oldest === undefined ? {} : { oldest: ageOf(oldest) }),
    createdAt: new Date(createdAt).toISOString(),
  };
  for (const [fact, value] of Object.entries(facts)) {
    await terminal.line(`${fact.padEnd(10)} ${typeof value === 'number' ? numberOf(value) : value}`);
  }
}

async function showMessage(terminal: Terminal, message: PeekedMessage): Promise<void> {
  const { topic, payload, attempt, dueAt, problem } = message;
  if (terminal.json) {
    await terminal.line(JSON.stringify(portable(message)));
    return;
  }
  const due = dueAt === undefined ? '' : `, due ${new Date(dueAt).toISOString()}`;
  await terminal.line(`${plain(topic)}  ${problem ?? plain(payload)}  (attempt ${attempt}${due})`);
}

/** A time in milliseconds, as coarse as it is read. */
function ageOf(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${Math.round(ms / 1000)} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  return ms < 172_800_000 ? `${Math.round(ms / 3_600_000)} h` : `${Math.round(ms / 86_400_000)} d`;
}
