import { type Row, ratio, row, type Table } from '../harness/result.ts';
import type { DurableSettings } from '../harness/settings.ts';
import { compareMemory } from './flatness.ts';
import { anonymousMemory } from './servers.ts';
import { Contestant, count, type Entrant, jetstream, type Means, oursOs, redis, Stage } from './stage.ts';

/** MiB. */
interface Memory {
  readonly filling: number;
  readonly holding: number;
  readonly draining: number;
}

const heap = 256;

/** The memory of the process that holds a large backlog: of ours the embedding one, of the peers the server. */
export async function memory(means: Means, { backlog }: DurableSettings): Promise<Table[]> {
  const rows: Row[] = [];
  const holding = new Map<Entrant, Row>();
  for (const entrant of [oursOs, jetstream, redis]) {
    const found = await Stage.use(means, async (stage) =>
      stage.present([entrant]).length === 0 ? undefined : memoryOf(stage, entrant, backlog),
    );
    if (found === undefined) continue;
    const held = row(`${entrant.name}, holding`, [found.holding]);
    holding.set(entrant, held);
    rows.push(row(`${entrant.name}, highest while filling`, [found.filling]), held);
    rows.push(row(`${entrant.name}, highest while draining`, [found.draining]));
  }
  const ours = holding.get(oursOs);
  return [
    compareMemory({
      title: 'Durable: memory',
      method: `Anonymous memory (RssAnon) of the process that holds ${count(backlog)} messages of 1 KiB which nobody consumes, and then drains them, in one round: of Mailvan the embedding process, with publisher and consumer, under \`--max-old-space-size=${heap}\`; of the peers the server alone. Looked at every 50 ms.`,
      unit: 'MiB',
      rows,
      comparisons: [jetstream, redis].flatMap((peer) => {
        const theirs = holding.get(peer);
        return ours === undefined || theirs === undefined
          ? []
          : [ratio(`Mailvan : ${peer.name}, holding`, ours, theirs)];
      }),
    }),
  ];
}

async function memoryOf(stage: Stage, entrant: Entrant, backlog: number): Promise<Memory> {
  const contestant = await Contestant.start(await stage.place(entrant, 1, false), [`--max-old-space-size=${heap}`]);
  try {
    const pid = (await stage.server(entrant))?.pid ?? contestant.home.pid;
    const filling = await highest(pid, () => contestant.load(backlog, { size: 1024 }));
    await new Promise((resolve) => {
      setTimeout(resolve, 300);
    });
    const holding = await anonymousMemory(pid);
    const draining = await highest(pid, () => drained(contestant, backlog));
    return { filling, holding, draining };
  } finally {
    await contestant.stop();
  }
}

/** Consumes what is there, in whatever time it takes. @throws when it is not the number expected. */
export async function drained({ home }: Contestant, expected: number): Promise<void> {
  await home.ask('expect', expected);
  await home.ask('consume');
  let before = -1;
  for (;;) {
    const acked = (await home.ask('acked')) as number; // what the worker's method returns
    if (acked >= expected) break;
    if (acked === before) throw new Error(`${acked} of ${expected} have come back, and for a second no more`);
    before = acked;
    for (let waits = 0; waits < 20 && (await home.ask('acked')) !== expected; waits++) {
      await new Promise((resolve) => {
        setTimeout(resolve, 50);
      });
    }
  }
  await home.ask('finished');
}

async function highest(pid: number, act: () => Promise<unknown>): Promise<number> {
  let most = await anonymousMemory(pid);
  const looking = new AbortController();
  const look = (async () => {
    while (!looking.signal.aborted) {
      most = Math.max(most, await anonymousMemory(pid));
      await new Promise((resolve) => {
        setTimeout(resolve, 50);
      });
    }
  })();
  try {
    await act();
  } finally {
    looking.abort();
    await look.catch(() => undefined);
  }
  return most;
}
