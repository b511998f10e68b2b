import { defineCommand } from 'citty';
import type { DeadLetterBox, DeadLetterChoice, DeadLetterFilter } from '../actors/dead-letters.ts';
import type { Bus } from '../bus/bus.ts';
import { systemClock } from '../core/clock.ts';
import { nearest } from '../core/spelling.ts';
import { wildcard } from '../routing/pattern.ts';
import { readCount, readDuration } from './arguments.ts';
import { misuse } from './failure.ts';
import type { Invocation } from './invocation.ts';
import { groupTable, letterJson, letterLines, letterTable } from './letters.ts';
import { openFor, openingArguments } from './opening.ts';
import { numberOf } from './table.ts';
import type { Terminal } from './terminal.ts';

const actions = ['ls', 'show', 'groups', 'retry', 'drop', 'export'];
const help = "'mailvan dlq --help' tells more";
/** How many letters are in memory at a time: each may be a MiB large. */
const page = 50;

const filterArguments = {
  subscription: { type: 'string', valueHint: 'name', description: 'Only of this subscription' },
  topic: { type: 'string', valueHint: 'pattern', description: 'Only on topics that this regular expression matches' },
  wildcard: { type: 'boolean', description: 'The pattern is an AMQP wildcard: * is a word, # any number of them' },
  error: { type: 'string', valueHint: 'text', description: 'Only with this text in an error, or of this fingerprint' },
  reason: { type: 'string', valueHint: 'word', description: 'Only given up for this reason: attempts, permanent, …' },
  since: { type: 'string', valueHint: 'time', description: 'Only given up since then: 2h ago, or 2026-01-31T12:00Z' },
  until: { type: 'string', valueHint: 'time', description: 'Only given up before then' },
  after: { type: 'string', valueHint: 'id', description: 'Only behind this letter: for the next page' },
  limit: { type: 'string', valueHint: 'n', description: 'At most so many (ls else 100, groups else 100)' },
} as const;

type FilterOptions = { readonly [K in keyof typeof filterArguments]?: string | boolean | undefined };

/** `mailvan dlq <action> [id]` */
export const dlq = defineCommand({
  meta: { name: 'dlq', description: 'Look into the dead letters of a node; retry, drop or export them' },
  args: {
    action: { type: 'positional', required: true, description: actions.join(', ') },
    id: {
      type: 'positional',
      required: false,
      description: 'For show: a letter; for retry and drop: one, or several with commas between them',
    },
    ...filterArguments,
    all: { type: 'boolean', description: 'For retry and drop: every letter' },
    node: { type: 'string', valueHint: 'name', description: "With --connect: whose letters (else the leader's)" },
    ...openingArguments,
  },
  run: async ({ args, data }) => {
    const { terminal } = data as Invocation; // main.ts hands it to every command
    const { action, id, node: named, ...opening } = args;
    const filter = filterOf(args);
    check(action, id, filter, args.all === true);
    if (named !== undefined && args.connect === undefined) throw misuse('--node is for --connect', help);
    const { bus } = await openFor('dlq', opening, { makes: false, reads: false });
    try {
      const node = named ?? (await bus.status()).leader?.node ?? bus.node;
      const box = bus.deadLettersOf(node);
      if (action === 'ls') await list(terminal, box, filter);
      else if (action === 'groups') await groups(terminal, box, filter);
      else if (action === 'export') await exportAll(terminal, bus, node, box, filter);
      else if (action === 'show') {
        const letter = await box.get(id ?? '');
        for (const line of terminal.json ? [letterJson(letter)] : letterLines(letter)) await terminal.line(line);
      } else
        await move(
          terminal,
          box,
          action === 'retry' ? 'replay' : 'drop',
          id === undefined ? { filter } : id.split(','),
        );
    } finally {
      await bus.close();
    }
  },
});

function check(action: string, id: string | undefined, filter: DeadLetterFilter, all: boolean): void {
  if (!actions.includes(action)) {
    const near = nearest(action, actions);
    const hint = near === undefined ? '' : `; did you mean ${near}?`;
    throw misuse(`dlq has no action ${JSON.stringify(action)}${hint}`, help);
  }
  const filtered = Object.keys(filter).length > 0;
  const moves = action === 'retry' || action === 'drop';
  if (action === 'show' && id === undefined) throw misuse('<id> is missing', help);
  if (id !== undefined && !moves && action !== 'show') throw misuse(`${action} takes no id`, help);
  if (id !== undefined && (filtered || all)) throw misuse('an id says which letter: leave the filters out', help);
  if (all && (!moves || filtered)) throw misuse('--all is for retry and drop, without a filter', help);
  if (moves && id === undefined && !filtered && !all) {
    throw misuse(
      `${action} needs ids or a filter, or --all for every letter`,
      "'mailvan dlq groups' shows what there is",
    );
  }
}

function filterOf(options: FilterOptions): DeadLetterFilter {
  const { subscription, topic, error, reason, since, until, after, limit } = options as Record<
    string,
    string | undefined
  >;
  return {
    ...(subscription === undefined ? {} : { subscription }),
    ...(topic === undefined ? {} : { topic: options.wildcard === true ? wildcard(topic) : topic }),
    ...(error === undefined ? {} : { error }),
    ...(reason === undefined ? {} : { reason: reason as NonNullable<DeadLetterFilter['reason']> }), // the box checks it
    ...(since === undefined ? {} : { since: readTime('--since', since) }),
    ...(until === undefined ? {} : { until: readTime('--until', until) }),
    ...(after === undefined ? {} : { after }),
    ...(limit === undefined ? {} : { limit: readCount('--limit', limit, 1) }),
  };
}

/** A time, or how long ago it was. */
function readTime(option: string, text: string): number {
  const ago = /^(\d+)d$/.exec(text);
  if (ago !== null) return systemClock.now() - Number(ago[1]) * 86_400_000;
  if (/^\d+(\.\d+)?(ms|s|m|h)$/.test(text)) return systemClock.now() - readDuration(option, text);
  const at = new Date(text).getTime();
  if (/^\d{4}-\d\d/.test(text) && !Number.isNaN(at)) return at;
  throw misuse(
    `${option} ${JSON.stringify(text)} is no time: write 30m, 2h or 7d for so long ago, or 2026-01-31T12:00Z`,
  );
}

const strongOf =
  ({ hasColours }: Terminal) =>
  (text: string) =>
    hasColours ? `\u001b[1m${text}\u001b[22m` : text;

async function list(terminal: Terminal, box: DeadLetterBox, filter: DeadLetterFilter): Promise<void> {
  const { limit = 100 } = filter;
  const letters = await box.list({ ...filter, limit });
  if (terminal.json) {
    for (const letter of letters) await terminal.line(letterJson(letter));
    return;
  }
  if (letters.length === 0) {
    await terminal.line('There is no such dead letter.');
    return;
  }
  for (const line of letterTable(letters, strongOf(terminal))) await terminal.line(line);
  const last = letters.at(-1)?.id;
  if (letters.length === limit) terminal.note(`there may be more: --after ${last} shows them`, { after: last });
}

async function groups(terminal: Terminal, box: DeadLetterBox, filter: DeadLetterFilter): Promise<void> {
  const found = await box.groups(filter);
  if (terminal.json) for (const group of found) await terminal.line(JSON.stringify(group));
  else if (found.length === 0) await terminal.line('There is no such dead letter.');
  else for (const line of groupTable(found, strongOf(terminal))) await terminal.line(line);
}

async function exportAll(
  terminal: Terminal,
  bus: Bus,
  node: string,
  box: DeadLetterBox,
  { limit = Number.POSITIVE_INFINITY, ...filter }: DeadLetterFilter,
): Promise<void> {
  let count = 0;
  for (let { after } = filter; count < limit; ) {
    const next = { ...filter, limit: Math.min(page, limit - count), ...(after === undefined ? {} : { after }) };
    const letters = await box.list(next);
    for (const letter of letters) await terminal.line(letterJson(letter));
    count += letters.length;
    after = letters.at(-1)?.id;
    if (after === undefined) break;
  }
  const { size } = (await bus.status({ node })).deadLetters;
  const whole = Object.keys(filter).length === 0 && limit === Number.POSITIVE_INFINITY;
  const missing = whole && size > count ? `; ${size - count} cannot be read: see 'mailvan store verify'` : '';
  terminal.note(`${numberOf(count)} exported${missing}`, {
    exported: count,
    ...(missing === '' ? {} : { unreadable: size - count }),
  });
}

async function move(
  terminal: Terminal,
  box: DeadLetterBox,
  verb: 'replay' | 'drop',
  what: DeadLetterChoice,
): Promise<void> {
  const count = await box[verb](what);
  const done = verb === 'replay' ? 'retried' : 'dropped';
  const text = `${numberOf(count)} dead letter${count === 1 ? '' : 's'} ${done}`;
  await terminal.line(terminal.json ? JSON.stringify({ [done]: count }) : text);
}
