import { pathToFileURL } from 'node:url';
import { compilePattern } from '../src/routing/pattern.ts';
import { Router } from '../src/routing/router.ts';
import { TopicIndex } from '../src/routing/topic-index.ts';
import { hostilePatterns, hostileTopics, patterns, topics } from './routing-lib/workload.ts';

/** What to run; the defaults are the figures of the documentation. */
export interface Options {
  /** @default 10000 */
  readonly patternCount?: number;
  /** @default 20000 */
  readonly topicCount?: number;
  /** On how many of the topics the loop over V8's RegExps is timed: it needs about a millisecond for each. @default 1000 */
  readonly loopCount?: number;
  /** On how many of the topics both must find the same. @default 2000 */
  readonly verifyCount?: number;
  /** Of how many repetitions the median is taken. @default 5 */
  readonly repetitions?: number;
  /** @default 1 */
  readonly seed?: number;
}

/** The figures, in the unit of their name. */
export interface Result {
  readonly seed: number;
  readonly patterns: number;
  readonly topics: number;
  /** How many topics were compared, and how many matches they have in all. */
  readonly verified: number;
  readonly matches: number;
  /** Each distinct topic routed for the first time, by an index that has just been filled. */
  readonly coldMicroseconds: number;
  readonly loopMicroseconds: number;
  /** The same, of each repetition. */
  readonly coldRounds: readonly number[];
  readonly loopRounds: readonly number[];
  /** How many times as fast as the loop over V8's RegExps. */
  readonly ratio: number;
  /** A topic that the router knows. */
  readonly knownNanoseconds: number;
  readonly subscribeAllMilliseconds: number;
  /** One more pattern, added and first matched among all the others: the slowest of 50, and the median. */
  readonly oneMoreMilliseconds: number;
  readonly oneMoreMedianMilliseconds: number;
  /** 50 hostile patterns among 500 others: median and worst of 100 distinct topics of 60 and of 250 characters. */
  readonly hostileMicroseconds: number;
  readonly hostileWorstMicroseconds: number;
  readonly hostileLongMicroseconds: number;
}

/** Runs the benchmark. Throws when the index and the loop find different matches. */
export async function run(options: Options = {}): Promise<Result> {
  const { patternCount = 10_000, topicCount = 20_000, repetitions = 5, seed = 1 } = options;
  const { loopCount = Math.min(1_000, topicCount), verifyCount = Math.min(2_000, topicCount) } = options;
  const sources = patterns(patternCount);
  const list = topics(topicCount, patternCount, seed);
  const expressions = sources.map((source) => new RegExp(`^(?:${source})$`));
  const matches = verify(sources, expressions, list.slice(0, verifyCount));

  warmUp();
  const cold: number[] = [];
  const loop: number[] = [];
  const subscribing: number[] = [];
  for (let i = 0; i < repetitions; i++) {
    const measureIndex = () => {
      const { index, milliseconds } = subscribeAll(sources);
      subscribing.push(milliseconds);
      cold.push((timed(() => matchAll(list, (topic) => index.match(topic))) * 1_000) / list.length);
    };
    const measureLoop = () => {
      const some = list.slice(0, loopCount);
      loop.push((timed(() => matchAll(some, (topic) => matchByLoop(expressions, topic))) * 1_000) / some.length);
    };
    for (const measure of i % 2 === 0 ? [measureIndex, measureLoop] : [measureLoop, measureIndex]) measure();
    await new Promise(setImmediate);
  }
  const oneMore = measureOneMore(sources, list);
  const hostile = measureHostile(60);
  return {
    seed,
    patterns: patternCount,
    topics: topicCount,
    verified: verifyCount,
    matches,
    coldMicroseconds: median(cold),
    loopMicroseconds: median(loop),
    coldRounds: cold,
    loopRounds: loop,
    ratio: median(loop) / median(cold),
    knownNanoseconds: measureKnown(sources, list, repetitions),
    subscribeAllMilliseconds: median(subscribing),
    oneMoreMilliseconds: Math.max(...oneMore),
    oneMoreMedianMilliseconds: median(oneMore),
    hostileMicroseconds: median(hostile),
    hostileWorstMicroseconds: Math.max(...hostile),
    hostileLongMicroseconds: median(measureHostile(250)),
  };
}

function verify(sources: readonly string[], expressions: readonly RegExp[], list: readonly string[]): number {
  const { index } = subscribeAll(sources);
  let matches = 0;
  for (const topic of list) {
    const expected = matchByLoop(expressions, topic);
    const found = index.match(topic);
    if (found.join() !== expected.join()) throw new Error(`${topic}: found ${found}, the loop finds ${expected}`);
    matches += found.length;
  }
  return matches;
}

function subscribeAll(sources: readonly string[]): { index: TopicIndex<number>; milliseconds: number } {
  const index = new TopicIndex<number>();
  const milliseconds = timed(() => {
    for (const [i, source] of sources.entries()) index.add(compilePattern(source), i);
    index.match('orders.1.created');
  });
  return { index, milliseconds };
}

function matchByLoop(expressions: readonly RegExp[], topic: string): number[] {
  const found: number[] = [];
  for (let i = 0; i < expressions.length; i++) if (expressions[i]?.test(topic)) found.push(i);
  return found;
}

function matchAll(list: readonly string[], match: (topic: string) => unknown): void {
  for (const topic of list) match(topic);
}

function warmUp(): void {
  const { index } = subscribeAll(patterns(600));
  for (const topic of topics(3_000, 600, 7)) index.match(topic);
}

/** Between two changes other topics are routed, as they would be. */
function measureOneMore(sources: readonly string[], list: readonly string[]): number[] {
  const { index } = subscribeAll(sources);
  for (const topic of list) index.match(topic);
  return patterns(sources.length + 50)
    .slice(sources.length)
    .map((source, i) => {
      const taken = timed(() => {
        index.add(compilePattern(source), sources.length + i);
        index.match(list[i] as string);
      });
      for (let n = 0; n < 100; n++) index.match(list[(i * 100 + n) % list.length] as string);
      return taken;
    });
}

function measureHostile(length: number): number[] {
  const index = new TopicIndex<string>();
  const others = patterns(500);
  const hostile = hostilePatterns(50);
  for (let i = 0; i < 500; i++) {
    index.add(compilePattern(others[i] as string), `other ${i}`);
    if (i % 10 === 0) index.add(compilePattern(hostile[i / 10] as string), `hostile ${i}`);
  }
  return hostileTopics(100, length, 3).map((topic) => timed(() => index.match(topic)) * 1_000);
}

function measureKnown(sources: readonly string[], list: readonly string[], repetitions: number): number {
  const router = new Router<number>();
  for (const [i, source] of sources.entries()) router.add(compilePattern(source), i);
  const some = list.slice(0, 1_000);
  const rounds = 200;
  let sum = 0;
  const once = () => {
    for (let n = 0; n < rounds; n++) for (const topic of some) sum += router.match(topic).length;
  };
  once();
  const taken = Array.from({ length: repetitions }, () => (timed(once) * 1e6) / (rounds * some.length));
  if (sum === 0) throw new Error('nothing matched');
  return median(taken);
}

function timed(work: () => void): number {
  const start = performance.now();
  work();
  return performance.now() - start;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const result = await run();
  if (process.argv.includes('--json')) console.log(JSON.stringify(result));
  else {
    for (const [name, value] of Object.entries(result)) {
      if (typeof value === 'number') console.log(name.padEnd(28), Number(value.toFixed(3)));
    }
  }
}
