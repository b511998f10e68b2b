import { defineCommand } from 'citty';
import { readDuration } from './arguments.ts';
import { reportOf } from './asking.ts';
import { connect, connectionArguments } from './connection.ts';
import type { Invocation } from './invocation.ts';
import { overviewOf } from './overview.ts';

/** `mailvan status` */
export const status = defineCommand({
  meta: { name: 'status', description: 'Show the members of the cluster, their subscriptions, rates and backlogs' },
  args: { ...connectionArguments },
  run: async ({ args, data }) => {
    const { terminal } = data as Invocation; // main.ts hands it to every command
    const timeout = args.timeout === undefined ? 10_000 : readDuration('--timeout', args.timeout);
    const bus = await connect('status', args);
    try {
      const report = await reportOf(bus, timeout);
      if (terminal.json) await terminal.line(JSON.stringify(report));
      else for (const line of overviewOf(report, terminal.hasColours)) await terminal.line(line);
    } finally {
      await bus.close();
    }
  },
});
