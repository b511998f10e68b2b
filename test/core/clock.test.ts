import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { systemClock } from '../../src/core/clock.ts';
import { newIncarnation, originOf } from '../../src/core/incarnation.ts';
import { VirtualClock } from '../../src/core/virtual-clock.ts';

describe("the machine's clock", () => {
  test('tells the time, and a time that never jumps back', () => {
    const before = Date.now();
    const now = systemClock.now();
    assert.ok(now >= before && now <= Date.now());
    const a = systemClock.monotonic();
    assert.ok(systemClock.monotonic() >= a);
  });

  test('a timer fires once and not early; a cancelled one never', async () => {
    const began = systemClock.monotonic();
    let cancelled = false;
    systemClock
      .timer(1, () => {
        cancelled = true;
      })
      .cancel();
    await new Promise<void>((resolve) => void systemClock.timer(5, resolve));
    assert.ok(systemClock.monotonic() - began >= 4);
    assert.equal(cancelled, false);
  });

  test('a timer of more than 24 days does not fire at once, as one of Node would', async () => {
    let fired = false;
    const timers = [3e9, Number.POSITIVE_INFINITY].map((ms) =>
      systemClock.timer(ms, () => {
        fired = true;
      }),
    );
    await new Promise<void>((resolve) => void systemClock.timer(10, resolve));
    assert.equal(fired, false);
    for (const timer of timers) timer.cancel();
  });

  test("an unref'd timer does not hold the process", () => {
    const before = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
    const timer = systemClock.timer(60_000, () => {}).unref();
    assert.equal(process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length, before);
    timer.cancel();
    timer.cancel();
  });

  test('an immediate runs after the promises that are settled', async () => {
    const order: string[] = [];
    const done = new Promise<void>((resolve) =>
      systemClock.immediate(() => {
        order.push('immediate');
        resolve();
      }),
    );
    void Promise.resolve().then(() => order.push('promise'));
    await done;
    assert.deepEqual(order, ['promise', 'immediate']);
  });

  test('its dice are in [0, 1), its bytes fresh', () => {
    for (let i = 0; i < 100; i++) {
      const dice = systemClock.random();
      assert.ok(dice >= 0 && dice < 1);
    }
    assert.equal(systemClock.randomBytes(16).length, 16);
    assert.notDeepEqual(systemClock.randomBytes(16), systemClock.randomBytes(16));
  });
});

describe('the virtual clock', () => {
  test('stands still until it is told to move', async () => {
    const clock = new VirtualClock();
    const [now, monotonic] = [clock.now(), clock.monotonic()];
    await clock.settle();
    assert.deepEqual([clock.now(), clock.monotonic()], [now, monotonic]);
    await clock.advance(1500);
    assert.deepEqual([clock.now(), clock.monotonic()], [now + 1500, monotonic + 1500]);
  });

  test('timers fire at their time, in order; those of one time in the order in which they were set', async () => {
    const clock = new VirtualClock();
    const fired: string[] = [];
    const note = (name: string) => () => void fired.push(`${name}@${clock.monotonic()}`);
    clock.timer(20, note('c'));
    clock.timer(10, note('a'));
    clock.timer(10, note('b'));
    clock.timer(0, note('now'));
    clock.timer(-5, note('past'));
    const cancelled = clock.timer(15, note('never'));
    cancelled.cancel();
    assert.equal(clock.pendingTimers, 5);
    await clock.advance(19);
    assert.deepEqual(fired, ['now@0', 'past@0', 'a@10', 'b@10']);
    await clock.advance(1);
    assert.equal(fired.at(-1), 'c@20');
    assert.equal(clock.pendingTimers, 0);
  });

  test('what a timer sets off happens before the next one', async () => {
    const clock = new VirtualClock();
    const order: string[] = [];
    clock.timer(10, () => {
      order.push('timer');
      clock.immediate(() => order.push('immediate'));
      void Promise.resolve().then(() => order.push('promise'));
      clock.timer(5, () => order.push('inner'));
    });
    clock.timer(16, () => order.push('late'));
    await clock.advance(100);
    assert.deepEqual(order, ['timer', 'promise', 'immediate', 'inner', 'late']);
    assert.equal(clock.monotonic(), 100);
  });

  test('the same seed gives the same dice and bytes; another seed gives others', () => {
    const draw = (seed: number) => {
      const clock = new VirtualClock(seed);
      return [Array.from({ length: 100 }, () => clock.random()), [...clock.randomBytes(32)]];
    };
    assert.deepEqual(draw(5), draw(5));
    assert.notDeepEqual(draw(5), draw(6));
    for (const dice of draw(5)[0] ?? []) assert.ok(dice >= 0 && dice < 1);
  });

  test('random timers fire each once, at its time, never out of order', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(200), fc.boolean()), { maxLength: 50 }),
        fc.array(fc.nat(60), { maxLength: 10 }),
        async (timers, moves) => {
          const clock = new VirtualClock();
          const fired: number[] = [];
          for (const [ms, cancel] of timers) {
            const timer = clock.timer(ms, () => {
              assert.equal(clock.monotonic(), ms);
              fired.push(ms);
            });
            if (cancel) timer.cancel();
          }
          for (const ms of moves) await clock.advance(ms);
          await clock.settle();
          const end = clock.monotonic();
          const expected = timers.filter(([ms, cancel]) => !cancel && ms <= end).map(([ms]) => ms);
          assert.deepEqual(
            fired,
            expected.sort((a, b) => a - b),
          );
        },
      ),
      { numRuns: 50 },
    );
  });
});

test('an incarnation is a start counter and 64 random bits; message ids begin with those', () => {
  const clock = new VirtualClock(3);
  const [a, b] = [newIncarnation(clock), newIncarnation(clock, 12)];
  assert.match(a, /^0-[0-9a-f]{16}$/);
  assert.match(b, /^12-[0-9a-f]{16}$/);
  assert.notEqual(originOf(a), originOf(b));
  assert.equal(originOf('12-00ff00ff00ff00ff'), '00ff00ff00ff00ff');
});
