import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { defineCommand } from 'citty';
import { nearest } from '../core/spelling.ts';
import { backup } from '../storage/backup.ts';
import { viewFolder } from '../storage/folder-view.ts';
import type { JournalStatistics, Problem } from '../storage/journal-audit.ts';
import { mendFolder } from '../storage/mending.ts';
import { type StoreStatistics, statisticsOf } from '../storage/statistics.ts';
import { type VerifyReport, verifyFolder } from '../storage/verify.ts';
import { connect, connectionArguments } from './connection.ts';
import { exitCodes, Failure, misuse } from './failure.ts';
import type { Invocation } from './invocation.ts';
import { plain } from './rendering.ts';
import { numberOf, tableOf } from './table.ts';
import type { Terminal } from './terminal.ts';

const { leader: _, node: __, shared: ___, ...joining } = connectionArguments;
const actions = ['verify', 'repair', 'backup', 'stats'];
const help = "'mailvan store --help' tells more";

/** `mailvan store <action> [target]` */
export const store = defineCommand({
  meta: { name: 'store', description: 'Verify, repair or back up the store of a node, or count what it holds' },
  args: {
    action: { type: 'positional', required: true, description: actions.join(', ') },
    target: {
      type: 'positional',
      required: false,
      description:
        'For backup: a new folder, to be a dataDir itself; with --connect: a name, below backups/ in the dataDir',
    },
    data: { type: 'string', valueHint: 'folder', description: 'The dataDir of a node that does not run' },
    connect: { type: 'string', valueHint: 'address', description: 'For backup: ask a node that runs, by its leader' },
    node: { type: 'string', valueHint: 'name', description: 'With --connect: which one (else the leader)' },
    ...joining,
  },
  run: async ({ args, data }) => {
    const { terminal } = data as Invocation; // main.ts hands it to every command
    const { action, target, node, ...options } = args;
    check(action, target, args);
    if (options.connect !== undefined) {
      const bus = await connect('store', { ...options, leader: options.connect });
      try {
        const asked = node ?? (await bus.status()).leader?.node ?? bus.node;
        await tellBackup(terminal, await bus.backup(target ?? '', { node: asked }), asked);
      } finally {
        await bus.close();
      }
      return;
    }
    const folder = join(resolve(options.data ?? ''), 'store');
    if (action === 'verify') await tellVerified(terminal, await verifyFolder(folder));
    else if (action === 'repair') await repair(terminal, folder);
    else if (action === 'stats') await stats(terminal, folder);
    else await tellBackup(terminal, await backUp(folder, resolve(target ?? '')), undefined);
  },
});

interface Given {
  readonly data?: string | undefined;
  readonly connect?: string | undefined;
  readonly node?: string | undefined;
}

function check(action: string, target: string | undefined, { data, connect: address, node }: Given): void {
  if (!actions.includes(action)) {
    const near = nearest(action, actions);
    const hint = near === undefined ? '' : `; did you mean ${near}?`;
    throw misuse(`store has no action ${JSON.stringify(action)}${hint}`, help);
  }
  const backs = action === 'backup';
  if (backs && target === undefined) throw misuse('<target> is missing', help);
  if (!backs && target !== undefined) throw misuse(`${action} takes no ${JSON.stringify(target)}`, help);
  if (address !== undefined && !backs)
    throw misuse('--connect is for backup: the others need a node that is stopped', help);
  if ((data === undefined) === (address === undefined)) {
    throw misuse(
      `${action} needs ${backs ? 'one of --data <folder> and --connect <address>' : '--data <folder>'}`,
      help,
    );
  }
  if (node !== undefined && address === undefined) throw misuse('--node is for --connect', help);
}

/** Tells what was found. @throws {Failure} with exit code 7 when anything is wrong. */
async function tellVerified(terminal: Terminal, report: VerifyReport): Promise<void> {
  const { folder, whole, problems, problemCount, notes, statistics } = report;
  if (terminal.json) {
    await terminal.line(JSON.stringify({ folder, whole, problemCount, problems, notes, statistics }));
  } else {
    for (const line of linesOf(problems)) await terminal.line(line);
    if (problemCount > problems.length) await terminal.line(`… and ${numberOf(problemCount - problems.length)} more`);
    for (const note of notes) await terminal.line(`note: ${plain(note)}`);
    if (whole) await terminal.line(`${folder} is whole: ${summaryOf(statistics)}`);
  }
  if (whole) return;
  throw new Failure({
    code: 'STORE_CORRUPT',
    message: `${problemCount} problem${problemCount === 1 ? '' : 's'} in ${folder}`,
    exitCode: exitCodes.damaged,
    hint: "restore a backup, or let 'mailvan store repair' save what can be saved: it keeps the folder as it is beside it",
    details: { problems: problemCount },
  });
}

/** Problems by the mailbox that they are in. */
function linesOf(problems: readonly Problem[]): string[] {
  const byPlace = new Map<string, string[]>();
  for (const { where, key, problem } of problems) {
    const text = key === undefined || problem.includes(`'${key}'`) ? problem : `the record '${key}' ${problem}`;
    byPlace.set(where, [...(byPlace.get(where) ?? []), `  ${plain(text)}`]);
  }
  return [...byPlace].flatMap(([where, lines]) => [plain(where), ...lines]);
}

function summaryOf(statistics: StoreStatistics | undefined): string {
  if (statistics === undefined) return 'nothing in it';
  const { records, mailboxes, deadLetters } = statistics;
  const messages = mailboxes.reduce((sum, mailbox) => sum + mailbox.messages, 0);
  return `${numberOf(records)} records, ${mailboxes.length === 1 ? '1 mailbox' : `${mailboxes.length} mailboxes`} with ${numberOf(messages)} messages, ${numberOf(deadLetters.count)} dead letters`;
}

async function repair(terminal: Terminal, folder: string): Promise<void> {
  const { before, original, changes, after } = await mendFolder(folder);
  if (!terminal.json) {
    for (const line of linesOf(before.problems)) await terminal.line(line);
    for (const change of changes) await terminal.line(plain(change));
    if (original !== undefined) await terminal.line(`as it was found it is kept in ${original}`);
    return tellVerified(terminal, after);
  }
  const { whole, problems } = after;
  await terminal.line(JSON.stringify({ folder, found: before.problems, original, changes, whole, problems }));
  if (!whole)
    throw new Failure({ code: 'STORE_CORRUPT', message: `${folder} is still damaged`, exitCode: exitCodes.damaged });
}

async function backUp(folder: string, target: string): Promise<Backup> {
  await mkdir(target, { recursive: true });
  return viewFolder(folder, async ({ store: view, soundness, report }) => {
    if (view === undefined || soundness.problems.length > 0) {
      const why =
        report instanceof Error ? report.message : `${soundness.problems[0]?.file} ${soundness.problems[0]?.problem}`;
      const hint = "'mailvan store verify' tells what is wrong, 'mailvan store repair' saves what can be saved";
      throw new Failure({ code: 'STORE_CORRUPT', message: why, exitCode: exitCodes.damaged, hint });
    }
    return { folder: target, ...(await backup(view, join(target, 'store'))) };
  });
}

interface Backup {
  readonly folder: string;
  readonly entries: number;
  readonly bytes: number;
}

async function tellBackup(terminal: Terminal, made: Backup, node: string | undefined): Promise<void> {
  const { folder, entries, bytes } = made;
  const where = node === undefined ? folder : `${folder} on ${node}`;
  const text = `${numberOf(entries)} records (${numberOf(bytes)} bytes) are in ${where}, a dataDir itself`;
  await terminal.line(terminal.json ? JSON.stringify({ ...made, ...(node === undefined ? {} : { node }) }) : text);
}

const columns = [
  { title: 'MAILBOX' },
  { title: 'MESSAGES', numeric: true },
  { title: 'BYTES', numeric: true },
  { title: 'PARKED', numeric: true },
  { title: 'SEGMENTS', numeric: true },
  { title: 'STUBS', numeric: true },
  { title: 'OLDEST' },
];

async function stats(terminal: Terminal, folder: string): Promise<void> {
  let problems = 0;
  const { statistics, bytes } = await viewFolder(folder, async ({ store: view, bytes: size }) => ({
    statistics: view === undefined ? undefined : await statisticsOf(view, () => problems++),
    bytes: size,
  }));
  if (terminal.json) {
    await terminal.line(JSON.stringify({ folder, files: bytes, problems, ...statistics }));
  } else if (statistics !== undefined) {
    const { node, starts, mailboxes, spools, deadLetters, records } = statistics;
    await terminal.line(`node ${node ?? 'unknown'}, started ${starts === 1 ? 'once' : `${starts ?? 0} times`}`);
    await terminal.line(
      `${numberOf(records)} records of ${numberOf(statistics.bytes)} bytes; ${numberOf(bytes)} bytes on disk`,
    );
    await terminal.line(`${numberOf(deadLetters.count)} dead letters of ${numberOf(deadLetters.bytes)} bytes`);
    const rows = [...mailboxes.map((each) => rowOf(each)), ...spools.map((each) => rowOf(each, ' (spool)'))];
    const strong = (text: string): string => (terminal.hasColours ? `\u001b[1m${text}\u001b[22m` : text);
    if (rows.length > 0) for (const line of tableOf(columns, rows, strong)) await terminal.line(line);
  }
  if (statistics !== undefined && problems === 0) return;
  terminal.note("the store is damaged: 'mailvan store verify' tells where", { problems });
}

function rowOf({ name, messages, bytes, parked, segments, stubs, oldest }: JournalStatistics, kind = ''): string[] {
  const numbers = [messages, bytes, parked, segments, stubs].map(numberOf);
  return [`${plain(name)}${kind}`, ...numbers, oldest === undefined ? '' : new Date(oldest).toISOString()];
}
