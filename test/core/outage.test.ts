import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { defaultOutage, Outage } from '../../src/core/outage.ts';
import { defaultRetry } from '../../src/core/retry.ts';

const plain = { ...defaultRetry, jitter: 0 };

/** An outage that began at 0, by one failure of each of ten messages. */
function begun(policy = defaultOutage, retry = plain): Outage {
  const outage = new Outage(policy, retry);
  for (let message = 1; message <= 10; message++) outage.failed(message, 0, 0.5);
  assert.ok(outage.probing);
  return outage;
}

/** Hands out the next probe as soon as it may be, and has it fail. @returns when that was. */
function failProbe(outage: Outage, message: number): number {
  const at = outage.due;
  assert.ok(!outage.mayTake(at - 1));
  assert.ok(outage.mayTake(at));
  outage.took(message);
  assert.ok(!outage.mayTake(at + 1_000_000), 'one at a time');
  outage.failed(message, at, 0.5);
  return at;
}

describe('an outage', () => {
  test('is 10 failures in a row, of at least 3 messages: the tenth spends no attempt', () => {
    const outage = new Outage(defaultOutage, plain);
    const spent = Array.from({ length: 10 }, (_, i) => outage.failed(i % 3, 0, 0.5));
    assert.deepEqual(spent, [...Array.from({ length: 9 }, () => true), false]);
    assert.ok(outage.probing);
    assert.equal(outage.failures, 10);
  });

  test('is none while fewer than 3 messages fail, however often', () => {
    const outage = new Outage(defaultOutage, plain);
    for (let i = 0; i < 1000; i++) assert.ok(outage.failed(i % 2, i, 0.5));
    assert.ok(!outage.probing);
    assert.ok(!outage.failed(2, 1000, 0.5), 'the third message makes it one');
    assert.ok(outage.probing);
  });

  test('is none when anything succeeds in between', () => {
    const outage = new Outage(defaultOutage, plain);
    for (let i = 0; i < 100; i++) {
      for (let j = 0; j < 9; j++) assert.ok(outage.failed(j, i, 0.5));
      outage.succeeded();
    }
    assert.ok(!outage.probing);
  });

  test('lets out one message at a time, after waits that grow as those of a retry do, up to 30 s', () => {
    const outage = begun();
    const times = Array.from({ length: 12 }, (_, i) => failProbe(outage, 100 + i));
    const waits = times.map((at, i) => at - (times[i - 1] ?? 0));
    assert.deepEqual(waits, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000, 30_000]);
  });

  test('waits at least 10 ms and at most 30 s, whatever the retry policy', () => {
    assert.equal(begun(defaultOutage, { ...plain, delay: 0 }).due, 10);
    assert.equal(begun(defaultOutage, { ...plain, delay: 3_600_000, maxDelay: 3_600_000 }).due, 30_000);
  });

  test('is over with any success', () => {
    const outage = begun();
    failProbe(outage, 11);
    outage.succeeded();
    assert.ok(!outage.probing);
    assert.ok(outage.mayTake(outage.due - 1));
    assert.equal(outage.failures, 0);
  });

  test('spends attempts again when the grace is over', () => {
    const outage = begun({ ...defaultOutage, grace: 5000 });
    assert.equal(outage.failed(1, 4999, 0.5), false);
    assert.equal(outage.failed(1, 5000, 0.5), true);
  });

  test('tries what has arrived and what was tried before in turn', () => {
    const outage = begun();
    const fresh = Array.from({ length: 4 }, (_, i) => {
      const now = outage.fresh;
      failProbe(outage, i);
      return now;
    });
    assert.deepEqual(fresh, [true, false, true, false]);
  });

  test('has the next probe at once when one ended without a verdict', () => {
    const outage = begun();
    outage.took(50);
    assert.ok(!outage.mayTake(1000));
    outage.released(51);
    assert.ok(!outage.mayTake(1000), 'another message says nothing of the probe');
    outage.released(50);
    assert.ok(outage.mayTake(1000));
  });

  test('is not prolonged by what ran when it began', () => {
    const outage = begun();
    const { due } = outage;
    for (let i = 0; i < 50; i++) assert.equal(outage.failed(1000 + i, 50, 0.5), false);
    assert.equal(outage.due, due);
  });
});

type Step = { do: 'fail' | 'succeed' | 'take' | 'release'; message: number; pass: number; dice: number };
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    do: fc.constantFrom('fail', 'fail', 'fail', 'fail', 'fail', 'fail', 'take', 'release', 'succeed'),
    message: fc.nat(6),
    pass: fc.nat(400),
    dice: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  }) as fc.Arbitrary<Step>,
  { maxLength: 120 },
);
const policies = fc.record({
  failures: fc.integer({ min: 1, max: 8 }),
  messages: fc.integer({ min: 1, max: 4 }),
  grace: fc.nat(3000),
});

test('any life: it probes exactly from so many failures of so many messages to the next success', () => {
  fc.assert(
    fc.property(policies, steps, (policy, life) => {
      const outage = new Outage(policy, defaultRetry);
      let row: number[] = [];
      let began: number | undefined;
      let out: number | undefined;
      let free = 0;
      let now = 0;
      for (const { do: what, message, pass, dice } of life) {
        now += pass;
        const may = outage.mayTake(now);
        if (began === undefined) assert.ok(may);
        else {
          if (out !== undefined) assert.ok(!may, 'one at a time');
          else if (now < free) assert.ok(!may, 'not before the shortest wait');
          else if (now >= free + 30_000) assert.ok(may, 'after the longest wait');
        }
        if (what === 'fail') {
          row.push(message);
          const spends = outage.failed(message, now, dice);
          if (began === undefined && row.length >= policy.failures && new Set(row).size >= policy.messages) began = now;
          else if (began === undefined || message !== out) {
            assert.equal(spends, began === undefined || now - began >= policy.grace);
            assert.equal(outage.probing, began !== undefined);
            continue;
          }
          assert.equal(spends, now - began >= policy.grace);
          out = undefined;
          free = now + 10;
        } else if (what === 'succeed') {
          outage.succeeded();
          row = [];
          began = out = undefined;
        } else if (what === 'release') {
          outage.released(message);
          if (out === message) out = undefined;
        } else if (may) {
          outage.took(message);
          if (began !== undefined) out = message;
        }
        assert.equal(outage.probing, began !== undefined);
        assert.equal(outage.failures, row.length);
      }
    }),
  );
});
