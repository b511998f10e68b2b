import { defineCommand } from 'citty';
import type { Context } from '../actors/delivery.ts';
import { deferred } from '../core/async.ts';
import type { Message } from '../core/message.ts';
import { wildcard } from '../routing/pattern.ts';
import { readCount } from './arguments.ts';
import { connect, connectionArguments } from './connection.ts';
import { untilEnough } from './enough.ts';
import { exitCodes, Failure } from './failure.ts';
import type { Invocation } from './invocation.ts';
import { watch } from './notices.ts';
import { jsonOf, textOf } from './rendering.ts';
import { listenForStop } from './signals.ts';

/** An attempt may wait for a slow reader of stdout as long as the library allows: repeating it would print twice. */
const patience = 86_400_000;

/** `mailvan sub <pattern>` */
export const sub = defineCommand({
  meta: { name: 'sub', description: 'Print what is published, one message a line' },
  args: {
    pattern: {
      type: 'positional',
      required: true,
      description: 'A regular expression that must match the whole topic',
    },
    wildcard: { type: 'boolean', description: 'The pattern is an AMQP wildcard: * is a word, # any number of them' },
    count: {
      type: 'string',
      valueHint: 'n',
      description: 'End after n messages; with --timeout, wait no longer for them',
    },
    ...connectionArguments,
  },
  run: async ({ args, data }) => {
    const { terminal } = data as Invocation; // main.ts hands it to every command
    const count = args.count === undefined ? Number.POSITIVE_INFINITY : readCount('--count', args.count, 1);
    const pattern = args.wildcard === true ? wildcard(args.pattern) : args.pattern;
    const bus = await connect('sub', args);
    const stop = listenForStop();
    try {
      watch(bus, terminal);
      const complete = deferred<void>();
      let printed = 0;
      const print = (message: Message, context: Context): Promise<void> | undefined => {
        if (printed >= count) return undefined; // nobody asked for it
        const waits = terminal.line(terminal.json ? jsonOf(message, context) : textOf(message));
        if (++printed >= count) complete.resolve();
        return waits;
      };
      const { name } = await bus.subscribe(pattern, print, { timeout: patience });
      terminal.note(`${bus.node} listens to ${args.pattern}; Ctrl-C ends`, {
        listening: { node: bus.node, subscription: name, pattern: args.pattern },
      });
      const ends = [complete.promise, stop.asked, terminal.broken];
      await untilEnough(args, ends, () => tooFew(printed, count, args.timeout));
    } finally {
      await bus.close({ timeout: 1000 });
      stop.end();
    }
  },
});

function tooFew(printed: number, count: number, timeout: string | undefined): Failure {
  return new Failure({
    code: 'TIMEOUT',
    message: `${printed} of ${count} messages came within ${timeout}`,
    exitCode: exitCodes.timeout,
    hint: "give it longer by --timeout, or see by 'mailvan pub' whether anybody publishes on such a topic",
    details: { printed, count },
  });
}
