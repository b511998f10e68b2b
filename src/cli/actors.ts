import { defineCommand } from 'citty';
import type { Bus } from '../bus/bus.ts';
import type { PlacementInfo } from '../bus/placement/placement.ts';
import { nearest } from '../core/spelling.ts';
import { type Actions, checkAction, checkOptions } from './actions.ts';
import { actorTree } from './actor-tree.ts';
import { readDuration } from './arguments.ts';
import { connect, connectionArguments } from './connection.ts';
import { exitCodes, Failure, misuse } from './failure.ts';
import type { Invocation } from './invocation.ts';
import { missingOf, nodesOf, shortened, whereabouts } from './placed.ts';
import { constraintOptions, spawnArguments, spawnOptions, spawnOptionsOf } from './spawning.ts';
import { numberOf, tableOf } from './table.ts';
import type { Terminal } from './terminal.ts';

const actions: Actions = {
  ls: [],
  tree: [],
  spawn: ['kind'],
  stop: ['name'],
  explain: ['kind'],
  rebalance: ['name?'],
};

/** Which actions an option is for. */
const optionsFor: Readonly<Record<string, readonly string[]>> = {
  ...Object.fromEntries(constraintOptions.map((option) => [option, ['spawn', 'explain']])),
  ...Object.fromEntries(spawnOptions.map((option) => [option, ['spawn']])),
  lost: ['rebalance'],
};

/** `mailvan actors <action> [kind or name]` */
export const actors = defineCommand({
  meta: { name: 'actors', description: 'Show which handler actors run where; start, stop and move them' },
  args: {
    action: { type: 'positional', required: true, description: Object.keys(actions).join(', ') },
    which: {
      type: 'positional',
      required: false,
      description: 'For spawn and explain: a kind; for stop and rebalance: the name of a placement',
    },
    ...spawnArguments,
    lost: {
      type: 'boolean',
      description: 'For rebalance: nodes that are down have really ended; singletons that wait for this start anew',
    },
    ...connectionArguments,
  },
  run: async ({ args, data }) => {
    const { terminal, given } = data as Invocation; // main.ts hands it to every command
    const [action = '', which] = given.positionals;
    const slot = action === 'spawn' || action === 'explain' ? 'kind' : 'name';
    checkAction('actors', actions, action, { [slot]: which });
    checkOptions('actors', optionsFor, action, args);
    const options = spawnOptionsOf(args, given);
    if (action === 'spawn' && options.name === undefined) {
      throw misuse('--name is missing', 'a placement without a name would end with this command');
    }
    const wait = args.timeout === undefined ? {} : { timeout: readDuration('--timeout', args.timeout) };
    const service = args.service === undefined ? {} : { service: args.service };
    const bus = await connect('actors', args, undefined, service);
    try {
      if (action === 'ls') await showList(terminal, bus.placements.list());
      else if (action === 'tree') await showTree(bus, terminal);
      else if (action === 'spawn') await tellOf(terminal, (await bus.spawn(which ?? '', options)).info);
      else if (action === 'explain') await explain(bus, terminal, which ?? '', options);
      else if (action === 'stop') await stop(bus, terminal, which ?? '', wait);
      else await rebalance(bus, terminal, { ...wait, ...(which && { name: which }), lost: args.lost === true });
    } finally {
      await bus.close();
    }
  },
});

const columns = [
  { title: 'PLACEMENT' },
  { title: 'KIND' },
  { title: 'PATTERN' },
  { title: 'WANTED', numeric: true },
  { title: 'INSTANCES' },
];

async function showList(terminal: Terminal, list: readonly PlacementInfo[]): Promise<void> {
  if (terminal.json) {
    for (const placement of list) await terminal.line(JSON.stringify(placement));
    return;
  }
  if (list.length === 0) {
    await terminal.line("There is no placement: make one by 'mailvan actors spawn <kind> --name <name>'");
    return;
  }
  const rows = list.map((placement) => {
    const { name, kind, pattern, wanted } = placement;
    return [name, kind, shortened(pattern ?? '', 40), numberOf(wanted), whereabouts(placement)];
  });
  for (const line of tableOf(columns, rows, terminal.strong)) await terminal.line(line);
}

async function showTree(bus: Bus, terminal: Terminal): Promise<void> {
  const { branches, waiting } = actorTree(await nodesOf(bus), bus.placements.list());
  if (terminal.json) {
    for (const branch of branches) await terminal.line(JSON.stringify(branch.facts));
    for (const each of waiting) await terminal.line(JSON.stringify({ waiting: each }));
    return;
  }
  for (const { title, lines } of branches)
    for (const line of [terminal.strong(title), ...lines]) await terminal.line(line);
  if (waiting.length === 0) return;
  await terminal.line(terminal.strong('without a node'));
  for (const { placement, kind, missing } of waiting)
    await terminal.line(`   ${placement} (${kind}): ${missing} waiting`);
}

/** What has become of a placement that was asked for. */
async function tellOf(terminal: Terminal, info: PlacementInfo | undefined): Promise<void> {
  if (info === undefined) return; // somebody has stopped it meanwhile
  if (terminal.json) {
    await terminal.line(JSON.stringify(info));
    return;
  }
  const missing = missingOf(info);
  if (info.instances.length > 0) await terminal.line(`${info.name} runs: ${whereabouts(info)}`);
  else await terminal.line(`${info.name} waits: ${numberOf(missing)} of ${numberOf(info.wanted)} fit nowhere now`);
}

async function explain(
  bus: Bus,
  terminal: Terminal,
  kind: string,
  options: Parameters<Bus['spawn']>[1],
): Promise<void> {
  const verdicts = (await bus.explainPlacement(kind, options))
    .filter(({ node }) => node !== bus.node)
    .sort((a, b) => a.node.localeCompare(b.node));
  const width = Math.max(0, ...verdicts.map(({ node }) => node.length));
  for (const verdict of verdicts) {
    const { node, reason } = verdict;
    await terminal.line(
      terminal.json ? JSON.stringify(verdict) : `${node.padEnd(width)}  ${shortened(reason ?? 'fits', 500)}`,
    );
  }
  if (verdicts.some(({ fits }) => fits)) return;
  throw new Failure({
    code: 'UNPLACEABLE',
    message: `the kind '${kind}' fits on none of ${numberOf(verdicts.length)} node${verdicts.length === 1 ? '' : 's'}`,
    exitCode: exitCodes.failed,
    hint: "change what it asks for, or have a node define the kind; 'mailvan nodes ls' shows what there is",
  });
}

async function stop(bus: Bus, terminal: Terminal, name: string, wait: { timeout?: number }): Promise<void> {
  const placement = bus.placements.get(name);
  if (placement === undefined) throw unknown(bus, name);
  await placement.stop(wait);
  await terminal.line(terminal.json ? JSON.stringify({ name, stopped: true }) : `${name} stopped`);
}

function unknown({ placements }: Bus, name: string): Failure {
  const near = nearest(
    name,
    placements.list().map((each) => each.name),
  );
  return new Failure({
    code: 'NOT_FOUND',
    message: `there is no placement ${JSON.stringify(name)}${near === undefined ? '' : `; did you mean ${near}?`} [NOT_FOUND]`,
    exitCode: exitCodes.failed,
    hint: "'mailvan actors ls' shows what there is",
  });
}

async function rebalance(
  bus: Bus,
  terminal: Terminal,
  options: Parameters<Bus['placements']['rebalance']>[0],
): Promise<void> {
  const { name } = options ?? {};
  if (name !== undefined && bus.placements.get(name) === undefined) throw unknown(bus, name);
  const moves = await bus.placements.rebalance(options);
  for (const move of moves) {
    const { placement, instance, node, to } = move;
    await terminal.line(terminal.json ? JSON.stringify(move) : `${placement}.${instance} moved from ${node} to ${to}`);
  }
  if (moves.length === 0 && !terminal.json) await terminal.line('Nothing had to move.');
}
