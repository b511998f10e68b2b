import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BusError } from '../../src/core/errors.ts';
import { compilePattern, type PatternInput, patternFromWire, wildcard } from '../../src/routing/pattern.ts';

function refused(act: () => unknown, text: RegExp): void {
  assert.throws(act, (error: unknown) => {
    assert.ok(error instanceof BusError);
    assert.equal(error.code, 'PATTERN_INVALID');
    assert.equal(error.retryable, false);
    assert.match(error.message, text);
    return true;
  });
}

test('a string must match the whole topic, a RegExp is searched unless anchored', () => {
  assert.equal(compilePattern('orders').test('orders'), true);
  assert.equal(compilePattern('orders').test('my.orders'), false);
  assert.equal(compilePattern('a|b').test('ab'), false);
  assert.equal(compilePattern(/orders/).test('my.orders.x'), true);
  assert.equal(compilePattern(/^orders/).test('my.orders'), false);
  assert.equal(compilePattern(/^a|b$/).test('ax'), true);
  assert.equal(compilePattern(/^a|b$/).test('xbx'), false);
  assert.equal(compilePattern(/(?:)/).test('anything'), true);
});

test('what linear time cannot do is refused by name and position', () => {
  const cases: readonly (readonly [PatternInput, RegExp])[] = [
    ['a(?=b)', /lookahead at position 1/],
    ['ab(?!c)', /lookahead at position 2/],
    ['(?<=a)b', /lookbehind at position 0/],
    [/x(?<!a)b/, /lookbehind at position 1/],
    ['(a)\\1', /backreference at position 3/],
    [/(?<n>a)\k<n>/, /backreference at position 7/],
  ];
  for (const [input, text] of cases) refused(() => compilePattern(input), text);
});

test('what is no regular expression is refused by name and position', () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['', /empty/],
    ['a(b', /unclosed '\(' at position 1/],
    ['ab)', /unmatched '\)' at position 2/],
    ['a[b', /unclosed '\[' at position 1/],
    ['[b-a]', /range that is out of order at position 1/],
    ['*a', /nothing to repeat at position 0/],
    ['a**', /nothing to repeat at position 2/],
    ['a{2}{3}', /nothing to repeat at position 4/],
    ['^*', /quantifier behind an assertion at position 0/],
    ['a{3,2}', /out of order at position 1/],
    ['a\\', /nothing behind it at position 1/],
    ['(?<n', /group name at position 0/],
    ['(?i)a', /inline flags .* at position 0/],
    ['ab\\A', /unsupported escape \\A at position 2/],
    ['\\Qa\\E', /unsupported escape \\Q at position 0/],
    ['\\x4', /unfinished escape \\x at position 0/],
    ['\\u12', /unfinished escape \\u at position 0/],
    ['\\u{110000}', /unfinished escape \\u at position 0/],
    ['\\c1', /unfinished escape \\c at position 0/],
    ['a\\01', /octal escape at position 1/],
    ['\\p{Nonsense}', /Unicode property that is not known at position 0/],
  ];
  for (const [source, text] of cases) refused(() => compilePattern(source), text);
  refused(() => patternFromWire({ kind: 'regexp', source: '\\p{L}', flags: '' }), /without the u flag at position 0/);
});

test('flags other than i, s and u are refused by name', () => {
  for (const flag of ['g', 'y', 'm', 'd', 'v']) {
    refused(() => compilePattern(new RegExp('a', flag)), new RegExp(`flag '${flag}'`));
  }
  assert.equal(compilePattern(/^ab$/i).test('aB'), true);
});

test('what is neither a string nor a RegExp nor a pattern is refused', () => {
  for (const input of [undefined, null, 5, {}, ['a']]) {
    refused(() => compilePattern(input as unknown as string), /not a string, a RegExp or a wildcard/);
  }
  refused(() => wildcard(5 as unknown as string), /not a wildcard text/);
  refused(() => wildcard(''), /empty/);
});

test('a pattern that grows too large when its counts are written out is refused at once', () => {
  const bombs = [
    '(a{1,1000}){2}',
    '(.*a{500}){20}b',
    '((((a{64}){64}){64}){64})',
    '(((a?){30}){30}){30}',
    'a{99999999999}',
    `a{${'9'.repeat(400)}}`,
    '(((a|b?){1,50}c?){1,50}){1,50}',
    '(?:[]{0}|a{0,9}){999999}',
  ];
  for (const bomb of bombs) refused(() => compilePattern(bomb), /too large/);
  refused(() => compilePattern('a'.repeat(20_000)), /too large/);
  refused(() => compilePattern(`(a?){600}`), /too large/);
  refused(() => compilePattern('('.repeat(5_000)), /nested groups at position 100/);
  assert.equal(compilePattern('(?:){999999999}a').test('a'), true);
});

test('hostile patterns within the limit are matched in linear time', () => {
  const cases: readonly (readonly [PatternInput, string, boolean])[] = [
    ['.*a.{100}b', `${'a'.repeat(154)}b`, true],
    ['.*a.{100}b', 'a'.repeat(255), false],
    ['(.*a){20}b', `${'a'.repeat(254)}b`, true],
    ['(.*a){20}b', 'a'.repeat(255), false],
    ['(x+x+)+y', `${'x'.repeat(254)}y`, true],
    ['(x+x+)+y', 'x'.repeat(255), false],
    [/^(a+)+$/, `${'a'.repeat(254)}b`, false],
    [/(a|aa)+$/, `${'a'.repeat(254)}b`, false],
    ['(a?){60}a{60}', 'a'.repeat(60), true],
    ['([a-z]+)*[0-9]', 'z'.repeat(255), false],
    ['.*a.{10,120}z[^z]*', `${'a'.repeat(200)}zb`, true],
    ['(.?.?.?.?.?.?)*!', 'x'.repeat(255), false],
  ];
  for (const [input, topic, expected] of cases)
    assert.equal(compilePattern(input).test(topic), expected, String(input));
});

test("JavaScript's own spellings mean what they mean there", () => {
  const cases: readonly (readonly [PatternInput, string, boolean])[] = [
    ['a\\u0062\\x63', 'abc', true],
    ['\\u{1f600}', '😀', true],
    ['\\ud83d\\ude00', '😀', true],
    ['a[^]c', 'a😀c', true],
    ['a[]c', 'ac', false],
    ['a\\/b', 'a/b', true],
    [/a\/b/, 'a/b', true],
    ['a.c', 'a😀c', true],
    [/^a.c$/, 'a😀c', false],
    [/^a..c$/, 'a😀c', true],
    ['a\\sb', 'a\u00a0b', true],
    ['a\\sb', 'a\u3000b', true],
    ['\\w', 'é', false],
    ['\\d', '٣', false],
    ['\\p{Script=Greek}+', 'αβγ', true],
    [/^k$/i, '\u212a', false],
    [/^k$/iu, '\u212a', true],
    ['[\\w-]+', 'a-b', true],
    ['[a\\-z]+', 'a-z', true],
    ['a{,2}', 'a{,2}', true],
    ['{id}', '{id}', true],
    ['a]', 'a]', true],
    ['\\bfoo\\b.*', 'foo.bar', true],
    ['\\bfoo\\b.*', 'foobar', false],
    ['fo\\Bo', 'foo', true],
    ['(^a|b)c$', 'bc', true],
    ['a$b', 'a$b', false],
    ['(?<name>a)(?:b)+?', 'abb', true],
    ['^$', 'a', false],
  ];
  for (const [input, topic, expected] of cases) {
    assert.equal(compilePattern(input).test(topic), expected, `${input} on ${topic}`);
  }
  for (const source of ['\\cA', '\\t', '\\0', '[\\b]']) assert.equal(compilePattern(source).test('A'), false);
});

test('a topic that starts with $ is matched only by patterns whose literal prefix does', () => {
  const cases: readonly (readonly [PatternInput, boolean])[] = [
    ['.*', false],
    [/sys/, false],
    [/^/, false],
    ['.*\\.up', false],
    ['[$a]sys\\.up', false],
    ['\\$sys\\.up|x', false],
    [wildcard('#'), false],
    [wildcard('*.up'), false],
    ['\\$sys\\..*', true],
    ['\\$.*', true],
    ['[$]sys\\.[a-z]+', true],
    ['\\$sys\\.up|\\$sys\\.down', true],
    [/^\$sys/, true],
    [wildcard('$sys.*'), true],
    [wildcard('$sys.#'), true],
  ];
  for (const [input, expected] of cases) {
    const pattern = compilePattern(input);
    assert.equal(pattern.test('$sys.up'), expected, pattern.text);
    assert.equal(pattern.internal, expected, pattern.text);
  }
  assert.equal(compilePattern('\\$?x').test('x'), true);
});

test('a wildcard follows AMQP: * is one word, # is zero or more', () => {
  const table: Readonly<Record<string, readonly [yes: string, no: string]>> = {
    a: ['a', 'b ab a.b A'],
    'a.*': ['a.b a.bc a.', 'a a.b.c b.a ab'],
    '*.a': ['b.a .a', 'a b.c.a b.aa'],
    '*': ['a abc', 'a.b .'],
    '*.*': ['a.b', 'a a.b.c'],
    '#': ['a a.b a.b.c', ''],
    'a.#': ['a a.b a.b.c', 'ab b.a aa.b'],
    '#.a': ['a b.a c.b.a', 'ba a.b b.aa'],
    'a.#.b': ['a.b a.x.b a.x.y.b', 'ab a b a.xb ax.b a.b.c'],
    '#.a.#': ['a x.a a.x x.a.y x.y.a.z', 'ab xa x.ab.c'],
    'a.#.*': ['a.b a.b.c', 'a b'],
    '#.#': ['a a.b', ''],
    '*.#': ['a a.b', ''],
    'a.#.#.b': ['a.b a.x.b', 'ab'],
    'a.#.b.#.c': ['a.b.c a.x.b.y.c a.b.b.c', 'a.c a.bc'],
    'Booking*.x': ['Booking*.x', 'Booking.x Bookings.x'],
    'a#.b': ['a#.b', 'a.b ax.b'],
    'a+b.(c)[d]': ['a+b.(c)[d]', 'aab.cd'],
  };
  for (const [text, [yes, no]] of Object.entries(table)) {
    const pattern = wildcard(text);
    assert.equal(pattern.text, text);
    for (const topic of yes.split(' ').filter(Boolean)) assert.equal(pattern.test(topic), true, `${text} on ${topic}`);
    for (const topic of no.split(' ').filter(Boolean)) assert.equal(pattern.test(topic), false, `${text} on ${topic}`);
  }
});

test('a pattern goes to another node as plain data and matches the same there', () => {
  for (const input of ['orders\\.[a-z]+', /Orders\.é/iu, /x$/s, wildcard('a.#.b')]) {
    const pattern = compilePattern(input);
    const data = pattern.toWire();
    assert.deepEqual(Object.keys(data).sort(), ['flags', 'kind', 'source']);
    const received = patternFromWire(structuredClone(data));
    assert.equal(received.key, pattern.key);
    assert.equal(received.text, pattern.text);
    for (const topic of ['orders.abc', 'my.orders.É', 'ax', 'a.x.b', 'a']) {
      assert.equal(received.test(topic), pattern.test(topic), `${pattern.text} on ${topic}`);
    }
  }
});

test('what is no pattern from another node is refused', () => {
  const good = { kind: 'string', source: 'a', flags: '' };
  const garbage: readonly unknown[] = [
    null,
    'a',
    [],
    {},
    { ...good, kind: 'glob' },
    { ...good, source: 5 },
    { ...good, source: '' },
    { ...good, source: '(' },
    { ...good, source: 'a(?=b)' },
    { ...good, source: '(a{1,1000}){2}' },
    { ...good, flags: 'i' },
    { ...good, flags: undefined },
    { kind: 'regexp', source: 'a', flags: 'g' },
    { kind: 'regexp', source: 'a', flags: 'ii' },
    { kind: 'wildcard', source: 'a', flags: 'i' },
  ];
  for (const data of garbage) refused(() => patternFromWire(data), /pattern/);
});

test('patterns have one key when they are the same, and different keys when they are not', () => {
  assert.equal(compilePattern('a.b').key, compilePattern('a.b').key);
  assert.equal(compilePattern(/a/is).key, compilePattern(/a/is).key);
  const keys = ['a', /a/, /a/i, wildcard('a'), 'b'].map((input) => compilePattern(input).key);
  assert.equal(new Set(keys).size, keys.length);
  const pattern = compilePattern('a');
  assert.equal(compilePattern(pattern), pattern);
});
