import { stripVTControlCharacters } from 'node:util';
import type { ClusterReport, MemberReport } from './report.ts';
import { numberOf, tableOf } from './table.ts';

const memberColumns = [
  { title: 'NODE' },
  { title: 'ROLE' },
  { title: 'STATE' },
  { title: 'SUBSCRIPTIONS', numeric: true },
  { title: 'WAITING', numeric: true },
  { title: 'DEAD', numeric: true },
  { title: '' },
];

const subscriptionColumns = [
  { title: 'NODE' },
  { title: 'SUBSCRIPTION' },
  { title: 'PATTERN' },
  { title: 'STATE' },
  { title: 'RATE/S', numeric: true },
  { title: 'WAITING', numeric: true },
  { title: 'RUNNING', numeric: true },
  { title: 'HANDLED', numeric: true },
  { title: 'FAILED', numeric: true },
  { title: 'DEAD', numeric: true },
  { title: 'DROPPED', numeric: true },
];

const mailboxColumns = [
  { title: 'HOME' },
  { title: 'MAILBOX' },
  { title: 'PATTERN' },
  { title: 'STATE' },
  { title: 'RATE/S', numeric: true },
  { title: 'WAITING', numeric: true },
  { title: 'RUNNING', numeric: true },
  { title: 'PARKED', numeric: true },
  { title: 'CONSUMERS', numeric: true },
  { title: 'HANDLED', numeric: true },
  { title: 'DEAD', numeric: true },
];

const spoolColumns = [
  { title: 'NODE' },
  { title: 'FOR' },
  { title: 'HOME' },
  { title: 'MESSAGES', numeric: true },
  { title: 'BYTES', numeric: true },
];

/** The report for a person: who is there, what each subscription does, what lies in durable mailboxes and spools. */
export function overviewOf(report: ClusterReport, colours: boolean): string[] {
  const strong = (text: string): string => (colours ? `\u001b[1m${text}\u001b[22m` : text);
  const { cluster, leader, members } = report;
  const at = leader?.address === undefined ? '' : ` at ${leader.address}`;
  const led = leader === undefined ? 'without a leader' : `led by ${strong(leader.node)}${at}, epoch ${leader.epoch}`;
  const subscriptions = members.flatMap(subscriptionRows);
  const mailboxes = members.flatMap(mailboxRows);
  const spools = members.flatMap(spoolRows);
  return [
    `Cluster ${strong(cluster)}, ${led}`,
    '',
    `Members (${members.length})`,
    ...tableOf(memberColumns, members.map(memberRow), strong),
    '',
    `Subscriptions (${subscriptions.length})`,
    ...(subscriptions.length === 0
      ? ["  none: start one, as by 'mailvan sub <pattern>'"]
      : tableOf(subscriptionColumns, subscriptions, strong)),
    ...sectionOf('Durable mailboxes', mailboxColumns, mailboxes, strong),
    ...sectionOf('Spools, for homes that are away', spoolColumns, spools, strong),
  ];
}

/** A section that is left out where there is nothing to show. */
function sectionOf(
  title: string,
  columns: Parameters<typeof tableOf>[0],
  rows: readonly string[][],
  strong: (text: string) => string,
): string[] {
  return rows.length === 0 ? [] : ['', `${title} (${rows.length})`, ...tableOf(columns, rows, strong)];
}

function memberRow({ node, leader, state, status, error }: MemberReport): string[] {
  const role = leader ? 'leader' : 'member';
  if (status === undefined) return [node, role, state, '', '', '', `no answer: ${error?.code ?? 'unknown'}`];
  const { subscriptions, mailboxes, deadLetters } = status;
  const waiting = [...subscriptions, ...mailboxes].reduce((sum, each) => sum + each.waiting, 0);
  return [node, role, state, numberOf(subscriptions.length), numberOf(waiting), numberOf(deadLetters.size), ''];
}

function subscriptionRows({ node, status }: MemberReport): string[][] {
  return (status?.subscriptions ?? []).map((subscription) => {
    const { name, pattern, rate, waiting, running, handled, failed, dead, dropped, refused } = subscription;
    const counts = [rate, waiting, running, handled, failed, dead, dropped + refused].map(numberOf);
    return [node, name, shortened(pattern), stateOf(subscription), ...counts];
  });
}

function mailboxRows({ node, status }: MemberReport): string[][] {
  return (status?.mailboxes ?? []).map((mailbox) => {
    const { name, pattern, rate, waiting, running, parked, consumers, handled, dead } = mailbox;
    return [
      node,
      name,
      shortened(pattern),
      stateOf({ state: 'active', ...mailbox }),
      ...[rate, waiting, running, parked, consumers, handled, dead].map(numberOf),
    ];
  });
}

/** One that probes because everything fails is active as well; what it does says more. */
function stateOf({ state, probing }: { readonly state: string; readonly probing: boolean }): string {
  return probing && state === 'active' ? 'probing' : state;
}

function spoolRows({ node, status }: MemberReport): string[][] {
  return (status?.spools ?? []).map(({ subscription, home, messages, bytes }) => [
    node,
    subscription,
    home,
    ...[messages, bytes].map(numberOf),
  ]);
}

/** A pattern is another node's text: it may be long, and must not steer the terminal. */
function shortened(pattern: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it replaces.
  const clean = stripVTControlCharacters(pattern).replace(/[\u0000-\u001f\u007f-\u009f]/g, '?');
  return clean.length > 40 ? `${clean.slice(0, 39)}…` : clean;
}
