import { defineCommand } from 'citty';
import type { Bus } from '../bus/bus.ts';
import { deferred } from '../core/async.ts';
import { systemClock } from '../core/clock.ts';
import { readDuration } from './arguments.ts';
import { reportOf } from './asking.ts';
import { connect, connectionArguments } from './connection.ts';
import type { Invocation } from './invocation.ts';
import { listenForStop } from './signals.ts';
import type { Terminal } from './terminal.ts';
import { type Snapshot, viewOf } from './top-view.ts';

/** How long a node may take to answer before it is shown without its numbers, in milliseconds. */
const patience = 2000;
/** The keys that end it: in raw mode Ctrl-C and Ctrl-D are keys like others. */
const endings = ['q', 'Q', '\u0003', '\u0004'];

/** `mailvan top` */
export const top = defineCommand({
  meta: { name: 'top', description: 'Watch nodes, placements, and the busiest subscriptions and mailboxes' },
  args: {
    interval: { type: 'string', valueHint: 'time', description: 'How often it looks: 500ms, 2s (else 1s)' },
    once: { type: 'boolean', description: 'Print what there is now, and end; so it does where stdout is no terminal' },
    ...connectionArguments,
  },
  run: async ({ args, data }) => {
    const { terminal } = data as Invocation; // main.ts hands it to every command
    const interval = args.interval === undefined ? 1000 : readDuration('--interval', args.interval);
    const bus = await connect('top', args);
    try {
      if (args.once !== true && terminal.isScreen) await watchTop(bus, terminal, process.stdin, interval);
      else {
        const snapshot = await snapshotOf(bus);
        if (terminal.json) await terminal.line(JSON.stringify(snapshot));
        else for (const line of viewOf(snapshot, terminal.strong)) await terminal.line(line);
      }
    } finally {
      await bus.close({ timeout: 1000 });
    }
  },
});

/** Asks everybody at once; the leader tells who is about to leave, if it can be asked. */
async function snapshotOf(bus: Bus): Promise<Snapshot> {
  const nodes = bus.placements.nodes().catch(() => []);
  const report = await reportOf(bus, patience);
  const leaving = (await nodes).filter((node) => node.leaving).map(({ node }) => node);
  return { ...report, leaving, placements: bus.placements.list() };
}

/** Where keys come from: stdin, or what a test puts in its place. */
export type Keyboard = Pick<NodeJS.ReadStream, 'isTTY' | 'on' | 'off' | 'resume' | 'pause' | 'setRawMode'>;

/** Draws what there is, again and again, until `q`, Ctrl-C, a signal, or nobody reads any more. */
export async function watchTop(bus: Bus, terminal: Terminal, keyboard: Keyboard, interval: number): Promise<void> {
  const stop = listenForStop();
  const ended = deferred<void>();
  let isEnded = false;
  const end = (): void => {
    isEnded = true;
    ended.resolve();
  };
  const onKey = (keys: Buffer | string): void => {
    if ([...String(keys)].some((key) => endings.includes(key))) end();
  };
  void Promise.race([stop.asked, terminal.broken]).then(end);
  if (keyboard.isTTY) {
    keyboard.setRawMode(true);
    keyboard.on('data', onKey);
    keyboard.resume();
  }
  try {
    while (!isEnded) {
      const snapshot = await Promise.race([snapshotOf(bus), ended.promise]);
      if (snapshot === undefined) break;
      terminal.draw(viewOf(snapshot, terminal.strong, terminal.rows - 1));
      const next = deferred<void>();
      const timer = systemClock.timer(interval, next.resolve);
      await Promise.race([next.promise, ended.promise]);
      timer.cancel();
    }
  } finally {
    if (keyboard.isTTY) {
      keyboard.off('data', onKey);
      keyboard.setRawMode(false);
      keyboard.pause();
    }
    terminal.endDrawing();
    stop.end();
  }
}
