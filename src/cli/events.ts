import { defineCommand } from 'citty';
import type { FollowedEvent, FollowOptions } from '../bus/watching/following.ts';
import { deferred } from '../core/async.ts';
import { type EventType, eventTypes } from '../core/events.ts';
import { nearest } from '../core/spelling.ts';
import { readCount } from './arguments.ts';
import { connect, connectionArguments } from './connection.ts';
import { untilEnough } from './enough.ts';
import { exitCodes, Failure, failureOf, misuse } from './failure.ts';
import type { Invocation } from './invocation.ts';
import { shortened } from './placed.ts';
import { plain } from './rendering.ts';
import { listenForStop } from './signals.ts';

/** `mailvan events` */
export const events = defineCommand({
  meta: { name: 'events', description: 'Print what happens in the cluster, as its nodes tell it, one event a line' },
  args: {
    type: {
      type: 'string',
      valueHint: 'event',
      description: 'Only such events, as message.dead, or message for all of that kind; may be repeated',
    },
    of: { type: 'string', valueHint: 'node', description: 'Only what this node tells, also of the others' },
    count: {
      type: 'string',
      valueHint: 'n',
      description: 'End after n events; with --timeout, wait no longer for them',
    },
    ...connectionArguments,
  },
  run: async ({ args, data }) => {
    const { terminal, given } = data as Invocation; // main.ts hands it to every command
    const count = args.count === undefined ? Number.POSITIVE_INFINITY : readCount('--count', args.count, 1);
    const types = typesOf(given.values('type'));
    const bus = await connect('events', args);
    const stop = listenForStop();
    try {
      const complete = deferred<void>();
      let printed = 0;
      const print = (followed: FollowedEvent): Promise<void> | undefined => {
        if (printed >= count || ofThisNode(followed, bus.node)) return undefined;
        if (++printed >= count) complete.resolve();
        return terminal.line(terminal.json ? jsonOf(followed) : textOf(followed));
      };
      const problem: FollowOptions['problem'] = (node, error) => {
        const { message, code } = failureOf(error);
        terminal.note(`${node} cannot be followed: ${message}`, { problem: { node, code, message } });
      };
      const options = {
        problem,
        ...(types === undefined ? {} : { types }),
        ...(args.of === undefined ? {} : { node: args.of }),
      };
      const end = await bus.follow(print, options);
      terminal.note(`following ${args.of ?? 'every node'}; Ctrl-C ends`, { following: args.of ?? null, types });
      try {
        const ends = [complete.promise, stop.asked, terminal.broken];
        await untilEnough(args, ends, () => tooFew(printed, count, args.timeout));
      } finally {
        end();
      }
    } finally {
      await bus.close({ timeout: 1000 });
      stop.end();
    }
  },
});

/** That this command has come tells nobody anything. */
function ofThisNode({ event }: FollowedEvent, own: string): boolean {
  return 'node' in event && event.node === own && event.type.startsWith('node.');
}

/** The events that were asked for; undefined for all. */
function typesOf(given: readonly string[]): EventType[] | undefined {
  if (given.length === 0) return undefined;
  return given.flatMap((text) => {
    const found = eventTypes.filter((type) => type === text || type.startsWith(`${text}.`));
    if (found.length > 0) return found;
    const near = nearest(text, eventTypes);
    throw misuse(
      `there is no event ${JSON.stringify(text)}${near === undefined ? '' : `; did you mean ${near}?`}`,
      `the events are ${eventTypes.join(', ')}`,
    );
  });
}

/** An event as one line of JSON. What it tells stands apart: it may have a `node` of its own. */
function jsonOf({ node, at, event, missed }: FollowedEvent): string {
  const { type, ...about } = event;
  return JSON.stringify({ at, node, type, about, ...(missed === 0 ? {} : { missed }) });
}

/** An event as one line of text: when, who tells it, what, and its members. */
function textOf({ node, at, event, missed }: FollowedEvent): string {
  const { type, ...about } = event;
  const members = Object.entries(about).map(([name, value]) => `${name}=${shortened(memberText(value), 200)}`);
  const before = missed === 0 ? [] : [`(at least ${missed} before it are missing)`];
  return [new Date(at).toISOString(), node, type, ...members, ...before].join('  ');
}

function memberText(value: unknown): string {
  if (typeof value === 'object' && value !== null && 'message' in value) return String(value.message);
  return plain(value);
}

function tooFew(printed: number, count: number, timeout: string | undefined): Failure {
  return new Failure({
    code: 'TIMEOUT',
    message: `${printed} of ${count} events came within ${timeout}`,
    exitCode: exitCodes.timeout,
    hint: 'give it longer by --timeout, or ask for other events by --type',
    details: { printed, count },
  });
}
