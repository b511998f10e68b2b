import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Automaton } from '../../src/routing/automaton.ts';
import { compilePattern, type Pattern, patternFromWire } from '../../src/routing/pattern.ts';
import { sources, topics } from './sources.ts';

// fast-check prints the seed and the shrunk example of a failure; MAILVAN_RUNS=100000 searches longer.
const numRuns = Number(process.env.MAILVAN_RUNS ?? 1_500);
const flags = fc.constantFrom('', 'i', 's', 'u', 'iu', 'isu');
const someTopics = fc.array(topics, { minLength: 1, maxLength: 8 });

function compare(pattern: Pattern, oracle: RegExp, list: readonly string[]): void {
  const received = patternFromWire(JSON.parse(JSON.stringify(pattern.toWire())));
  const automaton = pattern.machine === undefined ? undefined : new Automaton([pattern.machine], 1e6);
  for (const topic of list) {
    const expected = oracle.test(topic);
    const what = `${pattern.text} on ${JSON.stringify(topic)}`;
    assert.equal(pattern.test(topic), expected, what);
    assert.equal(received.test(topic), expected, `${what}, on another node`);
    let found = false;
    automaton?.match(topic, () => {
      found = true;
    });
    if (automaton !== undefined) assert.equal(found, expected, `${what}, by the automaton`);
  }
}

test('a RegExp matches the topics that JavaScript would find it in', () => {
  fc.assert(
    fc.property(sources, flags, someTopics, (source, flag, list) => {
      const expression = new RegExp(source, flag);
      compare(compilePattern(expression), expression, list);
    }),
    { numRuns },
  );
});

test('behind \\B, which V8 finds between the halves of a character, too, any number of characters is one of whole ones', () => {
  for (const source of ['\\B', '\\B.*', '\\B.*\\D', '\\B[^]*s', '(?:.*s|\\B)*x$', '\\B.+\\D|a']) {
    for (const flag of ['u', 'iu', 'isu']) {
      const expression = new RegExp(source, flag);
      compare(compilePattern(expression), expression, ['0𐐨ſ', '0𐐨s', '𐐨ſ', '0😀x', '-😀-', 'a']);
    }
  }
});

test('a string matches the topics that JavaScript matches as a whole, by code points', () => {
  fc.assert(
    fc.property(sources, someTopics, (source, list) => {
      compare(compilePattern(source), new RegExp(`^(?:${source})$`, 'u'), list);
    }),
    { numRuns },
  );
});

test('a class holds the very characters that JavaScript puts into it, of all there are', () => {
  const controlOrSurrogate = /[\p{Cc}\p{Cs}\u2028\u2029$]/u;
  const classes: readonly (readonly [string, string])[] = [
    ['.', 'u'],
    ['\\w', 'iu'],
    ['\\W', 'iu'],
    ['[^\\s\\d]', ''],
    ['[^A-Zß-ü]', 'i'],
    ['[Ā-ӿ]', 'i'],
    ['[Ā-ӿꭰ-ꮿ]', 'iu'],
    ['\\p{Lu}', 'iu'],
    ['[^\\p{L}]', 'u'],
    ['[^\\u{103ff}-\\u{10801}]', 'u'],
  ];
  for (const [source, flag] of classes) {
    const expression = new RegExp(`^${source}$`, flag);
    const pattern = compilePattern(expression);
    for (let point = 0; point <= 0x10ffff; point++) {
      const char = String.fromCodePoint(point);
      if (pattern.test(char) === expression.test(char) || controlOrSurrogate.test(char)) continue;
      assert.fail(`${pattern.text} on U+${point.toString(16)}`);
    }
  }
});
