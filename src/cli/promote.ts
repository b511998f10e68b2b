import { defineCommand } from 'citty';
import type { Bus } from '../bus/bus.ts';
import { checkName } from '../core/topic.ts';
import { readDuration } from './arguments.ts';
import { connect, connectionArguments } from './connection.ts';
import { type Failure, failureOf, rehinted } from './failure.ts';
import type { Invocation } from './invocation.ts';

// Whoever serves a shared folder leads.
const { shared: _, ...joining } = connectionArguments;

/** `mailvan promote <node>` */
export const promote = defineCommand({
  meta: { name: 'promote', description: 'Have another node lead: one that listens' },
  args: {
    target: { type: 'positional', required: true, description: 'The node that is to lead' },
    ...joining,
    leader: {
      ...connectionArguments.leader,
      description:
        'The leader; when it is away, where the node to be promoted listens (or MAILVAN_LEADER; else tcp://127.0.0.1:1900)',
    },
  },
  run: async ({ args, data }) => {
    const { terminal, given } = data as Invocation; // main.ts hands it to every command
    const [node = ''] = given.positionals;
    const timeout = args.timeout === undefined ? 10_000 : readDuration('--timeout', args.timeout);
    checkName('node', node);
    const bus = await connect('promote', args, undefined, { promote: node }).catch((error: unknown) => {
      throw explained(failureOf(error), { NO_LEADER: away(node) });
    });
    try {
      // A node that has lost its leader leads by the time it lets this one in.
      const before = await led(bus);
      await bus.promote(node, { timeout }).catch((error: unknown) => {
        throw explained(failureOf(error), { NO_LEADER: away(node), OPTION_INVALID: deaf(node) });
      });
      const now = await led(bus);
      const other = before?.node === node ? undefined : before;
      const told =
        other === undefined ? 'no other leader was in reach' : `before it ${other.node} led, epoch ${other.epoch}`;
      const text = `${node} leads, epoch ${now?.epoch}; ${told}`;
      await terminal.line(terminal.json ? JSON.stringify({ node, before: other ?? null, leader: now ?? null }) : text);
    } finally {
      await bus.close();
    }
  },
});

/** Who leads, as this node knows. */
async function led(bus: Bus): Promise<{ node: string; epoch: string } | undefined> {
  const { leader } = await bus.status();
  return leader && { node: leader.node, epoch: leader.epoch };
}

const away = (node: string): string =>
  `when the leader is away, only ${node} itself can be told: give as --leader the address where ${node} listens`;

const deaf = (node: string): string =>
  `start ${node} with --listen beside its --leader, or promote another: 'mailvan nodes ls' shows who is there`;

/** A failure with what helps here, by its code. */
function explained(failure: Failure, hints: Readonly<Record<string, string>>): Failure {
  const hint = hints[failure.code];
  return hint === undefined ? failure : rehinted(failure, hint);
}
