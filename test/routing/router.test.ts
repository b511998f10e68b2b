import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BusError } from '../../src/core/errors.ts';
import { compilePattern } from '../../src/routing/pattern.ts';
import { Router } from '../../src/routing/router.ts';

function filled(capacity?: number): Router<string> {
  const router = new Router<string>(capacity);
  for (const source of ['a\\..*', 'b\\.[a-z]+', '\\$sys\\..*']) router.add(compilePattern(source), source);
  return router;
}

const topicInvalid = (error: unknown) => error instanceof BusError && error.code === 'TOPIC_INVALID';

test('a known topic is answered with the same frozen array', () => {
  const router = filled();
  const routes = router.match('a.x');
  assert.deepEqual(routes, ['a\\..*']);
  assert.ok(Object.isFrozen(routes));
  assert.equal(router.match('a.x'), routes);
  assert.equal(router.match('nobody'), router.match('nobody'));
});

test('a change drops the topics that it concerns and no others', () => {
  const router = filled();
  const a = router.match('a.x');
  const b = router.match('b.x');
  const pattern = compilePattern('b\\..*');
  router.add(pattern, 'new');
  assert.equal(router.match('a.x'), a);
  assert.deepEqual(router.match('b.x'), ['b\\.[a-z]+', 'new']);
  assert.equal(router.remove(pattern, 'new'), true);
  assert.equal(router.match('a.x'), a);
  assert.deepEqual(router.match('b.x'), b);
  assert.equal(router.remove(pattern, 'new'), false);
  assert.equal(router.size, 3);
});

test('no change is missed, however many come in a row', () => {
  const router = new Router<number>(64);
  const topics = Array.from({ length: 60 }, (_, i) => `t.${i}`);
  for (const topic of topics) assert.deepEqual(router.match(topic), []);
  for (let i = 0; i < 60; i++) router.add(compilePattern(`t\\.${i}`), i);
  for (const [i, topic] of topics.entries()) assert.deepEqual(router.match(topic), [i]);
  for (let i = 0; i < 60; i++) router.remove(compilePattern(`t\\.${i}`), i);
  for (const topic of topics) assert.deepEqual(router.match(topic), []);
});

test('an invalid topic is refused every time', () => {
  const router = filled();
  const invalid = ['', 'x'.repeat(256), 'a\nb', '\ud800', '$sys.x', undefined, 5, {}] as string[];
  for (let round = 0; round < 2; round++) {
    for (const topic of invalid) assert.throws(() => router.match(topic), topicInvalid);
  }
});

test("topics of the bus' own have a way of their own", () => {
  const router = filled();
  assert.deepEqual(router.matchInternal('$sys.up'), ['\\$sys\\..*']);
  assert.throws(() => router.match('$sys.up'), topicInvalid);
  assert.throws(() => router.matchInternal('a.x'), topicInvalid);
  assert.throws(() => router.matchInternal('$sys.\n'), topicInvalid);
  assert.throws(() => router.matchInternal(`$${'x'.repeat(255)}`), topicInvalid);
});

test('the memory is bounded, and keeps what was used last', () => {
  const router = filled(100);
  const kept = router.match('a.kept');
  const dropped = router.match('a.dropped');
  for (let i = 0; i < 1_000; i++) {
    router.match(`a.${i}`);
    assert.equal(router.match('a.kept'), kept);
  }
  assert.notEqual(router.match('a.dropped'), dropped);
  assert.deepEqual(router.match('a.dropped'), dropped);
});
