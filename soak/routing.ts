import { type Result, run } from '../bench/routing.ts';

// Routing at full count: prints what was measured and PASS or FAIL against the targets; exits with 1 when one is missed.
// `--brief` compares fewer topics with the loop over V8's RegExps and repeats less; the counts stay.

interface Target {
  readonly text: string;
  readonly isMet: (result: Result) => boolean;
  readonly figure: (result: Result) => string;
}

const targets: readonly Target[] = [
  {
    text: 'a distinct topic among all patterns at least 20 times as fast as a loop over V8 RegExps',
    isMet: (result) => result.ratio >= 20,
    figure: ({ coldMicroseconds, loopMicroseconds, ratio }) =>
      `${coldMicroseconds.toFixed(1)} us to ${loopMicroseconds.toFixed(0)} us: ${ratio.toFixed(0)} times`,
  },
  {
    text: 'all patterns subscribed within 30 s',
    isMet: (result) => result.subscribeAllMilliseconds < 30_000,
    figure: (result) => `${result.subscribeAllMilliseconds.toFixed(0)} ms`,
  },
  {
    text: 'one more subscribed and matched within 20 ms',
    isMet: (result) => result.oneMoreMedianMilliseconds < 20,
    figure: (result) =>
      `median ${result.oneMoreMedianMilliseconds.toFixed(2)} ms, slowest of 50 ${result.oneMoreMilliseconds.toFixed(2)} ms`,
  },
  {
    text: '50 hostile patterns among 500 others: a topic within 1 ms (median of 100)',
    isMet: (result) => result.hostileMicroseconds < 1_000 && result.hostileLongMicroseconds < 1_000,
    figure: (result) =>
      `60 characters ${result.hostileMicroseconds.toFixed(0)} us, 250 characters ${result.hostileLongMicroseconds.toFixed(0)} us`,
  },
  {
    text: 'a known topic within 100 ns',
    isMet: (result) => result.knownNanoseconds < 100,
    figure: (result) => `${result.knownNanoseconds.toFixed(1)} ns`,
  },
];

const brief = process.argv.includes('--brief');
const result = await run(
  brief
    ? { loopCount: 300, verifyCount: 500, repetitions: 3 }
    : { loopCount: 2_000, verifyCount: 20_000, repetitions: 5 },
);
console.log(
  `routing: ${result.patterns} patterns, ${result.topics} topics, seed ${result.seed}; ` +
    `${result.verified} topics have the same ${result.matches} matches as the loop`,
);
let failed = 0;
for (const target of targets) {
  const met = target.isMet(result);
  if (!met) failed++;
  console.log(`${met ? 'PASS' : 'FAIL'}  ${target.text}: ${target.figure(result)}`);
}
process.exitCode = failed > 0 ? 1 : 0;
