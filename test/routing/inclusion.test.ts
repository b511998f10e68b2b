import assert from 'node:assert/strict';
import { test } from 'node:test';
import { included } from '../../src/routing/inclusion.ts';
import { compilePattern, type PatternInput, wildcard } from '../../src/routing/pattern.ts';

const list = (inputs: readonly PatternInput[]) => inputs.map(compilePattern);

const cases: [what: string, pattern: PatternInput, allow: PatternInput[], deny: PatternInput[], answer: boolean][] = [
  ['a topic that is allowed', 'orders\\.new', ['orders\\..*'], [], true],
  ['a topic that is denied', 'orders\\.new', ['orders\\..*'], ['orders\\.new'], false],
  ['topics of which one is denied', 'orders\\.(new|old)', ['orders\\..*'], ['.*old'], false],
  ['the same pattern', 'orders\\.[a-z]+', ['orders\\.[a-z]+'], [], true],
  ['less than what is allowed', 'orders\\.[a-f]+', ['orders\\.[a-z]+'], [], true],
  ['more than what is allowed', 'orders\\.[a-z0-9]+', ['orders\\.[a-z]+'], [], false],
  ['a little more than what is allowed', 'orders\\.[a-z]*', ['orders\\.[a-z]+'], [], false],
  ['what only two together allow', '(a|b)[0-9]+', ['a.*', 'b.*'], [], true],
  ['what one of them does not allow', '(a|b|c)[0-9]+', ['a.*', 'b.*'], [], false],
  ['a part of which is denied', 'orders\\..*', ['.*'], ['orders\\.secret.*'], false],
  ['what is beside what is denied', 'orders\\.p.*', ['.*'], ['orders\\.secret.*'], true],
  ['everything', '.*', ['.*'], [], true],
  ['everything, by a search', /x?/, ['.*'], [], true],
  ['everything where little is allowed', '.*', ['a', 'b.*'], [], false],
  ['a wildcard in a regular expression', wildcard('orders.*.new'), ['orders\\..*'], [], true],
  ['a wildcard that matches the stem, too', wildcard('orders.#'), ['orders\\..*'], [], false],
  ['a regular expression in a wildcard', 'orders\\.[^.]+', [wildcard('orders.#')], [], true],
  ['what is searched, in what is searched', /^orders\.eu/, [/^orders\./], [/secret$/], false],
  ['letters in any case', /^orders\.x$/i, ['orders\\.x'], [], false],
  ['letters in any case, allowed so', 'Orders\\.x', [/^orders\.x$/i], [], true],
  ['nothing is allowed', 'a', [], [], false],
  ['topics of the bus, which no pattern but theirs matches', '[$a]b+', ['ab+'], [], true],
  ['what no topic holds plays no part', 'a[^b]', ['a[^b\\n]'], [], true],
];

for (const [what, pattern, allow, deny, answer] of cases) {
  test(`${what}: ${pattern} ${answer ? 'is' : 'is not'} within ${allow.join(' ')}${deny.length === 0 ? '' : ` without ${deny.join(' ')}`}`, () => {
    assert.equal(included(compilePattern(pattern), list(allow), list(deny)), answer);
  });
}

test('what takes too long to follow is not taken for included', () => {
  const hostile = compilePattern('.*a.{60}b');
  assert.equal(included(hostile, list(['.*a.{61}|.*c.{60}b|.*a.{60}[bc]']), []), false);
  assert.equal(included(hostile, [hostile], []), true);
});

test('against trying every short text: whatever is said to be included is', () => {
  const texts: string[] = [''];
  for (let i = 0; texts.length < 1500; i++) for (const letter of 'ab.') texts.push(texts[i] + letter);
  const sources = ['a', 'a+', '(a|b)+', 'a.*', '.*b', 'a[ab]*b', '(ab)+', 'a\\..*', '.*', '[ab]{2,3}', 'b?a', '.*\\.a'];
  let yes = 0;
  for (const s of sources) {
    for (const a of sources) {
      for (const d of sources) {
        const [pattern, allow, deny] = list([s, a, d]) as [ReturnType<typeof compilePattern>, never, never];
        const answer = included(pattern, [allow], [deny]);
        const found = texts.slice(1).every((text) => {
          return !pattern.test(text) || (compilePattern(a).test(text) && !compilePattern(d).test(text));
        });
        assert.equal(answer, found, `${s} within ${a} without ${d}`);
        if (answer) yes++;
      }
    }
  }
  assert.ok(yes > 50, `only ${yes} are included`);
});
