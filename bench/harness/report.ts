import type { Machine } from './machine.ts';
import { figure, spreadOf, targetOf, verdict } from './print.ts';
import type { Comparison, Table } from './result.ts';
import type { Settings } from './settings.ts';

/** A whole run, as `bench/results/latest.json` holds it. */
export interface Run {
  readonly date: string;
  readonly machine: Machine;
  readonly versions: Readonly<Record<string, string>>;
  readonly settings: Settings;
  readonly seconds: number;
  readonly tables: readonly Table[];
}

/**
 * A run with some of its tables measured anew: those of the same title are replaced, others added at the end.
 *
 * @throws when it was made on another machine.
 */
export function merged(run: Run, { date, machine, tables }: Run): Run {
  if (JSON.stringify(machine) !== JSON.stringify(run.machine))
    throw new Error('the last run was made on another machine');
  const anew = new Map(tables.map((table) => [table.title, { ...table, measured: date.slice(0, 10) }]));
  const kept = run.tables.map((table) => {
    const replacement = anew.get(table.title);
    anew.delete(table.title);
    return replacement ?? table;
  });
  return { ...run, tables: [...kept, ...anew.values()] };
}

/** The page for `docs/benchmarks.md`. */
export function page({ date, machine, versions, settings, seconds, tables }: Run): string {
  const { cpu, cores, memory, system } = machine;
  const parts = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return `# Benchmarks

Written by \`npm run bench\`: edit the script, not this page. What counts are the ratios; the figures belong to the machine.

- **When and where**: ${date.slice(0, 10)}, ${cpu}, ${cores} cores, ${memory}, ${system}; the run took ${Math.round(seconds)} s.
- **Versions**: ${parts.join(', ')}.

## Against the targets

${comparisons(tables.flatMap((table) => table.comparisons).filter(({ target }) => target !== undefined))}

A ratio is the median of the ratios of all rounds, for the machine may be faster in some of them than in others; the spread is
the lowest and the highest of them.

## How it is measured

- Mailvan and its peers are measured in the same run, round by round, ${settings.rounds} rounds unless a table says otherwise; after each round their order is turned round, and nobody begins before the machine is at rest. Every figure is a median.
- Each contestant has a process of its own (across processes: one at each end), and warms up first. Mailvan is the built package, as its users get it.
- Every sender lets the event loop turn after each 1,024 messages, the same way for all (routing and cluster send nothing; durable publishes wait for their confirmation).
- Durable stores lie in a fresh folder on a disk. The bus and its peers’ servers have the same one, and it is removed afterwards.
- All messages are counted where they arrive; a run in which one is missing, comes twice or is refused fails.

${tables.map(section).join('\n\n')}

## How to repeat it

\`\`\`sh
npm ci
npm run bench                             # everything; writes this page and bench/results/latest.json
npm --prefix bench run brief              # the same in about two minutes, after that; writes nothing
node --import tsx bench/in-process.ts     # one part: in-process, across, durable, routing or cluster
node --import tsx bench/durable.ts cost   # some of durable: throughput, latency, cost, memory, recovery
npm --prefix bench run all -- --only cluster   # one part anew, beside the last run of the others
\`\`\`

\`--json\` prints the results as JSON. The parts across processes need \`nats-server\` (Debian: \`apt-get install nats-server\`),
the durable ones \`redis-server\`, too; the script starts them on free ports of the loopback and stops them; without one, what
needs it is left out. With \`strace\` it counts how often a publish waits for the disk. With \`MAILVAN_TEST_STRICT=1\`
a missing server, or a missed target in a full run, is a failure. The peers are installed under \`bench/\` alone.
`;
}

function section({ title, method, unit, rows, comparisons: list, curve = [], measured }: Table): string {
  const lines = rows.map(
    ({ name, median, rounds }) =>
      `| ${name} | ${figure(median)} | ${figure(Math.min(...rounds))} to ${figure(Math.max(...rounds))} |`,
  );
  const free = list.filter(({ target }) => target === undefined);
  return [
    `## ${title}`,
    measured === undefined ? method : `${method} Measured on ${measured}.`,
    ...(rows.length === 0 ? [] : [[`| | ${unit}, median | of the rounds |`, '|---|---:|---:|', ...lines].join('\n')]),
    ...(curve.length === 0 ? [] : [['```', ...curve, '```'].join('\n')]),
    ...(free.length === 0 ? [] : [`For information: ${free.map(inWords).join('; ')}.`]),
  ].join('\n\n');
}

function comparisons(list: readonly Comparison[]): string {
  const lines = list.map(
    (comparison) =>
      `| ${comparison.what} | ${`${figure(comparison.value)} ${comparison.unit}`.trimEnd()} | ${spreadOf(comparison)} | ${targetOf(comparison)} | ${verdict(comparison)} |`,
  );
  return ['| what | measured | spread | target | |', '|---|---:|---:|---:|---|', ...lines].join('\n');
}

function inWords({ what, value, unit }: Comparison): string {
  return `${what} ${figure(value)} ${unit}`.trimEnd();
}
