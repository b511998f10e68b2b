import { pathToFileURL } from 'node:url';
import { printTables } from './harness/print.ts';
import { ratio, row, type Table } from './harness/result.ts';
import { alternate } from './harness/rounds.ts';
import { type Settings, settings } from './harness/settings.ts';
import { Worker } from './harness/worker.ts';

const file = new URL('./in-process-lib/worker.ts', import.meta.url);

/** Mailvan beside Moleculer, nact and EventEmitter, each in a process of its own. */
export async function run(options: Settings): Promise<Table[]> {
  const emits = ['mailvan emit', 'moleculer emit', 'nact dispatch', 'event emitter'];
  const [byMailvan = [], byMoleculer = [], byNact = [], byEmitter = []] = await measure(emits, options);
  const [published = [], awaitedByMoleculer = []] = await measure(['mailvan publish', 'moleculer awaited'], options);
  const mailvan = row('Mailvan emit', byMailvan);
  const moleculer = row('Moleculer emit', byMoleculer);
  const nact = row('nact dispatch', byNact);
  const emitter = row('EventEmitter emit', byEmitter);
  const publish = row('Mailvan publish', published);
  const awaited = row('Moleculer emit, awaited', awaitedByMoleculer);
  return [
    {
      title: 'In process: sending without waiting',
      method:
        'One pattern subscription (nact and EventEmitter have no patterns), a fresh object of 100 bytes for each message, from the first call until the last message has been handled. Mailvan checks payloads and bounds its mailbox, and its handlers may fail and are retried; the others do not. EventEmitter, a plain function call, is there for orientation.',
      unit: 'messages/s',
      rows: [mailvan, moleculer, nact, emitter],
      comparisons: [
        ratio('Mailvan emit : Moleculer emit', mailvan, moleculer, { atLeast: 4.5 }),
        ratio('Mailvan emit : nact dispatch', mailvan, nact, { atLeast: 3 }),
        ratio('Mailvan emit : EventEmitter', mailvan, emitter),
      ],
    },
    {
      title: 'In process: waiting for the answer',
      method:
        'The same, with the promise of each message awaited, 1,024 of them together: the receipt of a publish, and what Moleculer’s emit returns.',
      unit: 'messages/s',
      rows: [publish, awaited],
      comparisons: [ratio('Mailvan publish : Moleculer emit', publish, awaited, { atLeast: 2 })],
    },
  ];
}

async function measure(
  names: readonly string[],
  { rounds, warmUp, roundTime, patience }: Settings,
): Promise<number[][]> {
  const workers = names.map((name) => Worker.start(file, [name]));
  try {
    const contestants = [];
    for (const worker of workers) {
      const count = (await worker.ask('warmUp', { warmUp, roundTime })) as number; // what the worker's method returns
      contestants.push({ measure: async () => (await worker.ask('round', count)) as number });
    }
    return await alternate(contestants, rounds, patience);
  } finally {
    await Promise.all(workers.map((worker) => worker.stop()));
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) printTables(await run(settings()));
