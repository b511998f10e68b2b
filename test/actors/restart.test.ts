import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decideRestart, handlers, internals, type RestartPolicy } from '../../src/actors/restart.ts';

/** Fails at each of `times`, and tells the wait that follows each, or that it was given up. */
function waits(policy: RestartPolicy, times: readonly number[], dice?: number): (number | 'giveUp')[] {
  let history: readonly number[] = [];
  return times.map((now) => {
    const decision = decideRestart(policy, history, now, dice);
    if (decision.action === 'giveUp') return 'giveUp';
    history = decision.history;
    return decision.delay;
  });
}

/** Fails at once after every restart, until it is given up: how often it was restarted, and when it ended. */
function failAlways(policy: RestartPolicy, dice: number): { restarts: number; end: number } {
  let history: readonly number[] = [];
  for (let now = 0, restarts = 0; ; restarts++) {
    const decision = decideRestart(policy, history, now, dice);
    if (decision.action === 'giveUp') return { restarts, end: now };
    history = decision.history;
    now += decision.delay;
    assert.ok(restarts < 1000, 'it is never given up');
  }
}

describe('decideRestart', () => {
  it('restarts a part of the bus 3 times in 30 s, after waits that grow, and then gives it up', () => {
    assert.deepEqual(waits(internals, [0, 1000, 2000, 3000]), [10, 100, 1000, 'giveUp']);
    assert.deepEqual(waits(internals, [0, 1000, 2000, 29_999]), [10, 100, 1000, 'giveUp']);
  });

  it('forgets failures that lie outside the window', () => {
    assert.deepEqual(waits(internals, [0, 1000, 2000, 30_000]), [10, 100, 1000, 1000]);
    assert.deepEqual(waits(internals, [0, 1000, 2000, 32_000]), [10, 100, 1000, 10]);
  });

  it('restarts the actor of a handler 10 times in 10 s with exponential backoff', () => {
    const expected = [10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000, 'giveUp'];
    assert.deepEqual(
      waits(
        handlers,
        expected.map((_, i) => i),
      ),
      expected,
    );
  });

  it('gives up whatever always fails, although backoff spreads its failures', () => {
    for (const dice of [0, 0.5, 0.999_999]) {
      const { restarts, end } = failAlways(handlers, dice);
      assert.equal(restarts, 10);
      assert.ok(end < handlers.within, `after ${end} ms`);
      assert.equal(failAlways(internals, dice).restarts, 3);
    }
  });

  it('varies the waits by a fifth, so that those that failed together part', () => {
    assert.deepEqual(waits(handlers, [0], 0), [8]);
    assert.deepEqual(waits(handlers, [0], 1), [12]);
  });

  it('leaves the history that it is given as it is', () => {
    const history = Object.freeze([0, 1]);
    const decision = decideRestart(internals, history, 2);
    assert.deepEqual(decision, { action: 'restart', delay: 1000, history: [0, 1, 2] });
  });

  it('keeps no more history than the window needs', () => {
    let history: readonly number[] = [];
    for (let now = 0; now < 1_000_000; now += 20_000) {
      const decision = decideRestart(internals, history, now);
      assert.ok(decision.action === 'restart');
      history = decision.history;
    }
    assert.equal(history.length, 2);
  });

  it('has policies that cannot be changed', () => {
    assert.ok(Object.isFrozen(internals));
    assert.ok(Object.isFrozen(handlers));
  });
});
