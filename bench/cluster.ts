import { pathToFileURL } from 'node:url';
import type { Figures, Size } from './cluster-lib/worker.ts';
import { figure, printTables, targetOf } from './harness/print.ts';
import { type Comparison, type Row, row, single, type Table } from './harness/result.ts';
import { type Settings, settings } from './harness/settings.ts';
import { exponentOf } from './harness/statistics.ts';
import { Worker } from './harness/worker.ts';

const file = new URL('./cluster-lib/worker.ts', import.meta.url);

/** What grows with the number of nodes may grow with this power of it at most: 1 is in proportion. */
const target = { atMost: 1.15 };

/** How much is measured. */
interface Plan {
  readonly nodes: readonly number[];
  readonly subscriptions: number;
  readonly changes: number;
  readonly rounds: number;
}

const full: Plan = { nodes: [100, 250, 500, 1_000], subscriptions: 10, changes: 101, rounds: 3 };
const brief: Plan = { nodes: [20, 40, 80], subscriptions: 10, changes: 11, rounds: 1 };

/** What the registry costs in clusters of several sizes. */
export async function run(options: Settings): Promise<Table[]> {
  const plan = options.brief ? brief : full;
  const measured = new Map<number, Figures[]>(plan.nodes.map((nodes) => [nodes, []]));
  for (let round = 0; round < plan.rounds; round++) {
    for (const [nodes, list] of measured) list.push(await measure({ ...plan, nodes }));
  }
  return tables(plan, measured, options.brief);
}

/** Each in a process of its own, so that a heap holds nothing else. */
async function measure({ nodes, subscriptions, changes }: Size): Promise<Figures> {
  const worker = Worker.start(file, [`cluster of ${nodes}`], ['--expose-gc']);
  try {
    return (await worker.ask('measure', { nodes, subscriptions, changes } satisfies Size)) as Figures; // what the worker's method returns
  } finally {
    await worker.stop();
  }
}

function tables(plan: Plan, measured: ReadonlyMap<number, readonly Figures[]>, tooFew: boolean): Table[] {
  const sizes = plan.nodes.map((nodes) => nodes.toLocaleString('en'));
  const range = `${sizes[0]} to ${sizes.at(-1)} nodes`;
  const series = (name: string, of: (figures: Figures, nodes: number) => number): Row[] =>
    [...measured].map(([nodes, list]) =>
      row(
        `${name}, ${nodes.toLocaleString('en')} nodes`,
        list.map((figures) => of(figures, nodes)),
      ),
    );
  const medians = (of: (figures: Figures) => number) =>
    series('', of).map(({ median }, i) => [plan.nodes[i] ?? Number.NaN, median] as const);
  const growth = (what: string, of: (figures: Figures) => number, judged = true): Comparison =>
    single(`${what}, ${range}: exponent`, exponentOf(medians(of)), '', judged ? target : undefined);
  const count = (of: (figures: Figures) => number): string =>
    medians(of)
      .map(([, value]) => value.toLocaleString('en'))
      .join(', ');
  const { subscriptions, changes } = plan;
  const times = series('one more subscription', ({ changeTime }) => changeTime);
  const fastest = times.map(({ rounds }, i) => [plan.nodes[i] ?? Number.NaN, Math.min(...rounds)] as const);
  return [
    {
      title: 'A large cluster: memory of the registry',
      method: `Clusters of ${sizes.join(', ')} nodes, the leader among them, with ${subscriptions} subscriptions each, and the frames between them, encoded and decoded: each cluster in one process, from the sources of its parts; the time is virtual. The leader and one member are whole; the others confirm what they are sent and keep nothing. What the heap has grown by (\`--expose-gc\`), divided by the number of nodes, ${plan.rounds} rounds: at the leader the registry and what it keeps of each member, at the member its copy of the registry. What a node makes of it (the routes of its own publishes) comes on top. An exponent of 1 is growth in proportion to the number of nodes, one of 2 to its square; it is fitted to the totals of all sizes.`,
      unit: 'bytes a node',
      rows: [
        ...series('leader', ({ leaderHeap }, nodes) => leaderHeap / nodes),
        ...series('one member', ({ memberHeap }, nodes) => memberHeap / nodes),
      ],
      comparisons: [
        growth('Memory of the registry, leader', ({ leaderHeap }) => leaderHeap, !tooFew),
        growth('Memory of the registry, one member', ({ memberHeap }) => memberHeap, !tooFew),
      ],
      curve: curve(
        'memory of the registry at the leader, KiB',
        medians(({ leaderHeap }) => leaderHeap / 1024),
      ),
    },
    {
      title: 'A large cluster: traffic of one change',
      method: `The same clusters; bytes of the frames in both directions, without what TCP adds. One more subscription: its node’s \`part\`, a \`delta\` to every other node with an \`applied\` back, and \`synced\`. One more node with ${subscriptions} subscriptions: on its own link all that it tells and is told until it holds the registry, on the others what they hear of it. Frames for one more subscription, on all links: ${count(({ changeFrames }) => changeFrames)}; for one more node, on its own link ${count(({ joinFrames }) => joinFrames)}, on all others ${count(({ othersFrames }) => othersFrames)}.`,
      unit: 'bytes',
      rows: [
        ...series('one more subscription, all links', ({ changeBytes }) => changeBytes),
        ...series('one more subscription, the link of one member', ({ memberChangeBytes }) => memberChangeBytes),
        ...series('one more node, its own link', ({ joinBytes }) => joinBytes),
        ...series('one more node, all other links', ({ othersBytes }) => othersBytes),
      ],
      comparisons: [
        growth('Bytes for one more subscription, all links', ({ changeBytes }) => changeBytes),
        growth('Frames for one more subscription, all links', ({ changeFrames }) => changeFrames),
        growth('Bytes for one more node, its own link', ({ joinBytes }) => joinBytes),
        growth('Bytes for one more node, all other links', ({ othersBytes }) => othersBytes),
      ],
      curve: curve(
        'one more subscription, all links, bytes',
        medians(({ changeBytes }) => changeBytes),
      ),
    },
    {
      title: 'A large cluster: the leader’s time for one change',
      method: `How long the leader works for one more subscription, the encoding and decoding of all its frames included, without the sockets: the lower quartile of ${changes} changes, ${plan.rounds} rounds. What else runs on the machine, and a heap that no longer fits into the caches, only add to it: for information, and the exponent is that of the fastest rounds.`,
      unit: 'ms',
      rows: times,
      comparisons: [
        single(`The leader’s time for one more subscription, ${range}: exponent`, exponentOf(fastest), '', undefined),
      ],
      curve: curve('the leader’s time for one more subscription, ms, fastest round', fastest),
    },
  ];
}

/** How wide the longest bar is. */
const widest = 60;

/** A bar for each size, as far below the last one as the sizes are apart. */
function curve(title: string, points: readonly (readonly [nodes: number, value: number])[]): string[] {
  const most = Math.max(...points.map(([, value]) => value));
  const bars = points.map(([nodes, value]) => {
    const bar = '#'.repeat(Math.max(1, Math.round((widest * value) / most)));
    return `${nodes.toLocaleString('en').padStart(6)} nodes | ${bar} ${figure(value)}`;
  });
  return [title, ...bars];
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const found = await run(settings());
  if (process.argv.includes('--json')) console.log(JSON.stringify(found, undefined, 2));
  else printTables(found);
  const missed = found.flatMap(({ comparisons }) => comparisons).filter(({ met }) => met === false);
  for (const comparison of missed) {
    process.stderr.write(`missed: ${comparison.what} ${figure(comparison.value)}, ${targetOf(comparison)}\n`);
  }
  if (missed.length > 0) process.exitCode = 1;
}
