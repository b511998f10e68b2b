import { type Row, row, type Table } from '../harness/result.ts';
import type { DurableSettings } from '../harness/settings.ts';
import { Worker } from '../harness/worker.ts';
import { drained } from './memory.ts';
import { Contestant, count, type Entrant, file, jetstream, type Means, oursOs, ratios, redis, Stage } from './stage.ts';
import type { Role } from './worker.ts';

const rounds = 3;

/** How long a store takes to open after a crash, by the size of its backlog. */
export async function recovery(means: Means, { recovery: sizes }: DurableSettings): Promise<Table[]> {
  const measured = new Map<Entrant, Row[]>();
  for (const entrant of [oursOs, jetstream, redis]) {
    await Stage.use(means, async (stage) => {
      if (stage.present([entrant]).length > 0) measured.set(entrant, await openings(stage, entrant, sizes));
    });
  }
  return [
    {
      title: 'Durable: opening after a crash',
      method: `A store with a backlog of messages of 100 bytes is killed (SIGKILL) and opened again, ${rounds} times each: of Mailvan from the call of \`createBus()\` until it resolves; of the peers from the start of the server until it answers, which with no backlog is what the process itself takes. In the end everything is consumed and counted. The files lie in the kernel’s cache.`,
      unit: 'ms',
      rows: [...measured.values()].flat(),
      comparisons: sizes.flatMap((size, i) =>
        ratios(
          new Map([...measured].flatMap(([who, rows]) => (rows[i] === undefined ? [] : [[who, rows[i]] as const]))),
          `, ${count(size)}`,
        ),
      ),
    },
  ];
}

async function openings(stage: Stage, entrant: Entrant, sizes: readonly number[]): Promise<Row[]> {
  const server = await stage.server(entrant);
  const place = await stage.place(entrant, 1, false);
  const rows: Row[] = [];
  let held = 0;
  for (const size of sizes) {
    const contestant = await Contestant.start(place);
    try {
      await contestant.load(size - held);
    } finally {
      await contestant.kill();
    }
    held = size;
    const taken: number[] = [];
    for (let round = 0; round < rounds; round++) {
      await server?.kill();
      taken.push(await (server === undefined ? opening(place) : server.start()));
    }
    rows.push(row(`${entrant.name}, ${count(size)}`, taken));
  }
  const contestant = await Contestant.start(place);
  try {
    await drained(contestant, held);
  } finally {
    await contestant.stop();
  }
  return rows;
}

async function opening(place: Omit<Role, 'role'>): Promise<number> {
  const worker = Worker.start(file, [JSON.stringify({ ...place, role: 'none' } satisfies Role)]);
  try {
    return (await worker.ask('open')) as number; // what the worker's method returns
  } finally {
    await worker.kill();
  }
}
