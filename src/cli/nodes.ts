import { defineCommand } from 'citty';
import type { Bus } from '../bus/bus.ts';
import { nearest } from '../core/spelling.ts';
import { type Actions, checkAction, checkOptions } from './actions.ts';
import { readDuration } from './arguments.ts';
import { askedOf } from './asking.ts';
import { connect, connectionArguments } from './connection.ts';
import { exitCodes, Failure } from './failure.ts';
import type { Invocation } from './invocation.ts';
import { capabilityText, type NodeFacts, nodesOf, stateOf } from './placed.ts';
import type { MemberReport } from './report.ts';
import { numberOf, tableOf } from './table.ts';
import type { Terminal } from './terminal.ts';

const actions: Actions = { ls: [], info: ['node'], drain: ['node'] };

/** `mailvan nodes <action> [node]` */
export const nodes = defineCommand({
  meta: { name: 'nodes', description: 'Show the nodes and what they can do; have one hand over what runs on it' },
  args: {
    action: { type: 'positional', required: true, description: Object.keys(actions).join(', ') },
    which: { type: 'positional', required: false, description: 'For info and drain: the node' },
    undo: { type: 'boolean', description: 'For drain: the node may take something again' },
    ...connectionArguments,
  },
  run: async ({ args, data }) => {
    const { terminal, given } = data as Invocation; // main.ts hands it to every command
    const [action = '', node] = given.positionals;
    checkAction('nodes', actions, action, { node });
    checkOptions('nodes', { undo: ['drain'] }, action, args);
    const timeout = args.timeout === undefined ? undefined : readDuration('--timeout', args.timeout);
    const bus = await connect('nodes', args);
    try {
      if (action === 'ls') await showList(terminal, await nodesOf(bus));
      else if (action === 'info') await showInfo(bus, terminal, node ?? '', timeout ?? 10_000);
      else await drain(bus, terminal, node ?? '', args.undo === true, timeout);
    } finally {
      await bus.close();
    }
  },
});

const columns = [
  { title: 'NODE' },
  { title: 'STATE' },
  { title: 'LEADS' },
  { title: 'KINDS' },
  { title: 'CAPABILITIES' },
  { title: 'INSTANCES', numeric: true },
  { title: 'SUBSCRIPTIONS', numeric: true },
];

async function showList(terminal: Terminal, list: readonly NodeFacts[]): Promise<void> {
  if (terminal.json) {
    for (const node of list) await terminal.line(JSON.stringify(node));
    return;
  }
  const rows = list.map((facts) => [
    facts.node,
    stateOf(facts),
    facts.leader ? '*' : '',
    facts.kinds.join(','),
    capabilityText(facts.capabilities),
    ...[facts.instances.length, facts.subscriptions].map(numberOf),
  ]);
  for (const line of tableOf(columns, rows, terminal.strong)) await terminal.line(line);
}

async function showInfo(bus: Bus, terminal: Terminal, name: string, timeout: number): Promise<void> {
  const facts = await found(bus, name);
  const member = (await bus.status()).members.find(({ node }) => node === name);
  const asked = member === undefined ? undefined : await askedOf(bus, member, timeout);
  if (terminal.json) await terminal.line(JSON.stringify({ ...facts, ...told(asked) }));
  else for (const line of linesOf(facts, asked)) await terminal.line(line);
  if (asked?.status !== undefined) return;
  const { code, message } = asked?.error ?? { code: 'NODE_UNREACHABLE', message: 'it has left' };
  throw new Failure({
    code,
    message: `${name} does not answer: ${message}`,
    exitCode: exitCodes.connect,
    hint: 'what is shown is what the leader knows of it',
  });
}

function told(asked: MemberReport | undefined): Pick<MemberReport, 'status'> {
  return asked?.status === undefined ? {} : { status: asked.status };
}

/** A node by its name. @throws {Failure} `NOT_FOUND`, naming the nearest that exists. */
async function found(bus: Bus, name: string): Promise<NodeFacts> {
  const list = await nodesOf(bus);
  const facts = list.find(({ node }) => node === name);
  if (facts !== undefined) return facts;
  const names = list.map(({ node }) => node);
  const near = nearest(name, names);
  throw new Failure({
    code: 'NOT_FOUND',
    message: `there is no node ${JSON.stringify(name)}${near === undefined ? '' : `; did you mean ${near}?`} [NOT_FOUND]`,
    exitCode: exitCodes.failed,
    hint: `the nodes are ${names.slice(0, 20).join(', ')}`,
  });
}

const width = 15;

function linesOf(facts: NodeFacts, asked: MemberReport | undefined): string[] {
  const { node, leader, kinds, capabilities, instances } = facts;
  const status = asked?.status;
  const lines: [string, string | readonly string[]][] = [
    ['node', node],
    ['state', stateOf(facts)],
    ['role', leader ? 'leader' : 'member'],
    ['kinds', kinds.join(', ') || 'none'],
    ['capabilities', capabilityText(capabilities) || 'none'],
    [
      'instances',
      instances.map((each) => `${each.placement}.${each.instance} ${each.state}, generation ${each.generation}`),
    ],
  ];
  if (status !== undefined) {
    const { incarnation, address, links, mailboxes, spools, subscriptions, deadLetters, store } = status;
    lines.push(
      ['incarnation', incarnation],
      ...(address === undefined ? [] : [['address', address] as [string, string]]),
      ['subscriptions', numberOf(subscriptions.length)],
      ['mailboxes', numberOf(mailboxes.length)],
      ['dead letters', `${numberOf(deadLetters.size)} of at most ${numberOf(deadLetters.limit)}`],
      [
        'links',
        links.map(
          (each) => `${each.node} at ${each.remote}, ${numberOf(each.sent)} bytes out, ${numberOf(each.received)} in`,
        ),
      ],
      [
        'spools',
        spools.map(
          (each) =>
            `${each.subscription} for ${each.home}, ${numberOf(each.messages)} messages, ${numberOf(each.bytes)} bytes`,
        ),
      ],
      ['store', store === undefined ? 'none' : storeText(store)],
    );
  }
  return lines.flatMap(([title, value]) => {
    const all = typeof value === 'string' ? [value] : value.length === 0 ? ['none'] : value;
    return all.map((text, i) => `${(i === 0 ? title : '').padEnd(width)} ${text}`);
  });
}

function storeText({
  folder,
  bytes,
  commits,
  failed,
  gaps,
}: NonNullable<NonNullable<MemberReport['status']>['store']>): string {
  const size = bytes === undefined ? '' : `, ${numberOf(bytes)} bytes`;
  const bad = `${failed ? ', failed' : ''}${gaps === 0 ? '' : `, ${numberOf(gaps)} gaps`}`;
  return `${folder}${size}, ${numberOf(commits)} commits${bad}`;
}

async function drain(
  { placements }: Bus,
  terminal: Terminal,
  node: string,
  undo: boolean,
  timeout: number | undefined,
): Promise<void> {
  await placements.drain(node, { undo, ...(timeout === undefined ? {} : { timeout }) });
  const text = undo
    ? `${node} takes instances again; 'mailvan actors rebalance' gives it its share`
    : `${node} is drained: nothing runs on it`;
  await terminal.line(terminal.json ? JSON.stringify({ node, drained: !undo }) : text);
}
