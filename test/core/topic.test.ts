import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkName, checkTopic, topicProblem } from '../../src/core/topic.ts';
import { refusal } from './testbed.ts';

test('topics: 1 to 255 bytes of UTF-8 without control characters', () => {
  for (const topic of [
    'a',
    'orders.eu',
    'a b',
    '/x/y',
    'ä',
    '日本',
    '😀',
    'x'.repeat(255),
    'ä'.repeat(127),
    'a$',
    ' ',
  ]) {
    checkTopic(topic);
    assert.equal(topicProblem(topic), undefined);
  }
  for (const [topic, problem] of [
    ['', 'empty'],
    ['x'.repeat(256), '256 bytes'],
    ['ä'.repeat(128), '256 bytes'],
    ['日'.repeat(86), '258 bytes'],
    ['a\u0000', 'control'],
    ['a\nb', 'control'],
    ['\u007f', 'control'],
    ['\u0085', 'control'],
    ['\u2028', 'control'],
    ['a\ud800', 'surrogate'],
    ['\udc00a', 'surrogate'],
    ['$', 'reserved'],
    ['$sys', 'reserved'],
    [5, 'not a string'],
    [undefined, 'not a string'],
    [null, 'not a string'],
    [['t'], 'not a string'],
  ] as const) {
    assert.throws(() => checkTopic(topic), refusal('TOPIC_INVALID', problem));
  }
});

test('a topic that is refused is named, shortened and escaped', () => {
  assert.throws(() => checkTopic('a\u0007'), refusal('TOPIC_INVALID', '"a\\u0007"'));
  assert.throws(() => checkTopic('x'.repeat(5000)), refusal('TOPIC_INVALID', 'xxx...', '5000 bytes'));
});

test('names: 1 to 128 of A-Z a-z 0-9 _ . -', () => {
  for (const name of ['a', 'A-1_b.c', '0', '.', '-', '__proto__', 'x'.repeat(128)]) checkName('node', name);
  for (const name of ['', 'x'.repeat(129), 'a b', 'ä', 'a/b', 'a\n', 'a:b', 5, null, undefined, {}, ['a']]) {
    assert.throws(() => checkName('node', name), refusal('NAME_INVALID', 'node', 'A-Z a-z 0-9 _ . -'));
  }
});
