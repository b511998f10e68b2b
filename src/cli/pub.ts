import { defineCommand } from 'citty';
import type { Bus } from '../bus/bus.ts';
import type { PublishOptions } from '../bus/options/publish-options.ts';
import { BusError } from '../core/errors.ts';
import { readCount, readDuration } from './arguments.ts';
import { connect, connectionArguments } from './connection.ts';
import { misuse } from './failure.ts';
import type { Invocation } from './invocation.ts';
import { linesOf } from './lines.ts';
import { missedBy, Publishing } from './publishing.ts';
import { listenForStop } from './signals.ts';
import type { Terminal } from './terminal.ts';

/** `mailvan pub <topic> [message]` */
export const pub = defineCommand({
  meta: { name: 'pub', description: 'Publish a message, or one message for each line of stdin' },
  args: {
    topic: { type: 'positional', required: true, description: 'What to publish on' },
    message: { type: 'positional', required: false, description: 'The message; left out: one a line from stdin' },
    'json-payload': { type: 'boolean', description: 'Read messages as JSON, instead of as text' },
    key: { type: 'string', valueHint: 'text', description: 'Messages of one key are handled in order, one at a time' },
    header: { type: 'string', valueHint: 'name=value', description: 'Text beside the payload; may be repeated' },
    id: { type: 'string', valueHint: 'text', description: "The message's id, to repeat a publish under it" },
    'at-least': { type: 'string', valueHint: 'count', description: 'Fail when fewer subscriptions match (else 1)' },
    ...connectionArguments,
  },
  run: async ({ args, data }) => {
    const { terminal, given } = data as Invocation; // main.ts hands it to every command
    const { topic, message, key, id, timeout } = args;
    if (id !== undefined && message === undefined) throw misuse('--id is for one message: give the message, too');
    const payload = args['json-payload'] === true ? jsonPayload : (text: string): unknown => text;
    const options: PublishOptions = {
      atLeast: readCount('--at-least', args['at-least'] ?? '1', 0),
      headers: headersOf(given.values('header')),
      ...(key === undefined ? {} : { key }),
      ...(id === undefined ? {} : { id }),
      ...(timeout === undefined ? {} : { timeout: readDuration('--timeout', timeout) }),
    };
    // Read before connecting: what is wrong with the call should not take a leader to find out.
    const single = message === undefined ? undefined : { payload: readArgument(payload, message) };
    const bus = await connect('pub', args);
    try {
      if (single === undefined) await publishLines(bus, terminal, topic, options, payload);
      else await publishOne(bus, terminal, topic, options, single.payload);
    } finally {
      // Every receipt is in or was given up: there is nothing to wait for.
      await bus.close({ timeout: 0 });
    }
  },
});

async function publishOne(
  bus: Bus,
  terminal: Terminal,
  topic: string,
  options: PublishOptions,
  payload: unknown,
): Promise<void> {
  const receipt = await bus.publish(topic, payload, options);
  const missed = missedBy(receipt);
  if (missed !== undefined) throw missed;
  const { id, matched } = receipt;
  const text = `published ${id} to ${matched} subscription${matched === 1 ? '' : 's'}`;
  await terminal.line(terminal.json ? JSON.stringify({ topic, ...receipt }) : text);
}

/** Ends at the end of stdin, at a signal, or at the first message that fails; whatever was read until then is sent. */
async function publishLines(
  bus: Bus,
  terminal: Terminal,
  topic: string,
  options: PublishOptions,
  payload: (text: string) => unknown,
): Promise<void> {
  const { stdin } = process;
  if (stdin.isTTY) terminal.note(`publishing on '${topic}': a message a line, Ctrl-D ends`, { publishing: topic });
  const stop = listenForStop();
  void stop.asked.then(() => stdin.destroy());
  const publishing = new Publishing(bus, terminal, topic, options);
  try {
    for await (const line of linesOf(stdin)) {
      await publishing.send(() => payload(line));
      if (publishing.hasFailed) break;
    }
    await publishing.finish();
  } finally {
    stop.end();
    stdin.destroy();
  }
}

function readArgument(payload: (text: string) => unknown, message: string): unknown {
  try {
    return payload(message);
  } catch (error) {
    throw misuse((error as Error).message, `write text as '"text"', or leave out --json-payload`); // JSON.parse's
  }
}

function jsonPayload(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const shown = text.length > 60 ? `${text.slice(0, 57)}…` : text;
    throw new BusError('PAYLOAD_INVALID', `${JSON.stringify(shown)} is no JSON`, { cause });
  }
}

function headersOf(given: readonly string[]): Record<string, string> {
  const headers: [string, string][] = [];
  for (const text of given) {
    const at = text.indexOf('=');
    if (at < 1) throw misuse(`--header ${JSON.stringify(text)} must be written name=value`);
    headers.push([text.slice(0, at), text.slice(at + 1)]);
  }
  return Object.fromEntries(headers);
}
