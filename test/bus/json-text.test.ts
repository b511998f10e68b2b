import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { findFault } from '../../src/bus/options/json-text.ts';

test('a fault is named with its line, its column and the way out', () => {
  const faults: readonly [text: string, line: number, column: number, problem: string][] = [
    ['', 1, 1, 'the file ends where a value is expected'],
    ['{\n  "a": 1,\n}', 3, 1, 'a name in double quotes is expected here, not "}"; JSON has no comma before it'],
    ['[1, ]', 1, 5, 'a value is expected here, not "]"; JSON has no comma before it'],
    ['{"a": 1\r\n "b": 2}', 2, 2, 'a comma or } is expected here, not "\\""'],
    ['{"a" 1}', 1, 6, 'a colon is expected here, not "1"'],
    ['{"a": 1', 1, 8, 'the file ends where a comma or } is expected'],
    ['[1}', 1, 3, 'a comma or ] is expected here, not "}"'],
    ['{}\n{}', 2, 1, 'the end of the file is expected here, not "{"'],
    ['{ // why\n}', 1, 3, 'a name in double quotes is expected here, not "/"; JSON has no comments'],
    ["{'a': 1}", 1, 2, `a name in double quotes is expected here, not "'"; JSON has double quotes only`],
    ['{"a": "b\n"}', 1, 9, 'a text holds no line break'],
    ['{"a": "b}', 1, 7, 'this text is never closed'],
    ['["C:\\data"]', 1, 5, 'a backslash stands before'],
    ['[01]', 1, 3, 'a comma or ] is expected here, not "1"'],
    ['[\u{1f600}]', 1, 2, 'a value is expected here, not "\u{1f600}"'],
    ['{"a": 1, "b": 2,\n "\\u0061": 3}', 2, 2, "'a' stands here for the second time in one object"],
    ['['.repeat(101_000), 1, 102, 'nested deeper than 100'],
  ];
  for (const [text, line, column, problem] of faults) {
    const fault = findFault(text);
    assert.deepEqual([fault?.line, fault?.column], [line, column], `${text}: ${fault?.problem}`);
    assert.ok(fault?.problem.startsWith(problem) || fault?.problem.includes(problem), `${fault?.problem}`);
  }
});

test('the same name may stand in two objects', () => {
  assert.equal(findFault('{"a": {"a": [{"a": 1}, {"a": 2}]}, "toString": 1, "__proto__": {}}'), undefined);
});

test('a fault never quotes more than one character of the text', () => {
  const fault = findFault('{"secret": hunter2}');
  assert.equal(fault?.problem, 'a value is expected here, not "h"');
});

test('there is a fault where JSON.parse fails, and else only for a name that stands twice', () => {
  const damage = fc.record({
    text: fc.json(),
    at: fc.nat(),
    cut: fc.nat({ max: 2 }),
    put: fc.constantFrom('', '"', '\\', ',', ':', '}', ']', '{', '[', '0', '-', '.', 'e', 't', '\n', '\u0000', ' '),
  });
  fc.assert(
    fc.property(damage, ({ text, at, cut, put }) => {
      const i = at % (text.length + 1);
      const damaged = text.slice(0, i) + put + text.slice(i + cut);
      const fault = findFault(damaged);
      let fails = false;
      try {
        JSON.parse(damaged);
      } catch {
        fails = true;
      }
      if (fails) assert.notEqual(fault, undefined, damaged);
      else assert.ok(fault === undefined || fault.problem.includes('second time'), `${damaged}: ${fault?.problem}`);
    }),
    { numRuns: 3000 },
  );
});
