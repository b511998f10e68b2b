import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Context } from '../../src/actors/delivery.ts';
import type { DurableMailbox } from '../../src/actors/durable-mailbox.ts';
import { PermanentError } from '../../src/core/errors.ts';
import type { Message } from '../../src/core/message.ts';
import { defaultOutage } from '../../src/core/outage.ts';
import { Disk } from '../../src/testing/disk.ts';
import { type World, world } from '../core/testbed.ts';
import { heldBy, Life, policyOf } from './durable-bed.ts';

const minute = 60_000;
const noJitter = { jitter: 0 };

/** What a handler needs, and what it was asked. */
class Database {
  away = true;
  /** `payload/attempt`. */
  readonly asked: string[] = [];
  readonly times: number[] = [];
  readonly now: () => number;

  constructor(clock: { monotonic(): number }) {
    this.now = () => clock.monotonic();
  }

  readonly handler = ({ payload }: Message, { attempt }: Context): void => {
    this.asked.push(`${String(payload)}/${attempt}`);
    this.times.push(this.now());
    if (this.away) throw new Error('connection refused');
  };
}

function emitAll({ bus }: World, count: number, from = 0): void {
  for (let i = from; i < from + count; i++) assert.ok(bus.emit('t', i));
}

describe('a memory subscription whose handler always fails', () => {
  test('probes after 10 failures: one message at a time, each with the attempt that it had', async (t) => {
    const w = await world(t);
    const db = new Database(w.clock);
    const sub = await w.bus.subscribe('t', db.handler, { name: 'db', concurrency: 8, retry: noJitter });
    emitAll(w, 40);
    await w.clock.settle();
    assert.equal(db.asked.length, 10, 'the rest is held back');
    assert.ok(sub.stats().probing);
    assert.equal((await w.bus.status()).subscriptions[0]?.probing, true);
    await w.clock.advance(1000);
    assert.deepEqual(db.times.slice(10), [100, 300, 700], 'one after the other');
    assert.deepEqual(
      db.asked.slice(10, 13),
      ['10/1', '9/1', '11/1'],
      'what has arrived and what has come back, in turn',
    );
    const [probing] = w.seen('subscription.probing');
    assert.deepEqual(
      { ...probing },
      { type: 'subscription.probing', subscription: 'db', failures: 10, since: w.clock.now() - 1000 },
    );
    db.away = false;
    await w.clock.advance(1000);
    assert.equal(sub.stats().handled, 40);
    assert.ok(!sub.stats().probing);
    const [recovered] = w.seen('subscription.recovered');
    assert.deepEqual(
      { ...recovered },
      { type: 'subscription.recovered', subscription: 'db', failures: 13, after: 1500 },
    );
    // The first nine have spent their first attempt; nobody has spent another one.
    assert.ok(db.asked.every((asked) => Number(asked.split('/')[1]) <= 2));
    assert.ok(db.asked.includes('9/1') && !db.asked.includes('9/2'), 'the tenth spends none');
  });

  test('with its database away for a minute, under traffic: no dead letter, everything is handled after it is back', async (t) => {
    const w = await world(t);
    const db = new Database(w.clock);
    const sub = await w.bus.subscribe('t', db.handler);
    let sent = 0;
    for (; w.clock.monotonic() < minute; sent++) {
      emitAll(w, 1, sent);
      await w.clock.advance(50);
    }
    db.away = false;
    await w.clock.advance(36_000);
    const { handled, dead, waiting, dropped } = sub.stats();
    assert.deepEqual({ handled, dead, waiting, dropped }, { handled: sent, dead: 0, waiting: 0, dropped: 0 });
    assert.ok(db.asked.length < sent + 40, `${db.asked.length} attempts for ${sent} messages`);
  });

  test('has dead letters again when five minutes are over', async (t) => {
    const w = await world(t);
    const db = new Database(w.clock);
    const sub = await w.bus.subscribe('t', db.handler);
    emitAll(w, 3);
    await w.clock.advance(5 * minute);
    assert.equal(sub.stats().dead, 0);
    await w.clock.advance(15 * minute);
    assert.equal(sub.stats().dead, 3);
    assert.deepEqual(
      (await w.bus.deadLetters.list()).map(({ attempts, reason }) => [attempts, reason]),
      [
        [5, 'attempts'],
        [5, 'attempts'],
        [5, 'attempts'],
      ],
    );
    emitAll(w, 1, 3);
    db.away = false;
    await w.clock.advance(minute);
    assert.equal(sub.stats().handled, 1, 'it has not ended before something succeeds');
    assert.equal(w.seen('subscription.recovered').length, 1);
  });

  test('keeps the order of a key, and tries its head', async (t) => {
    const w = await world(t);
    const db = new Database(w.clock);
    const order: unknown[] = [];
    await w.bus.subscribe(
      't',
      (message, context) => {
        db.handler(message, context);
        order.push(message.payload);
      },
      { concurrency: 4 },
    );
    for (let i = 0; i < 30; i++) w.bus.emit('t', i, { key: `k${i % 3}` });
    await w.clock.advance(minute);
    assert.deepEqual(
      new Set(db.asked.map((asked) => asked.split('/')[0])),
      new Set(['0', '1', '2']),
      'nothing behind the heads was tried',
    );
    db.away = false;
    await w.clock.advance(minute);
    for (const lane of [0, 1, 2]) {
      assert.deepEqual(
        order.filter((n) => (n as number) % 3 === lane),
        Array.from({ length: 10 }, (_, i) => 3 * i + lane),
      );
    }
  });

  test('has its dead letters at once with outage: false, and earlier or later as it is told', async (t) => {
    const w = await world(t);
    const db = new Database(w.clock);
    const never = await w.bus.subscribe('t', db.handler, { outage: false });
    const early = await w.bus.subscribe('t', db.handler, { outage: { failures: 2, messages: 1, grace: 1000 } });
    emitAll(w, 1);
    await w.clock.advance(200);
    assert.deepEqual([never.stats().probing, early.stats().probing], [false, true]);
    await w.clock.advance(10_000);
    assert.deepEqual([never.stats().dead, early.stats().dead], [1, 0]);
    await w.clock.advance(minute);
    assert.equal(early.stats().dead, 1);
  });

  test('gives up all that fails with outage: false, however much that is', async (t) => {
    const w = await world(t);
    const db = new Database(w.clock);
    const [never, plain] = [
      await w.bus.subscribe('t', db.handler, { outage: false, concurrency: 8 }),
      await w.bus.subscribe('t', db.handler, { concurrency: 8 }),
    ];
    emitAll(w, 20);
    await w.clock.advance(minute);
    assert.deepEqual([never.stats().dead, plain.stats().dead], [20, 0]);
  });

  test('tries nothing again where each message is to be tried once only', async (t) => {
    const w = await world(t);
    const db = new Database(w.clock);
    const sub = await w.bus.subscribe('t', db.handler, { retry: { attempts: 1 } });
    emitAll(w, 20);
    await w.clock.advance(1000);
    const { probing, dead } = sub.stats();
    assert.deepEqual([probing, dead, db.asked.length], [false, 20, 20]);
  });

  test('that is a timeout as well as a throw', async (t) => {
    const w = await world(t);
    const sub = await w.bus.subscribe('t', () => new Promise(() => {}), { concurrency: 5, timeout: 1000 });
    emitAll(w, 20);
    await w.clock.advance(3000);
    assert.ok(sub.stats().probing);
    assert.equal(sub.stats().failed, 14, 'the tenth, and those that had begun before it');
    await w.clock.advance(400);
    assert.equal(sub.stats().running, 1);
  });

  test('goes on holding back while it closes, and leaves no timer', async (t) => {
    const w = await world(t); // which looks for timers
    const db = new Database(w.clock);
    const sub = await w.bus.subscribe('t', db.handler);
    emitAll(w, 20);
    await w.clock.settle();
    await sub.close();
    await w.clock.advance(1000);
    assert.deepEqual([sub.stats().dropped, db.asked.length], [20, 10]);
  });

  test('that keeps the newest only lets a newer one take the place of a probe', async (t) => {
    const w = await world(t);
    const db = new Database(w.clock);
    const sub = await w.bus.subscribe('t.*', db.handler, {
      latestOnly: 'topic',
      outage: { failures: 1, messages: 1 },
      concurrency: 1,
    });
    w.bus.emit('t1', 'old');
    await w.clock.settle();
    w.bus.emit('t1', 'new');
    db.away = false;
    await w.clock.advance(1000);
    assert.deepEqual(db.asked, ['old/1', 'new/1']);
    assert.equal(sub.stats().dropped, 1);
  });
});

describe('messages that fail by themselves', () => {
  test('hold nobody up for long, however many there are: one that succeeds ends it, and they become dead letters', async (t) => {
    const w = await world(t);
    const seen: unknown[] = [];
    const sub = await w.bus.subscribe('t', ({ payload }) => {
      if ((payload as number) < 12) throw new Error('poison');
      seen.push(payload);
    });
    emitAll(w, 100);
    await w.clock.advance(4000);
    assert.equal(seen.length, 88);
    for (let n = 100; sub.stats().dead < 12 && n < 200; n++) {
      emitAll(w, 1, n);
      await w.clock.advance(1000);
    }
    assert.equal(sub.stats().dead, 12);
  });

  test('by a verdict of the handler say nothing of an outage', async (t) => {
    const w = await world(t);
    const sub = await w.bus.subscribe('t', ({ payload }, context) => {
      if ((payload as number) % 2 === 0) throw new PermanentError('no such order');
      context.term('not wanted');
    });
    emitAll(w, 50);
    await w.clock.settle();
    assert.equal(sub.stats().dead, 50);
    assert.deepEqual(w.seen('subscription.probing'), []);
  });

  test('by a verdict while it probes neither end that nor make the next one wait', async (t) => {
    const w = await world(t);
    const asked: unknown[] = [];
    const sub = await w.bus.subscribe(
      't',
      ({ payload }) => {
        asked.push(payload);
        if (payload === 10 || payload === 11) throw new PermanentError('no such order');
        throw new Error('connection refused');
      },
      { retry: noJitter },
    );
    emitAll(w, 13);
    await w.clock.settle();
    assert.equal(asked.length, 10);
    await w.clock.advance(100);
    assert.deepEqual(asked.slice(10), [10, 11, 12]);
    assert.ok(sub.stats().probing);
    assert.equal(sub.stats().dead, 2);
  });

  test('by a filter that leaves them out are passed over by a probe', async (t) => {
    const w = await world(t);
    const db = new Database(w.clock);
    const sub = await w.bus.subscribe('t', db.handler, {
      filters: [({ payload }) => (payload as number) < 10 || (payload as number) % 10 === 0],
      retry: noJitter,
    });
    emitAll(w, 31);
    await w.clock.advance(100);
    assert.deepEqual(db.asked.slice(10), ['10/1']);
    assert.equal(sub.stats().filtered, 0);
    db.away = false;
    await w.clock.advance(minute);
    assert.deepEqual([sub.stats().handled, sub.stats().filtered], [13, 18]);
  });
});

describe('a durable mailbox whose consumers always fail', () => {
  const policy = policyOf({ outage: defaultOutage });

  async function fill(life: Life, mailbox: DurableMailbox, count: number, key?: (n: number) => string): Promise<void> {
    for (let n = 0; n < count; n++) life.offer(mailbox, n, key === undefined ? {} : { key: key(n) });
    await life.clock.settle();
  }

  test('for a minute has no dead letter, and everything is handled afterwards, with every attempt that it had', async () => {
    const life = await Life.start(new Disk());
    const { mailbox } = await life.mailbox('box', policy);
    const db = new Database(life.clock);
    life.consume(mailbox, db.handler, { concurrency: 4 });
    await fill(life, mailbox, 200);
    await life.clock.advance(minute);
    assert.ok(mailbox.probing);
    assert.equal(mailbox.size, 200);
    assert.equal(life.seen('subscription.probing').length, 1);
    db.away = false;
    await life.clock.advance(36_000);
    assert.deepEqual([mailbox.size, mailbox.tally.handled, mailbox.tally.dead], [0, 200, 0]);
    assert.equal(life.seen('subscription.recovered').length, 1);
    assert.ok(db.asked.every((asked) => Number(asked.split('/')[1]) <= 2));
    await life.close();
  });

  test('hands out one at a time, to whichever of them', async () => {
    const life = await Life.start(new Disk());
    const { mailbox } = await life.mailbox('box', policy);
    let running = 0;
    let most = 0;
    const fail = async (): Promise<void> => {
      if (mailbox.probing) most = Math.max(most, ++running);
      await new Promise<void>((done) => void life.clock.timer(50, done));
      if (running > 0) running--;
      throw new Error('connection refused');
    };
    for (let i = 0; i < 3; i++) life.consume(mailbox, fail, { concurrency: 5, credit: 5 });
    await fill(life, mailbox, 300);
    await life.clock.advance(minute);
    assert.equal(most, 1);
    assert.equal(mailbox.tally.dead, 0);
    await life.close();
  });

  test('keeps what a probe had as its attempt through a restart in order, and ages by at most one by a crash', async () => {
    const disk = new Disk();
    let life = await Life.start(disk);
    const fail = (): void => {
      throw new Error('connection refused');
    };
    const { mailbox } = await life.mailbox('box', policy);
    life.consume(mailbox, fail);
    await fill(life, mailbox, 12);
    await life.clock.advance(2 * minute);
    const before = new Map([...mailbox.peek()].map(({ message, attempt }) => [message.payload, attempt]));
    assert.equal(before.size, 12);
    assert.ok(mailbox.probing);
    let epoch = await life.close();
    life = await Life.start(disk, { seed: 2, epoch });
    const second = await life.mailbox('box', policy);
    const { id } = second.mailbox;
    const shown = new Map<unknown, number>();
    const look = ({ payload }: Message, { attempt }: Context): Promise<void> => {
      shown.set(payload, attempt);
      return new Promise(() => {});
    };
    life.consume(second.mailbox, look, { concurrency: 12 });
    await life.clock.advance(minute);
    assert.deepEqual(shown, before, 'a restart in order ages nobody');
    epoch = life.kill();
    life = await Life.start(disk, { seed: 3, epoch });
    const third = await life.mailbox('box', policy);
    const db = new Database(life.clock);
    db.away = false;
    life.consume(third.mailbox, db.handler);
    await life.clock.advance(minute);
    assert.equal(db.asked.length, 12);
    for (const asked of db.asked) {
      const [payload, attempt] = asked.split('/').map(Number) as [number, number];
      const had = before.get(payload) as number;
      assert.ok(attempt === had || attempt === had + 1, `${asked} had ${had}`);
    }
    await life.close();
    assert.deepEqual(heldBy(disk, id, 'box'), []);
  });

  test('keeps the order of a key', async () => {
    const life = await Life.start(new Disk());
    const { mailbox } = await life.mailbox('box', policy);
    const db = new Database(life.clock);
    const order: number[] = [];
    const handler = (message: Message, context: Context): void => {
      db.handler(message, context);
      order.push(message.payload as number);
    };
    life.consume(mailbox, handler, { concurrency: 4 });
    await fill(life, mailbox, 90, (n) => `k${n % 3}`);
    await life.clock.advance(minute);
    assert.equal(new Set(db.asked.map((asked) => asked.split('/')[0])).size, 3, 'the heads of the keys');
    db.away = false;
    await life.clock.advance(minute);
    for (const lane of [0, 1, 2]) {
      const expected = Array.from({ length: 30 }, (_, i) => 3 * i + lane);
      assert.deepEqual(
        order.filter((n) => n % 3 === lane),
        expected,
      );
    }
    await life.close();
  });

  test('goes on with its probes when the consumer that had one is gone', async () => {
    const life = await Life.start(new Disk());
    const { mailbox } = await life.mailbox('box', policy);
    let hangs = false;
    const first = life.consume(mailbox, () => {
      if (hangs) return new Promise<void>(() => {});
      throw new Error('connection refused');
    });
    await fill(life, mailbox, 20);
    hangs = true;
    await life.clock.advance(1000);
    assert.equal(mailbox.running, 1);
    await life.run(() => first.close(0));
    const db = new Database(life.clock);
    db.away = false;
    life.consume(mailbox, db.handler);
    await life.clock.advance(minute);
    assert.equal(db.asked.length, 20);
    await life.close();
  });

  test('has dead letters when the grace is over, and none of them twice', async () => {
    const life = await Life.start(new Disk());
    const { mailbox } = await life.mailbox('box', policyOf({ outage: { failures: 3, messages: 3, grace: 1000 } }));
    const db = new Database(life.clock);
    life.consume(mailbox, db.handler);
    await fill(life, mailbox, 4);
    await life.clock.advance(10 * minute);
    assert.deepEqual([mailbox.size, mailbox.tally.dead, life.deadLetters.size], [0, 4, 4]);
    await life.close();
  });

  test('goes on at once when its policy has no brake any more', async () => {
    const life = await Life.start(new Disk());
    const { mailbox } = await life.mailbox('box', policy);
    const db = new Database(life.clock);
    life.consume(mailbox, db.handler);
    await fill(life, mailbox, 20);
    assert.ok(mailbox.probing);
    mailbox.setPolicy({ ...policy, limits: { ...policy.limits, messages: 100 } });
    assert.ok(mailbox.probing, 'another option says nothing about it');
    mailbox.setPolicy(policyOf({ outage: false }));
    await life.clock.advance(minute);
    assert.ok(!mailbox.probing);
    assert.equal(mailbox.tally.dead, 20);
    await life.close();
  });
});
