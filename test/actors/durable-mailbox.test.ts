import assert from 'node:assert/strict';
import { test } from 'node:test';
import { unsettledOfKey } from '../../src/actors/delivery-queue.ts';
import type { Message } from '../../src/core/message.ts';
import { VirtualClock } from '../../src/core/virtual-clock.ts';
import { Disk } from '../../src/testing/disk.ts';
import { heldBy, Life, policyOf } from './durable-bed.ts';
import { DurableRun } from './durable-model.ts';

/** Longer: MAILVAN_RUNS=5000 for so many runs; MAILVAN_SEED for one of them. */
const runs = Number(process.env.MAILVAN_RUNS ?? 60);
const only = process.env.MAILVAN_SEED;

/** A handler that hangs until it is let go. */
function gate() {
  const open = new Map<unknown, () => void>();
  const seen: unknown[] = [];
  const attempts: string[] = [];
  const handler = ({ payload }: Message, { attempt }: { attempt: number }): Promise<void> => {
    seen.push(payload);
    attempts.push(`${String(payload)}#${attempt}`);
    return new Promise((done) => open.set(payload, done));
  };
  return { handler, seen, attempts, open: (payload: unknown) => open.get(payload)?.() };
}

test('of one key one message runs at a time, although one behind it expires', async () => {
  const life = await Life.start(new Disk());
  const { mailbox } = await life.mailbox('a/b');
  const { handler, seen, open } = gate();
  life.offer(mailbox, 'first', { key: 'k' });
  life.offer(mailbox, 'expired', { key: 'k', ttl: 5 });
  life.offer(mailbox, 'third', { key: 'k' });
  await life.clock.advance(10);
  life.consume(mailbox, handler, { concurrency: 5 });
  await life.clock.advance(10);
  assert.deepEqual(seen, ['first']);
  open('first');
  await life.clock.advance(10);
  assert.deepEqual(seen, ['first', 'third']);
});

test('of one key one message runs at a time, although those that wait behind it are dropped as the oldest', async () => {
  const life = await Life.start(new Disk());
  const { mailbox } = await life.mailbox('a/b', policyOf({ limits: { messages: 3, overflow: 'drop-oldest' } }));
  const { handler, seen, open } = gate();
  life.consume(mailbox, handler, { concurrency: 5 });
  for (const payload of [1, 2, 3]) life.offer(mailbox, payload, { key: 'k' });
  await life.clock.advance(10);
  for (const payload of [4, 5]) {
    life.offer(mailbox, payload, { key: 'k' });
    await life.clock.advance(10);
  }
  assert.deepEqual(seen, [1]);
  for (const payload of [1, 4, 5]) {
    open(payload);
    await life.clock.advance(10);
  }
  assert.deepEqual(seen, [1, 4, 5]);
});

test('a message that a newer one replaces while it waits behind its key does not block the key', async () => {
  const life = await Life.start(new Disk());
  const { mailbox } = await life.mailbox('a/b', policyOf({ latestOnly: true }));
  const { handler, seen, open } = gate();
  life.consume(mailbox, handler, { concurrency: 5 });
  for (const payload of [1, 2, 3, 4]) {
    life.offer(mailbox, payload, { key: 'k' });
    await life.clock.advance(10);
  }
  assert.deepEqual(seen, [1]);
  open(1);
  await life.clock.advance(10);
  assert.deepEqual(seen, [1, 4]);
  open(4);
  await life.run(() => mailbox.drain(1000));
});

test('what a clean close leaves over ages when it kills its process in the next life', async () => {
  const disk = new Disk();
  let life = await Life.start(disk);
  const entry = await life.mailbox('a/b');
  for (let i = 0; i < 5; i++) life.offer(entry.mailbox, i);
  const hanging = gate();
  life.consume(entry.mailbox, hanging.handler);
  await life.clock.advance(10);
  assert.deepEqual(hanging.attempts, ['0#1']);
  let epoch = await life.close();
  const first: string[] = [];
  for (let round = 0; round < 12; round++) {
    life = await Life.start(disk, { epoch, seed: round });
    const { mailbox } = await life.mailbox('a/b');
    const { handler, attempts } = gate();
    life.consume(mailbox, handler);
    await life.clock.advance(10);
    first.push(...attempts);
    epoch = life.kill();
  }
  // Every one kills its process until it is given up; those within the credit of the first were counted once with it.
  const expected = [0, 1, 2].flatMap((n) => [2, 3, 4, 5].map((attempt) => `${n}#${attempt}`));
  assert.deepEqual(first.slice(0, expected.length), expected);
});

test('a clean close does not age what was not handed out, in memory, on disk or in flight', async () => {
  const disk = new Disk();
  let life = await Life.start(disk, { delay: 3 });
  const { mailbox } = await life.mailbox('a/b');
  const big = 'x'.repeat(900_000);
  for (let i = 0; i < 14; i++) {
    life.offer(mailbox, `${i}${big}`);
    await life.clock.advance(10);
  }
  life.consume(mailbox, () => new Promise(() => {}));
  await life.clock.advance(10);
  life.offer(mailbox, 'late');
  const epoch = await life.close();
  life = await Life.start(disk, { epoch });
  const attempts: number[] = [];
  const again = await life.mailbox('a/b');
  life.consume(again.mailbox, (_message, { attempt }) => {
    attempts.push(attempt);
  });
  await life.clock.advance(1000);
  assert.deepEqual(attempts, [2, ...new Array(14).fill(1)]);
});

test('a retry that is cut off by a clean close has one attempt more', async () => {
  const disk = new Disk();
  let life = await Life.start(disk);
  const { mailbox } = await life.mailbox('a/b');
  life.offer(mailbox, 'm');
  let tries = 0;
  life.consume(mailbox, () => {
    if (++tries < 3) throw new Error('again');
    return new Promise(() => {});
  });
  await life.clock.advance(2000);
  assert.equal(tries, 3);
  const epoch = await life.close();
  life = await Life.start(disk, { epoch });
  const { handler, attempts } = gate();
  life.consume((await life.mailbox('a/b')).mailbox, handler);
  await life.clock.advance(10);
  assert.deepEqual(attempts, ['m#4']);
});

test('a replay whose commit fails loses neither the letter nor the message', async () => {
  for (const fault of ['lost', 'applied'] as const) {
    const life = await Life.start(new Disk());
    const { mailbox } = await life.mailbox('a/b', policyOf({ retry: { attempts: 1 } }));
    life.offer(mailbox, 'm');
    const consumer = life.consume(mailbox, () => {
      throw new Error('no');
    });
    await life.clock.advance(10);
    await life.run(() => consumer.close(0));
    const [letter] = await life.run(() => life.deadLetters.list());
    assert.notEqual(letter, undefined);
    life.source.behaviour.faults.set(0, fault);
    const replay = life.deadLetters.replay([letter?.id ?? '']).catch(() => undefined);
    await life.clock.advance(5000);
    await replay;
    const held = heldBy(life.disk, mailbox.id, 'a/b');
    assert.equal(held.length, 1, `${fault}: ${JSON.stringify(held)}`);
    assert.equal(life.deadLetters.size + mailbox.size, 1, fault);
  }
});

for (const order of ['input first', 'output first'] as const) {
  for (const fault of ['lost', 'applied'] as const) {
    test(`a step whose commit fails is there once, settled and put out: ${order}, ${fault}`, async () => {
      const life = await Life.start(new Disk(), { delay: 3 });
      const input = (await life.mailbox('in')).mailbox;
      const output = (await life.mailbox('out')).mailbox;
      life.offer(input, 'm');
      let finish = (): void => {};
      life.consume(input, async (_message, context) => {
        await new Promise<void>((done) => {
          finish = done;
        });
        await context.publish('out', 'result');
      });
      await life.clock.advance(20);
      // A write of one of the two is under way when the step ends.
      life.offer(order === 'input first' ? input : output, 'other');
      await life.clock.settle();
      life.source.behaviour.faults.set(0, fault);
      finish();
      await life.clock.advance(5000);
      const inputs = heldBy(life.disk, input.id, 'in').filter(({ payload }) => payload === 'm');
      const outputs = heldBy(life.disk, output.id, 'out').filter(({ payload }) => payload === 'result');
      assert.deepEqual([inputs.length, outputs.length], [0, 1]);
    });
  }
}

test('who waits for room gets in, or an answer, after a commit has failed', async () => {
  const life = await Life.start(new Disk());
  const { mailbox } = await life.mailbox('a/b', policyOf({ limits: { messages: 1, overflow: 'block' } }));
  life.offer(mailbox, 'first');
  let admitted = false;
  mailbox.wait({
    size: 100,
    distant: false,
    admit: () => {
      admitted = true;
    },
    closed: () => assert.fail(),
  });
  life.source.behaviour.faults.set(0, 'lost');
  await life.clock.advance(5000);
  assert.equal(mailbox.size, 0);
  assert.equal(admitted, true);
});

test('a message that may have killed its process is handed out alone, however many run at a time', async () => {
  const disk = new Disk();
  let life = await Life.start(disk);
  for (let i = 0; i < 8; i++) life.offer((await life.mailbox('a/b')).mailbox, i);
  let epoch = 0;
  const dead: string[] = [];
  for (let round = 0; round < 8; round++) {
    const { mailbox } = await life.mailbox('a/b');
    let killed = false;
    life.consume(
      mailbox,
      async ({ payload }, { attempt }) => {
        assert.ok(payload === 3 || attempt <= 2, `${payload} is at attempt ${attempt}`);
        await new Promise<void>((done) => void life.clock.timer(50, done));
        if (payload === 3) {
          killed = true;
          epoch = life.kill();
          await new Promise(() => {});
        }
        if (killed) await new Promise(() => {});
      },
      { concurrency: 4 },
    );
    await life.clock.advance(5000);
    dead.push(...life.seen('message.dead').map(({ reason, attempts }) => `${reason}#${attempts}`));
    if (!killed) break;
    life = await Life.start(disk, { epoch, seed: round });
  }
  assert.deepEqual(dead, ['crash#5']);
  assert.equal((await life.mailbox('a/b')).mailbox.size, 0);
});

test('what was parked is delivered although the state record is gone', async () => {
  const disk = new Disk();
  let life = await Life.start(disk);
  const { mailbox } = await life.mailbox('a/b');
  life.offer(mailbox, 'delayed', { delay: 1000 });
  life.offer(mailbox, 'handled');
  life.offer(mailbox, 'keyed', { key: 'k' });
  life.consume(mailbox, ({ payload }) => {
    if (payload === 'keyed') throw new Error('again');
  });
  await life.clock.advance(20);
  const epoch = await life.close();
  disk.tamper(`st/${mailbox.id}`, undefined);
  life = await Life.start(disk, { epoch });
  assert.notEqual(life.seen('store.gap').length, 0);
  const again = (await life.mailbox('a/b')).mailbox;
  const { seen, handler } = gate();
  life.consume(again, handler, { concurrency: 5 });
  await life.clock.advance(5000);
  // The other one was handled: its segment is a stub, and says so without the state.
  assert.deepEqual([...seen].map(String).sort(), ['delayed', 'keyed']);
  assert.equal(again.size, 2);
});

test('a condemned message whose consumer goes while the dead letters are full becomes one dead letter', async () => {
  for (const permanent of [false, true]) {
    const life = await Life.start(new Disk(), { deadLimit: 1 });
    const { mailbox } = await life.mailbox('a/b', policyOf({ retry: { attempts: permanent ? 5 : 2 } }));
    life.offer(mailbox, 1);
    life.offer(mailbox, 2);
    const consumer = life.consume(
      mailbox,
      (_message, context) => {
        if (permanent) context.term();
        else throw new Error('no');
      },
      { concurrency: 2 },
    );
    await life.clock.advance(5000);
    assert.equal(life.deadLetters.size, 1);
    await life.run(() => consumer.close(0));
    const [letter] = await life.run(() => life.deadLetters.list());
    await life.run(() => life.deadLetters.drop([letter?.id ?? '']));
    await life.clock.advance(100);
    assert.equal(life.deadLetters.size, 1);
    const [second] = await life.run(() => life.deadLetters.list());
    await life.run(() => life.deadLetters.drop([second?.id ?? '']));
    await life.clock.advance(100);
    assert.equal(life.deadLetters.size, 0);
    assert.equal(mailbox.size, 0);
    assert.equal(mailbox.bytes, 0);
    const { seen, handler } = gate();
    life.consume(mailbox, handler);
    life.offer(mailbox, 3);
    await life.clock.advance(100);
    assert.deepEqual(seen, [3]);
  }
});

test('a handler that closes its own subscription does not leave outputs behind', async () => {
  const life = await Life.start(new Disk());
  const input = (await life.mailbox('in')).mailbox;
  const output = (await life.mailbox('out')).mailbox;
  life.offer(input, 'm');
  const consumer = life.consume(input, async (_message, context) => {
    void consumer.close(0);
    await context.publish('out', 'result').catch(() => undefined);
  });
  await life.clock.advance(100);
  assert.equal(input.size + output.size, 1);
});

test('messages that are delayed are delivered although a page of them could not be read', async () => {
  const life = await Life.start(new Disk());
  const { mailbox } = await life.mailbox('a/b');
  const count = 20_500;
  for (let i = 0; i < count; i++)
    mailbox.offer(life.message('a/b', i, { delay: 1000 + Math.floor(i / 10) }), undefined);
  await life.clock.advance(100);
  let handled = 0;
  life.consume(mailbox, () => {
    handled++;
  });
  life.source.behaviour.scanFaults = 3;
  // Step by step: the clock takes a long read for idleness, and would be at the end before it.
  for (let second = 0; second < 60; second++) await life.clock.advance(1000);
  assert.equal(handled, count);
  assert.equal(mailbox.size, 0);
});

test('a message that kills its process whenever it is handed out is given up, its neighbours are handled', async () => {
  for (let seed = 1; seed <= Math.max(20, runs / 4); seed++) {
    const dice = new VirtualClock(seed);
    const roll = (sides: number): number => Math.floor(dice.random() * sides);
    const disk = new Disk();
    const attempts = 1 + roll(5);
    const policy = policyOf({ retry: { attempts } });
    const count = 1 + roll(40);
    const killer = roll(count);
    const concurrency = 1 + roll(4);
    const credit = concurrency + roll(20);
    let epoch: number | undefined;
    let kills = 0;
    const handled = new Set<number>();
    const dead: unknown[] = [];
    let offered = 0;
    for (let life = await Life.start(disk, { seed }); ; life = await Life.start(disk, { seed: seed + kills, epoch })) {
      const { mailbox } = await life.mailbox('a/b', policy);
      for (; offered < count; offered++) {
        life.offer(mailbox, offered, roll(3) === 0 ? { key: `k${roll(2)}` } : {});
        if (roll(2) === 0) await life.clock.settle();
      }
      await life.clock.settle();
      let killed = false;
      life.consume(
        mailbox,
        async ({ payload }, { attempt }) => {
          const n = Number(payload);
          const about = `seed ${seed}: ${n} is at attempt ${attempt}, ${killer} of ${count} kills`;
          if (n !== killer) assert.ok(attempt <= 2, about);
          else assert.ok(attempt >= kills + 1 && attempt <= kills + 2, about);
          await new Promise<void>((done) => void life.clock.timer(roll(20), done));
          if (n === killer) {
            killed = true;
            kills++;
            epoch = life.kill();
          }
          if (killed) await new Promise(() => {});
          handled.add(n);
        },
        { concurrency, credit },
      );
      for (let i = 0; i < 2000 && !killed && mailbox.size > 0; i++) await life.clock.advance(5);
      if (killed) {
        // The first time others were out with it: that alone gives nothing up.
        assert.ok(kills <= attempts + 1, `seed ${seed}: it has killed ${kills} times`);
        continue;
      }
      dead.push(...life.seen('message.dead').map(({ reason }) => reason));
      assert.equal(mailbox.size, 0, `seed ${seed}`);
      break;
    }
    assert.deepEqual(dead, ['crash'], `seed ${seed}`);
    assert.equal(handled.size, count - 1, `seed ${seed}`);
  }
});

test('a crash gives up nothing that may not have run, however few attempts it has', async () => {
  const disk = new Disk();
  const policy = policyOf({ retry: { attempts: 1 } });
  let life = await Life.start(disk);
  const first = await life.mailbox('a/b', policy);
  for (let n = 0; n < 20; n++) life.offer(first.mailbox, n, n % 4 === 0 ? {} : { key: `k${n % 4}` });
  await life.clock.settle();
  life.consume(first.mailbox, () => new Promise(() => {}), { concurrency: 2 });
  await life.clock.advance(10);
  const epoch = life.kill();
  life = await Life.start(disk, { epoch });
  const { mailbox } = await life.mailbox('a/b', policy);
  const handled = new Set<unknown>();
  life.consume(mailbox, ({ payload }) => {
    handled.add(payload);
  });
  await life.clock.advance(1000);
  assert.equal(handled.size, 20);
  assert.deepEqual(life.seen('message.dead'), []);
});

test('a crash ages only the first few of a key: those behind them cannot have run', async () => {
  const disk = new Disk();
  let life = await Life.start(disk);
  const first = await life.mailbox('a/b');
  for (let n = 0; n < 200; n++) life.offer(first.mailbox, n, { key: 'k' });
  await life.clock.settle();
  life.consume(first.mailbox, () => new Promise(() => {}), { concurrency: 4 });
  await life.clock.advance(10);
  const epoch = life.kill();
  life = await Life.start(disk, { epoch });
  const attempts: number[] = [];
  life.consume((await life.mailbox('a/b')).mailbox, (_message, { attempt }) => {
    attempts.push(attempt);
  });
  await life.clock.advance(1000);
  assert.deepEqual(attempts, [...new Array(unsettledOfKey).fill(2), ...new Array(200 - unsettledOfKey).fill(1)]);
});

test('what is handed out of one key before its settlements are written is bounded, and all of it is handled', async () => {
  const life = await Life.start(new Disk(), { delay: 5 });
  const { mailbox } = await life.mailbox('a/b');
  for (let n = 0; n < 500; n++) life.offer(mailbox, n, { key: 'k' });
  const handled: unknown[] = [];
  let written = 0;
  let most = 0;
  life.consume(mailbox, ({ payload }) => {
    handled.push(payload);
    mailbox.journal.whenCommitted({
      committed: () => {
        written++;
      },
      failed: () => undefined,
    });
    most = Math.max(most, handled.length - written);
  });
  await life.clock.advance(2_000);
  assert.deepEqual(handled, [...new Array(500).keys()]);
  assert.ok(most <= unsettledOfKey, `${most} were out or not written`);
});

test('consumers of one mailbox get its messages in turn', async () => {
  const life = await Life.start(new Disk());
  const { mailbox } = await life.mailbox('a/b');
  const counts = [0, 0, 0];
  for (const i of counts.keys()) {
    life.consume(mailbox, () => {
      counts[i] = (counts[i] ?? 0) + 1;
    });
  }
  for (let n = 0; n < 90; n++) {
    life.offer(mailbox, n);
    await life.clock.advance(1);
  }
  assert.deepEqual(counts, [30, 30, 30]);
});

test('a random life: nothing is lost, doubled, early, out of order or miscounted', async () => {
  const seeds = only === undefined ? Array.from({ length: runs }, (_, i) => i + 1) : [Number(only)];
  for (const seed of seeds) {
    try {
      await new DurableRun(seed).run();
    } catch (error) {
      throw new Error(`MAILVAN_SEED=${seed}: ${(error as Error).message}`, { cause: error });
    }
  }
});
