import type { SubscriptionStats } from '../actors/subscriber-options.ts';
import type { PlacementInfo } from '../bus/placement/placement.ts';
import { shortened, whereabouts } from './placed.ts';
import type { ClusterReport, MemberReport } from './report.ts';
import { type Column, numberOf, tableOf } from './table.ts';

/** What `top` shows. */
export interface Snapshot extends ClusterReport {
  /** Nodes that are about to leave. */
  readonly leaving: readonly string[];
  readonly placements: readonly PlacementInfo[];
}

type Counts = Pick<SubscriptionStats, 'rate' | 'waiting' | 'running' | 'handled' | 'dead'>;

const nothing: Counts = { rate: 0, waiting: 0, running: 0, handled: 0, dead: 0 };

const counted: readonly Column[] = ['RATE/S', 'WAITING', 'RUNNING', 'HANDLED', 'DEAD'].map((title) => ({
  title,
  numeric: true,
}));
const nodeColumns = [{ title: 'NODE' }, { title: 'STATE' }, { title: 'INSTANCES', numeric: true }, ...counted];
const placementColumns = [
  { title: 'PLACEMENT' },
  { title: 'KIND' },
  { title: 'RATE/S', numeric: true },
  { title: 'WAITING', numeric: true },
  { title: 'INSTANCES' },
];
const busyColumns = [{ title: 'NODE' }, { title: 'WHAT' }, { title: 'NAME' }, { title: 'PATTERN' }, ...counted];

/** How many of the busiest are shown where there is no screen to be filled. */
const most = 20;

/**
 * A snapshot as lines: nodes, placements, and the busiest subscriptions and mailboxes.
 *
 * @param rows how many lines there may be: the longer tables are cut.
 */
export function viewOf(
  snapshot: Snapshot,
  strong: (text: string) => string,
  rows = Number.POSITIVE_INFINITY,
): string[] {
  const { cluster, leader, members, placements } = snapshot;
  const led = leader === undefined ? 'without a leader' : `led by ${strong(leader.node)}`;
  const busiest = members.flatMap(busyRows).sort((a, b) => b.rate - a.rate || b.waiting - a.waiting);
  const instances = placements.reduce((sum, each) => sum + each.instances.length, 0);
  const rate = sum(members.flatMap(countsOf)).rate;
  const head = [
    `Cluster ${strong(cluster)}, ${led}: ${many(members.length, 'node')}, ${many(instances, 'instance')}, ${numberOf(rate)} handled/s`,
  ];
  // Each table has an empty line, a title and headings; what the first two leave is for the busiest, at least five.
  const room = Number.isFinite(rows) ? Math.max(9, rows - head.length - 9) : Number.POSITIVE_INFINITY;
  const some = Number.isFinite(room) ? Math.floor(room / 3) : room;
  const nodes = members.map((member) => nodeRow(member, snapshot));
  const shownNodes = nodes.slice(0, some);
  const shownPlacements = placements.slice(0, some);
  const left = Number.isFinite(room) ? Math.max(3, room - shownNodes.length - shownPlacements.length) : most;
  return [
    ...head,
    ...section('Nodes', nodeColumns, shownNodes, nodes.length, strong),
    ...section(
      'Placements',
      placementColumns,
      shownPlacements.map((placement) => placementRow(placement, members)),
      placements.length,
      strong,
    ),
    ...section(
      'Busiest',
      busyColumns,
      busiest.slice(0, left).map(({ cells }) => cells),
      busiest.length,
      strong,
    ),
  ];
}

const many = (count: number, what: string): string => `${numberOf(count)} ${what}${count === 1 ? '' : 's'}`;

function section(
  title: string,
  columns: readonly Column[],
  rows: readonly string[][],
  all: number,
  strong: (text: string) => string,
): string[] {
  if (all === 0) return [];
  const count = rows.length === all ? numberOf(all) : `${numberOf(rows.length)} of ${numberOf(all)}`;
  return ['', `${title} (${count})`, ...tableOf(columns, rows, strong)];
}

/** What is handled on a node: durable mailboxes count where they are at home. */
function countsOf({ status }: MemberReport): Counts[] {
  const { subscriptions = [], mailboxes = [] } = status ?? {};
  const homes = new Set(mailboxes.map(({ name }) => name));
  return [...subscriptions.filter(({ name }) => !homes.has(name)), ...mailboxes];
}

function sum(all: readonly Counts[]): Counts {
  return all.reduce(
    (a, b) => ({
      rate: a.rate + b.rate,
      waiting: a.waiting + b.waiting,
      running: a.running + b.running,
      handled: a.handled + b.handled,
      dead: a.dead + b.dead,
    }),
    nothing,
  );
}

const cellsOf = ({ rate, waiting, running, handled, dead }: Counts): string[] =>
  [rate, waiting, running, handled, dead].map(numberOf);

function nodeRow(member: MemberReport, { leaving, placements }: Snapshot): string[] {
  const { node, leader, state, status, error } = member;
  const words = [...(leader ? ['leader'] : []), state, ...(leaving.includes(node) ? ['leaving'] : [])].join(', ');
  const own = placements.flatMap(({ instances }) => instances).filter((each) => each.node === node).length;
  if (status === undefined) return [node, `${words}, no answer: ${error?.code ?? 'unknown'}`, numberOf(own)];
  return [node, words, numberOf(own), ...cellsOf(sum(countsOf(member)))];
}

function placementRow(placement: PlacementInfo, members: readonly MemberReport[]): string[] {
  const { name, kind, subscription, instances } = placement;
  const own = (node: string, given: string): boolean =>
    subscription === undefined && instances.some((each) => each.node === node && `${name}.${each.instance}` === given);
  const counts = members.flatMap(({ node, status }) => [
    ...(status?.mailboxes ?? []).filter((mailbox) => mailbox.name === subscription),
    ...(status?.subscriptions ?? []).filter((each) => own(node, each.name)),
  ]);
  const { rate, waiting } = sum(counts);
  return [name, kind, ...(counts.length === 0 ? ['', ''] : [rate, waiting].map(numberOf)), whereabouts(placement)];
}

function busyRows({ node, status }: MemberReport): { rate: number; waiting: number; cells: string[] }[] {
  const { subscriptions = [], mailboxes = [] } = status ?? {};
  const homes = new Set(mailboxes.map(({ name }) => name));
  const row = (what: string, each: Counts & { name: string; pattern: string }) => ({
    rate: each.rate,
    waiting: each.waiting,
    cells: [node, what, each.name, shortened(each.pattern, 40), ...cellsOf(each)],
  });
  return [
    ...subscriptions.filter(({ name }) => !homes.has(name)).map((each) => row('subscription', each)),
    ...mailboxes.map((each) => row('mailbox', each)),
  ];
}
