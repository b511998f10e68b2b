import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { backoff, decideRetry, defaultRetry, type RetryPolicy } from '../../src/core/retry.ts';

test('the table of the default policy: 100, 200, 400, 800 ms, then dead', () => {
  const rows = [1, 2, 3, 4, 5].map((attempt) => decideRetry(defaultRetry, attempt, false, 0.5));
  assert.deepEqual(rows, [
    { action: 'retry', delay: 100 },
    { action: 'retry', delay: 200 },
    { action: 'retry', delay: 400 },
    { action: 'retry', delay: 800 },
    { action: 'dead', reason: 'attempts' },
  ]);
});

test('the dice move a delay by up to its share of jitter, both ways', () => {
  assert.deepEqual(decideRetry(defaultRetry, 1, false, 0), { action: 'retry', delay: 80 });
  assert.equal(Math.round(backoff(defaultRetry, 1, 0.75)), 110);
  assert.equal(Math.round(backoff(defaultRetry, 1, 1 - Number.EPSILON)), 120);
});

test('what is permanent is dead at once, at the last attempt too', () => {
  for (const attempt of [1, 5, 99]) {
    assert.deepEqual(decideRetry(defaultRetry, attempt, true, 0.5), { action: 'dead', reason: 'permanent' });
  }
});

test('a delay never exceeds maxDelay by more than its jitter, however many failures', () => {
  for (const failures of [10, 100, 2000, 1_000_000]) {
    assert.equal(backoff(defaultRetry, failures, 0.5), 30_000);
  }
  assert.equal(backoff({ delay: 0, factor: 1000, maxDelay: 0, jitter: 1 }, 5, 0.9), 0);
});

test('the defaults cannot be changed', () => {
  assert.ok(Object.isFrozen(defaultRetry));
});

const policies: fc.Arbitrary<RetryPolicy> = fc
  .record({
    attempts: fc.integer({ min: 1, max: 100 }),
    delay: fc.double({ min: 0, max: 1e6, noNaN: true }),
    factor: fc.double({ min: 1, max: 1000, noNaN: true }),
    more: fc.double({ min: 0, max: 1e6, noNaN: true }),
    jitter: fc.double({ min: 0, max: 1, noNaN: true }),
  })
  .map(({ more, ...policy }) => ({ ...policy, maxDelay: policy.delay + more }));
const dice = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

test('any policy: so many attempts and no more; delays are finite, not negative and within the jitter', () => {
  fc.assert(
    fc.property(policies, dice, (policy, roll) => {
      let attempt = 1;
      for (let decision = decideRetry(policy, attempt, false, roll); decision.action === 'retry'; attempt++) {
        const plain = Math.min(policy.maxDelay, policy.delay * policy.factor ** (attempt - 1));
        assert.ok(Number.isFinite(decision.delay), `${decision.delay}`);
        assert.ok(decision.delay >= 0, `${decision.delay}`);
        assert.ok(Math.abs(decision.delay - plain) <= plain * policy.jitter + 1e-9, `${decision.delay} for ${plain}`);
        decision = decideRetry(policy, attempt + 1, false, roll);
      }
      assert.equal(attempt, policy.attempts);
    }),
  );
});

test('without jitter, delays never shrink', () => {
  fc.assert(
    fc.property(policies, fc.integer({ min: 1, max: 500 }), (policy, failures) => {
      const plain = { ...policy, jitter: 0 };
      assert.ok(backoff(plain, failures + 1, 0.5) >= backoff(plain, failures, 0.5));
    }),
  );
});
