import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { row, single, type Table } from '../harness/result.ts';
import type { DurableSettings } from '../harness/settings.ts';
import { find } from './servers.ts';
import {
  Contestant,
  count,
  type Entrant,
  jetstream,
  type Means,
  oursFsync,
  oursOs,
  ratios,
  redis,
  Stage,
} from './stage.ts';

/** Microseconds. */
interface Times {
  readonly p50: number;
  readonly p99: number;
}

/** One publish at a time, into a mailbox that only collects. */
export async function latency(means: Means, settings: DurableSettings): Promise<Table[]> {
  const { rounds, oneByOne } = settings;
  return Stage.use(means, async (stage) => {
    const found = await stage.alternate(
      [oursOs, jetstream, oursFsync, redis],
      async (entrant) => {
        const { publisher, place } = await stage.contestant(entrant);
        const question = { count: oneByOne, size: 100, inFlight: 1, mailboxes: place.mailboxes };
        return async () => (await publisher.ask('oneByOne', question)) as Times; // what the worker's method returns
      },
      settings,
      2,
    );
    const rowsOf = (part: keyof Times) =>
      new Map(
        [...found].map(([who, times]) => [
          who,
          row(
            `${who.name}, ${part}`,
            times.map((time) => time[part]),
          ),
        ]),
      );
    const p50 = rowsOf('p50');
    const p99 = rowsOf('p99');
    const syncs = [];
    for (const entrant of stage.present([oursFsync, oursOs])) syncs.push(...(await syncsOf(stage, entrant)));
    return [
      {
        title: 'Durable: one publish at a time',
        method: `One after the other, ${count(oneByOne)} a round, ${rounds} rounds: a publish of 100 bytes until it is stored, in a mailbox that only collects. Mailvan stores in the same process; the peers’ figures contain the way to their server. Calls of fdatasync and fsync are counted with strace, in a process of its own.`,
        unit: 'µs',
        rows: [...p50.values(), ...p99.values()],
        comparisons: [...ratios(p50, ', p50'), ...ratios(p99, ', p99'), ...syncs],
      },
    ];
  });
}

/** How often a publish waits for the disk: alone, and with 256 in flight. Without strace: nothing. */
async function syncsOf(stage: Stage, entrant: Entrant): Promise<Table['comparisons']> {
  const strace = await find('strace');
  if (strace === undefined) {
    process.stderr.write('strace is not installed: calls of fdatasync are not counted\n');
    return [];
  }
  const place = await stage.place(entrant, 1, false);
  const log = join(place.folder, '..', 'strace.log');
  const options = ['-f', '-qq', '-e', 'trace=fdatasync,fsync', '-e', 'signal=none', '-o', log];
  const contestant = await Contestant.start(place, [], [strace, ...options]);
  try {
    const calls = async () => (await readFile(log, 'utf8')).match(/ f(?:data)?sync\(/g)?.length ?? 0;
    const perPublish = async (published: number, together: number) => {
      const before = await calls();
      await contestant.send(published, { together });
      return ((await calls()) - before) / published;
    };
    await contestant.send(100, { together: 1 });
    return [
      single(`${entrant.name}: for one publish alone`, await perPublish(500, 1), 'syncs', undefined),
      single(`${entrant.name}: for 1,000, 256 in flight`, 1_000 * (await perPublish(10_240, 256)), 'syncs', undefined),
    ];
  } finally {
    await contestant.stop();
  }
}
