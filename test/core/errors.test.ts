import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closeAll, deferred, isThenable } from '../../src/core/async.ts';
import { BusError, describe, type ErrorCode, errorCodes, PermanentError, toError } from '../../src/core/errors.ts';

test('a BusError carries its code, whether repeating helps, and only what it was given', () => {
  const cause = new Error('why');
  const receipt = { id: 'm', matched: 1, stored: 0, spooled: 0, level: 'memory' as const, unreachable: [] };
  const failures = [{ subscription: 's', node: 'n', code: 'TIMEOUT' as const }];
  const full = new BusError('TIMEOUT', 'too late', { cause, receipt, failures, results: [receipt] });
  assert.ok(full instanceof Error);
  assert.equal(full.name, 'BusError');
  assert.equal(full.message, 'too late');
  assert.equal(full.code, 'TIMEOUT');
  assert.equal(full.retryable, true);
  assert.equal(full.cause, cause);
  assert.deepEqual([full.receipt, full.failures, full.results], [receipt, failures, [receipt]]);
  const bare = new BusError('CLOSED', 'closed');
  for (const key of ['cause', 'receipt', 'failures', 'results', 'reasons']) assert.ok(!Object.hasOwn(bare, key), key);
});

test('repeating helps exactly where the reason may pass', () => {
  const retryable = (Object.keys(errorCodes) as ErrorCode[]).filter((code) => new BusError(code, 'x').retryable);
  assert.deepEqual(retryable.sort(), [
    'MAILBOX_FULL',
    'NODE_UNREACHABLE',
    'NO_LEADER',
    'NO_SUBSCRIBERS',
    'STORE_FAILED',
    'STORE_FULL',
    'TIMEOUT',
    'UNPLACEABLE',
  ]);
});

test('a PermanentError is an error with a name of its own, and can be extended', () => {
  class NoSuchOrder extends PermanentError {
    override readonly name = 'NoSuchOrder';
  }
  assert.equal(new PermanentError('x').name, 'PermanentError');
  assert.ok(new NoSuchOrder('x') instanceof PermanentError);
  assert.equal(String(new NoSuchOrder('x')), 'NoSuchOrder: x');
});

test('whatever is thrown becomes an Error with a text', () => {
  const error = new RangeError('x');
  assert.equal(toError(error), error);
  for (const [thrown, text] of [
    ['text', 'text'],
    ['', ''],
    [undefined, 'thrown: undefined'],
    [null, 'thrown: null'],
    [5, 'thrown: 5'],
    [{ a: 1 }, 'thrown: an object'],
    [Symbol('s'), 'thrown: Symbol(s)'],
    [Object.create(null), 'thrown: an object'],
  ] as const) {
    assert.equal(toError(thrown).message, text);
  }
});

test('a value is named by its kind and a short form', () => {
  for (const [value, text] of [
    ['a"b', '"a\\"b"'],
    ['x'.repeat(81), `"${'x'.repeat(77)}..."`],
    ['\ud800', '"\\ud800"'],
    [null, 'null'],
    [undefined, 'undefined'],
    [-0.5, '-0.5'],
    [Number.NaN, 'NaN'],
    [5n, '5n'],
    [true, 'true'],
    [Symbol('s'), 'Symbol(s)'],
    [() => {}, 'a function'],
    [[1, 2], 'an array of 2'],
    [{}, 'an object'],
    [Object.create(null), 'an object'],
    [new Map(), 'an instance of Map'],
    [new (class Order {})(), 'an instance of Order'],
  ] as const) {
    assert.equal(describe(value), text);
  }
});

test('deferred() hands out both ends of a promise', async () => {
  const good = deferred<number>();
  good.resolve(5);
  good.reject(new Error('too late'));
  assert.equal(await good.promise, 5);
  const bad = deferred();
  bad.reject(new Error('no'));
  await assert.rejects(bad.promise, /no/);
});

test('what has a then() is thenable', () => {
  const withThen = (then: unknown): object => Object.defineProperty({}, 'then', { value: then });
  for (const value of [Promise.resolve(), withThen(() => {})]) assert.equal(isThenable(value), true);
  for (const value of [undefined, null, 5, 'x', {}, withThen(5), () => {}]) assert.equal(isThenable(value), false);
});

test('closeAll() does every step in order, each awaited, although others fail', async () => {
  const log: string[] = [];
  const step = (name: string, error?: string) => async (): Promise<void> => {
    log.push(`${name} begins`);
    await null;
    log.push(`${name} ends`);
    if (error !== undefined) throw new Error(error);
  };
  await closeAll([step('a'), () => log.push('b'), step('c')]);
  assert.deepEqual(log.splice(0), ['a begins', 'a ends', 'b', 'c begins', 'c ends']);
  await assert.rejects(closeAll([step('a', 'one'), step('b')]), /^Error: one$/);
  assert.equal(log.splice(0).length, 4);
  await assert.rejects(
    closeAll([
      step('a', 'one'),
      () => {
        throw new Error('two');
      },
      step('c'),
    ]),
    (error: unknown) => {
      assert.ok(error instanceof AggregateError);
      assert.deepEqual(error.errors.map(String), ['Error: one', 'Error: two']);
      return true;
    },
  );
  await closeAll([]);
});
