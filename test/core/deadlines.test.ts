import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Deadline, Deadlines } from '../../src/core/deadlines.ts';
import { VirtualClock } from '../../src/core/virtual-clock.ts';

class Noted extends Deadline {
  readonly name: string;
  readonly #note: (name: string) => void;
  constructor(name: string, note: (name: string) => void) {
    super();
    this.name = name;
    this.#note = note;
  }
  expire(): void {
    this.#note(this.name);
  }
}

/** A list whose items lie `after` ahead, and what expired when. */
function bed(after: number) {
  const clock = new VirtualClock();
  const list = new Deadlines(clock, after);
  const expired: string[] = [];
  const add = (name: string): Noted => {
    const item = new Noted(name, (which) => expired.push(`${which}@${clock.monotonic()}`));
    list.add(item);
    return item;
  };
  return { clock, list, expired, add };
}

test('each expires once, at its time, in order', async () => {
  const { clock, list, expired, add } = bed(1000);
  add('a');
  await clock.advance(300);
  add('b');
  add('c');
  assert.equal(list.size, 3);
  await clock.advance(699);
  assert.deepEqual(expired, []);
  await clock.advance(1);
  assert.deepEqual(expired, ['a@1000']);
  await clock.advance(5000);
  assert.deepEqual(expired, ['a@1000', 'b@1300', 'c@1300']);
  assert.equal(list.size, 0);
  assert.equal(clock.pendingTimers, 0);
});

test('one that was cancelled never expires; twice is harmless', async () => {
  const { clock, list, expired, add } = bed(100);
  const [first, middle, last] = ['a', 'b', 'c'].map(add);
  middle?.cancel();
  middle?.cancel();
  assert.deepEqual(
    [...list].map((item) => (item as Noted).name),
    ['a', 'c'],
  );
  await clock.advance(100);
  assert.deepEqual(expired, ['a@100', 'c@100']);
  first?.cancel();
  last?.cancel();
  assert.equal(list.size, 0);
});

test('added again it counts anew, in this list or another', async () => {
  const { clock, list, expired, add } = bed(100);
  const a = add('a');
  const other = new Deadlines(clock, 500);
  await clock.advance(50);
  list.add(a);
  await clock.advance(99);
  assert.deepEqual(expired, []);
  other.add(a);
  assert.deepEqual([list.size, other.size], [0, 1]);
  await clock.advance(499);
  assert.deepEqual(expired, []);
  await clock.advance(1);
  assert.deepEqual(expired, ['a@649']);
});

test('an empty list holds up the end of the process for half a second at most', async () => {
  const { clock, add } = bed(60_000);
  add('a').cancel();
  assert.equal(clock.pendingTimers, 1);
  await clock.advance(500);
  assert.equal(clock.pendingTimers, 0);
});

test('clear() forgets all and leaves no timer', async () => {
  const { clock, list, expired, add } = bed(100);
  add('a');
  add('b');
  list.clear();
  assert.deepEqual([list.size, clock.pendingTimers], [0, 0]);
  await clock.advance(1000);
  assert.deepEqual(expired, []);
  add('c');
  await clock.advance(100);
  assert.deepEqual(expired, ['c@1100']);
});

test('what expires may add and cancel others', async () => {
  const { clock, list } = bed(100);
  const log: string[] = [];
  const victim = new Noted('victim', (name) => log.push(name));
  const next = new Noted('next', (name) => log.push(`${name}@${clock.monotonic()}`));
  list.add(
    new Noted('first', (name) => {
      log.push(name);
      victim.cancel();
      list.add(next);
    }),
  );
  list.add(victim);
  await clock.advance(1000);
  assert.deepEqual(log, ['first', 'next@200']);
  assert.equal(clock.pendingTimers, 0);
});

test('random joining and leaving: exactly those that stay expire, each at its time', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 2000 }),
      fc.array(fc.record({ wait: fc.nat(300), leave: fc.option(fc.nat(30)) }), { maxLength: 40 }),
      async (after, steps) => {
        const { clock, list, expired, add } = bed(after);
        const items: { item: Noted; due: number; left: boolean }[] = [];
        for (const { wait, leave } of steps) {
          await clock.advance(wait);
          items.push({ item: add(`${items.length}`), due: clock.monotonic() + after, left: false });
          const leaver = leave === null ? undefined : items[leave];
          if (leaver !== undefined && leaver.due > clock.monotonic()) {
            leaver.item.cancel();
            leaver.left = true;
          }
        }
        await clock.advance(after + 1);
        assert.deepEqual(
          expired,
          items.filter(({ left }) => !left).map(({ item, due }) => `${item.name}@${due}`),
        );
        assert.equal(list.size, 0);
      },
    ),
    { numRuns: 50 },
  );
});
