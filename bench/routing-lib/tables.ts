import { ratio, row, single, type Table } from '../harness/result.ts';
import type { Settings } from '../harness/settings.ts';
import { Worker } from '../harness/worker.ts';
import type { Options, Result } from '../routing.ts';

/** The routing benchmark, in a process of its own. */
export async function run({ brief }: Settings): Promise<Table[]> {
  const worker = Worker.start(new URL('./worker.ts', import.meta.url), ['routing']);
  try {
    const options: Options = brief ? { loopCount: 200, verifyCount: 200 } : {};
    return [tableOf((await worker.ask('run', options)) as Result)]; // what the worker's method returns
  } finally {
    await worker.stop();
  }
}

function tableOf(result: Result): Table {
  const index = row('Mailvan, a topic seen for the first time', result.coldRounds);
  const loop = row('a loop over the patterns as V8 RegExps', result.loopRounds);
  const { patterns, topics, verified, matches } = result;
  return {
    title: 'Routing',
    method: `${count(patterns)} patterns of mixed shapes (literal, prefix, character classes, alternatives, suffix), in an order that mixes them, and ${count(topics)} distinct topics, nine of ten made to match. Both must find the same: for ${count(verified)} topics compared, ${count(matches)} matches. The index is measured by itself, from its source; the loop on a part of the topics. A topic that the router knows takes ${result.knownNanoseconds.toFixed(0)} ns. Hostile: 50 patterns such as \`(a+a+)+[x-z]\` among 500 others.`,
    unit: 'µs a topic',
    rows: [index, loop],
    comparisons: [
      ratio('Loop over V8 RegExps : Mailvan’s index', loop, index, { atLeast: 20 }),
      single('All patterns subscribed', result.subscribeAllMilliseconds, 'ms', { atMost: 30_000 }),
      single('One more subscribed, and matched (slowest of 50)', result.oneMoreMilliseconds, 'ms', { atMost: 20 }),
      single('A topic among hostile patterns (median of 100)', result.hostileMicroseconds / 1_000, 'ms', { atMost: 1 }),
    ],
  };
}

function count(value: number): string {
  return value.toLocaleString('en');
}
