import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type Filter, FilterChain, maxSize, minPeriod, sameFilters } from '../../src/actors/filters.ts';
import type { Message } from '../../src/core/message.ts';
import { refusal } from '../core/testbed.ts';

const message = { topic: 'orders.created', payload: 7 } as Message;
const chain = (...filters: unknown[]) => new FilterChain(filters as Filter[]);

describe('a chain of filters', () => {
  test('without filters admits and passes everything', () => {
    for (const empty of [new FilterChain(), chain()]) {
      assert.ok(empty.admits(Number.MAX_SAFE_INTEGER, 0, 0));
      assert.ok(empty.passes(message));
      assert.deepEqual([empty.declarative, empty.predicates], [[], []]);
    }
  });

  test('admits a message of at most maxSize bytes', () => {
    const limited = chain(maxSize(100));
    assert.deepEqual(
      [0, 99, 100, 101].map((size) => limited.admits(size, 0, undefined)),
      [true, true, true, false],
    );
  });

  test('admits a message when minPeriod has passed since the last one that was admitted', () => {
    const rare = chain(minPeriod(1000));
    assert.ok(rare.admits(1, 5000, undefined));
    assert.deepEqual(
      [4001, 4000, 5000].map((last) => rare.admits(1, 5000, last)),
      [false, true, false],
    );
  });

  test('admits when the clock was set back', () => {
    assert.ok(chain(minPeriod(1000)).admits(1, 4999, 5000));
    assert.ok(chain(minPeriod(1000)).admits(1, 0, 1e15));
  });

  test('admits what every one of them admits, in whatever order', () => {
    const any = fc.oneof(fc.integer({ min: 1, max: 50 }).map(maxSize), fc.integer({ min: 1, max: 50 }).map(minPeriod));
    const small = fc.integer({ min: 0, max: 60 });
    fc.assert(
      fc.property(fc.array(any), small, small, fc.option(small, { nil: undefined }), (filters, size, now, last) => {
        const expected = filters.every((filter) => chain(filter).admits(size, now, last));
        assert.equal(chain(...filters).admits(size, now, last), expected);
        assert.equal(chain(...filters.reverse()).admits(size, now, last), expected);
      }),
    );
  });

  test('asks its predicates in order, and no further than the first that refuses', () => {
    const asked: string[] = [];
    const asks = (name: string, answer: boolean) => (given: Message) => {
      assert.equal(given, message);
      asked.push(name);
      return answer;
    };
    const mixed = chain(asks('a', true), maxSize(5), asks('b', false), asks('c', true));
    assert.equal(mixed.passes(message), false);
    assert.deepEqual(asked, ['a', 'b']);
    assert.equal(mixed.predicates.length, 3);
    assert.ok(chain(asks('d', true)).passes(message));
  });

  test('predicates have no part in what the mailbox admits, nor plain filters in what passes', () => {
    assert.ok(chain(() => false).admits(1, 0, undefined));
    assert.ok(chain(maxSize(1), minPeriod(5)).passes(message));
  });

  test('lets a predicate throw', () => {
    const broken = chain(() => {
      throw new TypeError('no such field');
    });
    assert.throws(() => broken.passes(message), TypeError);
  });

  test('keeps the plain filters in order, as data of its own that nobody changes', () => {
    const given = { maxSize: 5 };
    const { declarative } = chain({ minPeriod: 3 }, () => true, given, maxSize(9));
    given.maxSize = 1;
    assert.deepEqual(declarative, [{ minPeriod: 3 }, { maxSize: 5 }, { maxSize: 9 }]);
    assert.deepEqual(JSON.parse(JSON.stringify(declarative)), declarative);
    assert.ok(Object.isFrozen(declarative) && declarative.every(Object.isFrozen));
    assert.deepEqual(new FilterChain(declarative).declarative, declarative);
  });

  test('refuses what is no filter, naming its place and the way out', () => {
    const wrong: readonly [value: unknown, ...texts: string[]][] = [
      [null, 'filters[1] is null', 'maxSize(bytes)'],
      [5, 'filters[1] is 5'],
      ['maxSize', 'filters[1] is "maxSize"'],
      [[], 'an array of 0'],
      [{}, 'no member'],
      [{ maxSize: undefined }, 'no member'],
      [{ maxSize: 1, minPeriod: 1 }, 'several members'],
      [{ maxsize: 1 }, "there is no filter 'maxsize'", "did you mean 'maxSize'?"],
      [{ toString: 1 }, "there is no filter 'toString'"],
      [{ maxSize: '5' }, 'filters[1].maxSize "5"', 'whole number of bytes from 1'],
      [{ minPeriod: 0.5 }, 'filters[1].minPeriod 0.5', 'milliseconds'],
      [async () => true, 'filters[1] is an async function'],
    ];
    for (const [value, ...texts] of wrong) {
      assert.throws(() => chain(maxSize(1), value), refusal('OPTION_INVALID', ...texts));
    }
    assert.throws(() => new FilterChain({ maxSize: 1 } as unknown as Filter[]), refusal('OPTION_INVALID', 'a list'));
  });
});

test('maxSize() and minPeriod() refuse what is no bound', () => {
  for (const value of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '5', null, undefined]) {
    assert.throws(() => maxSize(value as number), refusal('OPTION_INVALID', 'maxSize()', 'bytes'));
    assert.throws(() => minPeriod(value as number), refusal('OPTION_INVALID', 'minPeriod()', 'milliseconds'));
  }
  assert.throws(() => minPeriod(31_536_000_001), refusal('OPTION_INVALID', '31536000000'));
  assert.deepEqual([maxSize(1), minPeriod(31_536_000_000)], [{ maxSize: 1 }, { minPeriod: 31_536_000_000 }]);
});

test('filters are the same when they are equal in the same order', () => {
  const [a, b, c] = [maxSize(5), minPeriod(5), maxSize(6)];
  assert.ok(sameFilters([], []));
  assert.ok(sameFilters([a, b], [{ ...a }, { ...b }]));
  const pairs = [
    [[a], []],
    [[], [a]],
    [[a], [b]],
    [[b], [a]],
    [[a], [c]],
    [
      [a, b],
      [b, a],
    ],
    [[a], [a, a]],
  ] as const;
  for (const [left, right] of pairs) assert.equal(sameFilters(left, right), false);
});
