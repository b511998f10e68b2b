import { defineCommand } from 'citty';
import type { ExplainedRoute } from '../bus/routes/explaining.ts';
import { readDuration } from './arguments.ts';
import { reportOf } from './asking.ts';
import { connect, connectionArguments } from './connection.ts';
import { exitCodes, Failure } from './failure.ts';
import type { Invocation } from './invocation.ts';
import { shortened } from './placed.ts';
import type { ClusterReport } from './report.ts';
import { numberOf, tableOf } from './table.ts';

/** A way that a message would take, with what its node tells of it. */
interface ShownRoute extends ExplainedRoute {
  /** `active`, `paused`, `quarantined`, …; left out when the node does not answer. */
  readonly state?: string;
  readonly waiting?: number;
  /** Of a durable mailbox: those who are attached, on whatever node. */
  readonly consumers?: number;
}

/** `mailvan explain <topic>` */
export const explain = defineCommand({
  meta: {
    name: 'explain',
    description: 'Say who would get a message on a topic, where that is, and what stands in the way',
  },
  args: {
    topic: { type: 'positional', required: true, description: 'The topic of the message; nothing is published' },
    ...connectionArguments,
  },
  run: async ({ args, data }) => {
    const { terminal } = data as Invocation; // main.ts hands it to every command
    const timeout = args.timeout === undefined ? 10_000 : readDuration('--timeout', args.timeout);
    const bus = await connect('explain', args);
    try {
      const { topic, routes } = bus.explain(args.topic);
      const report = routes.length === 0 ? undefined : await reportOf(bus, timeout);
      const shown = routes.map((route) => ({ ...route, ...toldOf(route, report) }));
      if (terminal.json) await terminal.line(JSON.stringify({ topic, routes: shown }));
      else for (const line of linesOf(topic, shown, terminal.strong)) await terminal.line(line);
      if (routes.length === 0) throw nobody(topic);
    } finally {
      await bus.close();
    }
  },
});

/** What its node tells of the mailbox. */
function toldOf(route: ExplainedRoute, report: ClusterReport | undefined): Omit<ShownRoute, keyof ExplainedRoute> {
  const status = report?.members.find(({ node }) => node === route.node)?.status;
  if (route.durable) {
    const mailbox = status?.mailboxes.find(({ name }) => name === route.subscription);
    if (mailbox === undefined) return {};
    const { waiting, consumers } = mailbox;
    return { state: consumers === 0 ? 'collecting' : 'active', waiting, consumers };
  }
  const own = status?.subscriptions.find(({ name }) => name === route.subscription);
  return own === undefined ? {} : { state: own.state, waiting: own.waiting };
}

const columns = [
  { title: '' },
  { title: 'SUBSCRIPTION' },
  { title: 'PATTERN' },
  { title: 'NODE' },
  { title: 'KEPT' },
  { title: 'STATE' },
  { title: 'WAITING', numeric: true },
  { title: 'ATTEMPTS', numeric: true },
];

function linesOf(topic: string, routes: readonly ShownRoute[], strong: (text: string) => string): string[] {
  if (routes.length === 0) return [];
  const count = `${numberOf(routes.length)} subscription${routes.length === 1 ? '' : 's'}`;
  const rows = routes.map((route, i) => {
    const { subscription, pattern, group, node, durable, state, waiting, retry } = route;
    return [
      String(i + 1),
      group === undefined ? subscription : `${subscription} (one of ${group})`,
      shortened(pattern, 40),
      node,
      durable ? 'on disk' : 'in memory',
      route.reachable ? stateText(route) : `unreachable${state === undefined ? '' : `, ${state}`}`,
      waiting === undefined ? '' : numberOf(waiting),
      numberOf(retry.attempts),
    ];
  });
  const reasons = routes.flatMap(({ why, durable, subscription }) => {
    if (why === undefined) return [];
    const then = durable
      ? 'a publisher with a dataDir keeps the message until it is back, another one is refused with NODE_UNREACHABLE'
      : 'the receipt names it as unreachable, and it does not get the message';
    return [`  ${subscription}: ${shortened(why, 200)}; ${then}`];
  });
  const head = `A message on ${strong(shortened(topic, 300))} goes to ${count}, in this order`;
  return [head, ...tableOf(columns, rows, strong), ...(reasons.length === 0 ? [] : ['', ...reasons])];
}

function stateText({ state, consumers }: ShownRoute): string {
  if (state === undefined) return 'no answer';
  if (consumers === undefined) return state;
  return consumers === 0 ? 'no consumer' : `${numberOf(consumers)} consumer${consumers === 1 ? '' : 's'}`;
}

function nobody(topic: string): Failure {
  return new Failure({
    code: 'NO_SUBSCRIBERS',
    message: `nobody has subscribed to ${JSON.stringify(topic)}: publish() resolves with matched: 0`,
    exitCode: exitCodes.noSubscribers,
    hint: "a string pattern must match the whole topic; 'mailvan status' shows every subscription with its pattern",
  });
}
