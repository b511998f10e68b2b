import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compilePattern, type Pattern, wildcard } from '../../src/routing/pattern.ts';
import { TopicIndex } from '../../src/routing/topic-index.ts';
import { sources, topics } from './sources.ts';

interface Change {
  readonly kind: 'add' | 'remove' | 'match';
  readonly pattern: number;
  readonly value: number;
  readonly topic: string;
}

/** What an index must do, done by trying every pattern. */
class BruteForce {
  #pairs: { pattern: Pattern; value: number }[] = [];

  add(pattern: Pattern, value: number): void {
    if (!this.#has(pattern, value)) this.#pairs.push({ pattern, value });
  }

  remove(pattern: Pattern, value: number): boolean {
    const had = this.#has(pattern, value);
    this.#pairs = this.#pairs.filter((pair) => pair.pattern.key !== pattern.key || pair.value !== value);
    return had;
  }

  match(topic: string): number[] {
    return this.#pairs.filter((pair) => pair.pattern.test(topic)).map((pair) => pair.value);
  }

  get pairs(): readonly { pattern: Pattern; value: number }[] {
    return this.#pairs;
  }

  #has(pattern: Pattern, value: number): boolean {
    return this.#pairs.some((pair) => pair.pattern.key === pattern.key && pair.value === value);
  }
}

const words = ['a', 'b', 'ab', 'aab', 'x', '1'];
const word = fc.constantFrom(...words);
const piece = fc.oneof(
  word,
  fc.constantFrom('\\.', '.*', '[^.]+', '[ab]+', '(a|b)', '(a|ab|x)', 'x?', '\\d', 'a{1,3}', '.'),
);
const shaped = fc.array(piece, { minLength: 1, maxLength: 6 }).map((pieces) => pieces.join(''));
const dotted = fc.array(fc.oneof(word, fc.constantFrom('*', '#')), { minLength: 1, maxLength: 4 });
const patterns = fc.oneof(
  { weight: 6, arbitrary: shaped.map((source) => compilePattern(source)) },
  { weight: 2, arbitrary: shaped.map((source) => compilePattern(new RegExp(source, 'i'))) },
  { weight: 2, arbitrary: dotted.map((items) => wildcard(items.join('.'))) },
  { weight: 1, arbitrary: shaped.map((source) => compilePattern(`\\$${source}`)) },
  { weight: 1, arbitrary: sources.map((source) => compilePattern(source)) },
);
const plainTopic = fc.array(word, { minLength: 1, maxLength: 4 }).map((items) => items.join('.'));
const anyTopic = fc.oneof(
  plainTopic,
  plainTopic,
  topics,
  plainTopic.map((topic) => `$${topic}`),
);

test('an index finds what trying every pattern finds, through adding and removing', () => {
  const change: fc.Arbitrary<Change> = fc.record({
    kind: fc.constantFrom('add', 'add', 'add', 'remove', 'match'),
    pattern: fc.nat(),
    value: fc.nat(3),
    topic: anyTopic,
  });
  const property = fc.property(
    fc.array(patterns, { minLength: 1, maxLength: 40 }),
    fc.array(change, { maxLength: 120 }),
    fc.array(anyTopic, { minLength: 10, maxLength: 30 }),
    (pool, changes, list) => {
      const index = new TopicIndex<number>();
      const expected = new BruteForce();
      for (const { kind, pattern, value, topic } of changes) {
        const chosen = pool[pattern % pool.length] as Pattern;
        if (kind === 'add') {
          index.add(chosen, value);
          expected.add(chosen, value);
        } else if (kind === 'remove') {
          assert.equal(index.remove(chosen, value), expected.remove(chosen, value));
        } else assert.deepEqual(index.match(topic), expected.match(topic), topic);
        assert.equal(index.size, expected.pairs.length);
      }
      const fresh = new TopicIndex<number>();
      for (const { pattern, value } of expected.pairs) fresh.add(pattern, value);
      for (const topic of list) {
        assert.deepEqual(index.match(topic), expected.match(topic), topic);
        assert.deepEqual(fresh.match(topic), expected.match(topic), `${topic}, built afresh`);
      }
      for (const { pattern, value } of expected.pairs) assert.equal(index.remove(pattern, value), true);
      assert.equal(index.size, 0);
      for (const topic of list) assert.deepEqual(index.match(topic), []);
    },
  );
  fc.assert(property, { numRuns: 150 });
});

test('values come in the order in which they were added, whatever the shape of their pattern', () => {
  const index = new TopicIndex<string>();
  const inputs = ['.*\\.x', 'a\\.[b-d]\\.x', 'a\\.b\\.x', '.*', /b/, wildcard('a.#'), '[^.]+\\.b\\.[^.]+', 'a\\..*'];
  for (const [i, input] of inputs.entries()) index.add(compilePattern(input), `value ${i}`);
  assert.deepEqual(
    index.match('a.b.x'),
    inputs.map((_, i) => `value ${i}`),
  );
});

test('a pair counts once, a value under two patterns twice', () => {
  const index = new TopicIndex<string>();
  index.add(compilePattern('a'), 'one');
  index.add(compilePattern('a'), 'one');
  index.add(compilePattern('a'), 'two');
  index.add(compilePattern('(a|ab|[a-c]b?)'), 'one');
  assert.equal(index.size, 3);
  assert.deepEqual(index.match('a'), ['one', 'two', 'one']);
  assert.equal(index.remove(compilePattern('a'), 'one'), true);
  assert.equal(index.remove(compilePattern('a'), 'one'), false);
  assert.equal(index.remove(compilePattern('b'), 'one'), false);
  assert.deepEqual(index.match('a'), ['two', 'one']);
});

test("a topic of the bus' own reaches only the patterns that name the $", () => {
  const index = new TopicIndex<string>();
  for (const source of ['.*', '.*\\.up', '[$]sys\\.[a-z]+', '\\$sys\\..*', '\\$sys\\.up', '\\$?sys\\.up', '.sys.+']) {
    index.add(compilePattern(source), source);
  }
  assert.deepEqual(index.match('$sys.up'), ['[$]sys\\.[a-z]+', '\\$sys\\..*', '\\$sys\\.up']);
  assert.deepEqual(index.match('sys.up'), ['.*', '.*\\.up', '\\$?sys\\.up']);
});

/** Hostile to automata that know all states (`.*a.{100}b`) and to engines that backtrack (`(x+x+)+y`). */
function hostile(n: number): string {
  const letter = 'abcdefgh'[n % 8] as string;
  const makers = [
    `.*${letter}.{${90 + n}}b`,
    `.*${letter}.{${10 + n}}[b-y]`,
    `(.*${letter}){20}[a-z]`,
    `(${letter}+${letter}+)+y${n}?`,
    `.*${letter}.{10,${20 + n}}[b-y]`,
    `.*(${letter}.{${12 + n}}|b.{13})[c-z].*`,
  ];
  return makers[n % makers.length] as string;
}

test('50 hostile patterns among 500 others find what trying each finds', () => {
  const index = new TopicIndex<number>();
  const all = Array.from({ length: 550 }, (_, i) => {
    const others = [`orders\\.[a-z]+\\.${i}`, `.*\\.n${i}[a-c]`, `[^.]+\\.w${i}\\..*`, `area${i % 7}\\.[0-9]+x${i}`];
    return compilePattern(i % 11 === 0 ? hostile(i / 11) : (others[i % 4] as string));
  });
  for (const [i, pattern] of all.entries()) index.add(pattern, i);
  let state = 1;
  const random = (below: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
  for (let n = 0; n < 100; n++) {
    const tail = Array.from({ length: 20 + random(200) }, () => 'abcdefghxy.'[random(11)]).join('');
    const topic = `orders.${n}.${tail}`;
    assert.deepEqual(
      index.match(topic),
      all.flatMap((pattern, i) => (pattern.test(topic) ? [i] : [])),
    );
  }
});

test('patterns that are tame alone and not together are matched in smaller groups', () => {
  const index = new TopicIndex<number>();
  const all = Array.from({ length: 200 }, (_, i) =>
    compilePattern(`.*${'abcdefghij'[i % 10]}.{${3 + (i % 4)}}[k-z]${i}?`),
  );
  for (const [i, pattern] of all.entries()) index.add(pattern, i);
  let state = 7;
  for (let n = 0; n < 300; n++) {
    let topic = '';
    for (let c = 0; c < 60; c++) {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      topic += 'abcdefghijklm'[(state >>> 8) % 13];
    }
    assert.deepEqual(
      index.match(topic),
      all.flatMap((pattern, i) => (pattern.test(topic) ? [i] : [])),
    );
  }
});

test('a pattern is added to 10,000 others, and removed, one by one', () => {
  const index = new TopicIndex<number>();
  for (let i = 0; i < 10_000; i++) index.add(compilePattern(`[^.]+\\.n${i}\\.[a-z]+`), i);
  assert.deepEqual(index.match('x.n77.abc'), [77]);
  for (let i = 0; i < 5; i++) {
    index.add(compilePattern(`[^.]+\\.n${i}\\.[a-c]+`), 10_000 + i);
    assert.deepEqual(index.match(`x.n${i}.abc`), [i, 10_000 + i]);
  }
  assert.equal(index.remove(compilePattern('[^.]+\\.n77\\.[a-z]+'), 77), true);
  assert.deepEqual(index.match('x.n77.abc'), []);
});
