import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import * as v from 'valibot';
import { z } from 'zod';
import type { Bus } from '../../src/bus/bus.ts';
import { subscribe } from '../../src/bus/decorators.ts';
import { MemorySource } from '../../src/bus/durable/store-source.ts';
import { deferred } from '../../src/core/async.ts';
import { BusError } from '../../src/core/errors.ts';
import type { Message } from '../../src/core/message.ts';
import type { SchemaResult, StandardSchema } from '../../src/core/schema.ts';
import { topic } from '../../src/routing/typed-topic.ts';
import { outcomeOf, refusal, resolved, type World, world } from '../core/testbed.ts';
import { DurableWorld } from './durable-world.ts';

/** A validator written by hand. */
function schemaOf<T>(validate: (value: unknown) => SchemaResult<T> | Promise<SchemaResult<T>>): StandardSchema<T> {
  return { '~standard': { version: 1, vendor: 'here', validate } };
}

const even = (value: unknown): SchemaResult<number> =>
  typeof value === 'number' && value % 2 === 0 ? { value } : { issues: [{ message: `${value} is odd` }] };
/** Takes even numbers, after a while. */
const slowly = (w: { clock: World['clock'] }, ms = 1000): StandardSchema<number> =>
  schemaOf((value) => new Promise((done) => void w.clock.timer(ms, () => done(even(value)))));

const zodOrder = z.object({ id: z.number(), lines: z.array(z.object({ 'a sku': z.string() })), at: z.coerce.date() });
const valibotOrder = v.object({
  id: v.number(),
  lines: v.array(v.object({ 'a sku': v.string() })),
  at: v.pipe(
    v.string(),
    v.transform((text) => new Date(text)),
  ),
});
const good = { id: 1, lines: [{ 'a sku': 'x' }], at: '2026-01-01T00:00:00.000Z' };
const bad = { id: 'one', lines: [{ 'a sku': 'x' }, { 'a sku': 2 }], at: '2026-01-01T00:00:00.000Z' };

async function letters(bus: Bus): Promise<string[]> {
  return (await bus.deadLetters.list()).map(
    ({ subscription, reason, attempts, lastError }) =>
      `${subscription} ${reason} ${attempts} ${lastError.name}: ${lastError.message}`,
  );
}

function durable(t: TestContext): Promise<World> {
  return world(t, {}, { source: new MemorySource() });
}

describe('topic()', () => {
  test('stands for itself alone, whatever characters it has', async (t) => {
    const w = await world(t);
    const name = 'a.b+(c)|[d]{2}^$?*\\e';
    const seen: string[] = [];
    await resolved(
      w.clock,
      w.bus.subscribe(topic(name, v.unknown()), (message) => void seen.push(message.topic)),
    );
    for (const other of ['axb+(c)|[d]{2}^$?*\\e', 'a.b', `${name}.`, `x${name}`])
      assert.equal(w.bus.emit(other, 1), true);
    w.bus.emit(name, 1);
    await w.clock.settle();
    assert.deepEqual(seen, [name]);
    assert.equal(`${topic(name, v.unknown())}`, name);
  });

  test('refuses what is no topic, and what is no Standard Schema of version 1', () => {
    assert.throws(() => topic('', z.string()), refusal('TOPIC_INVALID', 'empty'));
    assert.throws(() => topic('$sys.node.down', z.string()), refusal('TOPIC_INVALID', "'$'"));
    for (const [schema, ...texts] of [
      [undefined, 'undefined', "'t'"],
      [{ parse: () => 1 }, 'an object', 'zod from 3.24'],
      [() => true, 'a function'],
      [{ '~standard': { version: 2, validate: () => 1 } }, 'one of version 2'],
      [{ '~standard': { version: 1 } }, 'one of version 1'],
    ] as const) {
      assert.throws(() => topic('t', schema as unknown as StandardSchema), refusal('OPTION_INVALID', ...texts));
    }
  });

  test('a validator that is a function is one', async (t) => {
    const w = await world(t);
    const schema = Object.assign(() => true, schemaOf(even));
    await assert.rejects(w.bus.publish(topic('t', schema), 1), refusal('PAYLOAD_INVALID', 'payload: 1 is odd'));
  });
});

describe('a publisher', () => {
  for (const validator of ['zod', 'valibot'] as const) {
    test(`is refused what does not fit a schema of ${validator}, with the path and the reason of each issue, and nobody has it`, async (t) => {
      const w = await world(t);
      const created = topic('orders.created', validator === 'zod' ? zodOrder : valibotOrder);
      let seen = 0;
      await resolved(
        w.clock,
        w.bus.subscribe('.*', () => void seen++),
      );
      const told = refusal('PAYLOAD_INVALID', "'orders.created'", 'payload.id: ', 'payload.lines[1]["a sku"]: ');
      const unfit = bad as unknown as typeof good;
      for (const attempt of [
        () => w.bus.publish(created, unfit),
        async () => w.bus.emit(created, unfit),
        () =>
          w.bus.publishMany([
            { topic: created, payload: good },
            { topic: created, payload: unfit },
          ]),
      ]) {
        await assert.rejects(attempt, (error) => {
          assert.ok(told(error) && error instanceof BusError);
          assert.equal(error.retryable, false);
          assert.deepEqual(
            error.issues?.map(({ path }) => path),
            ['payload.id', 'payload.lines[1]["a sku"]'],
          );
          return true;
        });
      }
      await w.clock.settle();
      assert.equal(seen, 0);
      assert.equal((await resolved(w.clock, w.bus.publish(created, good))).matched, 1);
      assert.equal(w.bus.emit(created, good), true);
      await resolved(w.clock, w.bus.publishMany([{ topic: created, payload: good }]));
      assert.equal(seen, 3);
    });
  }

  test('sends what it was given: what the schema makes of it is the consumer’s', async (t) => {
    const w = await world(t);
    const created = topic('orders.created', zodOrder);
    const seen: unknown[] = [];
    await resolved(
      w.clock,
      w.bus.subscribe('.*', ({ payload }) => void seen.push(payload)),
    );
    await resolved(w.clock, w.bus.publish(created, good));
    assert.equal(seen[0], good);
  });

  test('waits for an asynchronous validator in publish(), at most its timeout, and is told by emit() that it does not', async (t) => {
    const w = await world(t);
    const numbers = topic('numbers', slowly(w));
    const seen: unknown[] = [];
    await resolved(
      w.clock,
      w.bus.subscribe('numbers', ({ payload }) => void seen.push(payload)),
    );
    assert.throws(() => w.bus.emit(numbers, 2), refusal('OPTION_INVALID', "'numbers'", 'use publish()'));
    assert.throws(() => w.bus.emit(numbers, 1), refusal('OPTION_INVALID')); // whose rejection bothers nobody
    const publishes = [
      w.bus.publish(numbers, 2),
      w.bus.publish(numbers, 3),
      w.bus.publish(numbers, 4, { timeout: 999 }),
      w.bus.publishMany([
        { topic: numbers, payload: 6 },
        { topic: 'numbers', payload: 'plain' },
      ]),
    ];
    const outcomes = Promise.allSettled(publishes);
    await w.clock.advance(999);
    assert.deepEqual(seen, [], 'nothing is sent before all is checked');
    await w.clock.advance(1);
    const [first, odd, late, many] = await resolved(w.clock, outcomes);
    assert.ok(first?.status === 'fulfilled' && many?.status === 'fulfilled');
    assert.ok(odd?.status === 'rejected' && refusal('PAYLOAD_INVALID', '3 is odd')(odd.reason));
    assert.ok(late?.status === 'rejected' && refusal('TIMEOUT', '999 ms', 'nothing was sent')(late.reason));
    assert.deepEqual(seen, [2, 6, 'plain']);
    await assert.rejects(
      w.bus.publishMany([
        { topic: numbers, payload: 1 },
        { topic: '', payload: 2 },
      ]),
      (error) => error instanceof BusError,
    );
    const closing = w.bus.publish(numbers, 8);
    const closed = assert.rejects(closing, refusal('CLOSED'));
    await w.close();
    await w.clock.advance(1000);
    await closed;
  });

  test('hears it when the validator itself fails', async (t) => {
    const w = await world(t);
    const cause = new Error('no database');
    const throws = schemaOf<number>(() => {
      throw cause;
    });
    const rejects = schemaOf<number>(() => Promise.reject(cause));
    for (const schema of [throws, rejects]) {
      await assert.rejects(w.bus.publish(topic('t', schema), 1), (error) => {
        assert.ok(refusal('PAYLOAD_INVALID', "'t'", 'no database')(error) && error instanceof BusError);
        assert.equal(error.cause, cause);
        return true;
      });
    }
    const nonsense = schemaOf<number>(() => undefined as unknown as SchemaResult<number>);
    await assert.rejects(w.bus.publish(topic('t', nonsense), 1), refusal('PAYLOAD_INVALID'));
  });

  test('is told at most 20 issues, each in at most 200 characters', async (t) => {
    const w = await world(t);
    const many = Array.from({ length: 500 }, (_, i) => ({
      message: 'x'.repeat(1000),
      path: [{ key: `k${i}` }, Symbol('s'), i],
    }));
    const error = await w.bus
      .publish(
        topic(
          't',
          schemaOf(() => ({ issues: many })),
        ),
        1,
      )
      .catch((thrown: unknown) => thrown);
    assert.ok(refusal('PAYLOAD_INVALID', 'and 480 more')(error) && error instanceof BusError);
    assert.equal(error.issues?.length, 20);
    assert.equal(error.issues?.[3]?.path, 'payload.k3[Symbol(s)][3]');
    assert.equal(error.issues?.[3]?.message.length, 200);
    assert.ok(error.message.length < 20 * 420);
  });

  test('in a handler: what does not fit is not staged, and what does is, before publish() returns', async (t) => {
    const w = await world(t);
    const out = topic('out', schemaOf(even));
    const slow = topic('slow', slowly(w));
    const seen: unknown[] = [];
    const errors: unknown[] = [];
    await resolved(
      w.clock,
      w.bus.subscribe('out|slow', ({ payload }) => void seen.push(payload)),
    );
    await resolved(
      w.clock,
      w.bus.subscribe('in', (_, context) => {
        context.publish(out, 1).catch((error: unknown) => errors.push(error));
        void context.publish(out, 2); // nobody waits for it
      }),
    );
    await resolved(
      w.clock,
      w.bus.subscribe('slowly', async (_, context) => {
        await context.publish(slow, 4);
        await context.publish(slow, 5).catch((error: unknown) => errors.push(error));
      }),
    );
    w.bus.emit('in', 0);
    w.bus.emit('slowly', 0);
    await w.clock.advance(3000);
    assert.deepEqual(seen, [2, 4]);
    assert.ok(errors.length === 2 && errors.every((error) => refusal('PAYLOAD_INVALID')(error)));
  });
});

describe('a consumer', () => {
  test('by a topic gets what the schema makes of each payload; the message is otherwise the same', async (t) => {
    const w = await world(t);
    const created = topic('orders.created', zodOrder);
    const seen: Message<z.output<typeof zodOrder>>[] = [];
    const plain: Message[] = [];
    await resolved(
      w.clock,
      w.bus.subscribe(created, (message) => void seen.push(message)),
    );
    await resolved(
      w.clock,
      w.bus.subscribe('orders\\..*', (message) => void plain.push(message)),
    );
    await resolved(w.clock, w.bus.publish(created, good, { key: 'k', headers: { h: '1' }, id: 'mine' }));
    const [message] = seen;
    assert.deepEqual(message?.payload, { ...good, at: new Date(good.at) });
    assert.deepEqual({ ...message?.toJSON(), payload: 0 }, { ...plain[0]?.toJSON(), payload: 0 });
    assert.equal(plain[0]?.payload, good, 'others get what was published');
  });

  for (const where of ['in memory', 'durable', 'durable, its home on another node'] as const) {
    test(`${where}: what does not fit becomes a dead letter at once, by name, with what was published, and its handler is not called`, async () => {
      const w = new DurableWorld();
      await w.start('lead');
      await w.start('leaf', { stored: false });
      const node = where.includes('another') ? 'leaf' : 'lead';
      const seen: unknown[] = [];
      const options = where === 'in memory' ? { name: 'bills' } : { name: 'bills', durable: true };
      await w.until(
        w.bus(node).subscribe(topic('orders', valibotOrder), ({ payload }) => void seen.push(payload.at), options),
      );
      for (const payload of [bad, good, null, good]) await w.until(w.bus('leaf').publish('orders', payload));
      await w.when(() => seen.length === 2);
      const at = new Date(good.at);
      assert.deepEqual(seen, [at, at]);
      await w.when(() => w.seen('lead', 'message.dead').length === 2);
      const [first, second] = await w.until(w.bus('lead').deadLetters.list());
      const name = where === 'in memory' ? 'bills' : 'test/bills';
      assert.deepEqual(
        [first?.subscription, first?.reason, first?.attempts, first?.lastError.name, first?.payload],
        [name, 'invalid', 1, 'SchemaError', bad],
      );
      assert.match(first?.lastError.message ?? '', /payload\.id: .*; payload\.lines\[1\]\["a sku"\]: /);
      assert.equal(second?.payload, null);
      assert.equal((await w.until(w.bus('lead').deadLetters.list({ reason: 'invalid' }))).length, 2);
      assert.equal(w.seen('lead', 'message.retried').length, 0);
      await w.close();
    });
  }

  test('by the option schema, for any pattern; with a topic that has one, or without a handler, it is refused', async (t) => {
    const w = await durable(t);
    const seen: unknown[] = [];
    const schema = schemaOf(even);
    await resolved(
      w.clock,
      w.bus.subscribe('n.*', ({ payload }) => void seen.push(payload), { schema, name: 'evens' }),
    );
    for (const n of [1, 2, 3, 4]) w.bus.emit(`n${n}`, n);
    await w.clock.settle();
    assert.deepEqual(seen, [2, 4]);
    assert.deepEqual(await letters(w.bus), [
      'evens invalid 1 SchemaError: it does not fit its schema: payload: 1 is odd',
      'evens invalid 1 SchemaError: it does not fit its schema: payload: 3 is odd',
    ]);
    for (const [refused, ...texts] of [
      [w.bus.subscribe('t', null, { schema, name: 'x', durable: true }), "'schema' goes only with a handler"],
      [w.bus.subscribe(topic('t', schema), () => {}, { schema: schemaOf(even) }), "topic 't' has a schema"],
      [w.bus.subscribe('t', () => {}, { schema: {} as StandardSchema }), 'not a Standard Schema'],
      [w.bus.mailboxes.add({ name: 'x', pattern: 't', schema } as never), "'schema'"],
    ] as const) {
      await assert.rejects(refused, refusal('OPTION_INVALID', ...texts));
    }
    const only = await resolved(w.clock, w.bus.subscribe(topic('t', schema), null, { name: 'x', durable: true }));
    assert.equal(only.pattern, 't', 'a topic whose messages are only collected looks into none');
  });

  test('an asynchronous validator takes part of the attempt’s time, and the handler is not called after it', async (t) => {
    const w = await world(t);
    const seen: unknown[] = [];
    const times = { timeout: 1500, retry: { attempts: 1 } };
    const wait = (): Promise<void> => new Promise((done) => void w.clock.timer(1000, done));
    for (const [name, handler, schema] of [
      ['quick', () => void seen.push('quick'), slowly(w)],
      ['slow', () => wait().then(() => seen.push('slow')), slowly(w)],
      ['late', () => void seen.push('late'), slowly(w, 2000)],
    ] as const) {
      await resolved(w.clock, w.bus.subscribe('t', handler, { name, schema, ...times }));
    }
    w.bus.emit('t', 2);
    w.bus.emit('t', 3);
    await w.clock.advance(10_000);
    assert.deepEqual(seen, ['quick', 'slow'], 'what slow does late settles nothing');
    assert.deepEqual((await letters(w.bus)).map((letter) => letter.slice(0, letter.indexOf(':'))).sort(), [
      'late attempts 1 BusError',
      'late attempts 1 BusError',
      'quick invalid 1 SchemaError',
      'slow attempts 1 BusError',
      'slow invalid 1 SchemaError',
    ]);
  });

  test('what its validator throws fails the attempt, which is tried again', async (t) => {
    const w = await world(t);
    let calls = 0;
    const seen: unknown[] = [];
    const schema = schemaOf((value) => {
      calls++;
      if (calls === 1) throw new Error('no database');
      if (calls === 2) return Promise.reject(new Error('no database'));
      return { value };
    });
    await resolved(
      w.clock,
      w.bus.subscribe('t', (message, { attempt }) => void seen.push(message.payload, attempt), { schema }),
    );
    w.bus.emit('t', 'x');
    await w.clock.advance(1000);
    assert.deepEqual(seen, ['x', 3]);
  });

  test('that iterates gets only what fits', async (t) => {
    const w = await world(t);
    const consumption = w.bus.consume(topic('t', z.object({ n: z.number().transform(String) })), { name: 'loop' });
    await resolved(w.clock, consumption.ready);
    for (const n of [1, 'x', 2]) w.bus.emit('t', { n });
    const seen: string[] = [];
    for (const _ of [1, 2]) {
      const { value } = await resolved(w.clock, consumption.next());
      seen.push(value.message.payload.n);
      value.ack();
      await w.clock.settle();
    }
    assert.deepEqual(seen, ['1', '2']);
    assert.match((await letters(w.bus)).join(), /^loop invalid 1 SchemaError: .* payload\.n: /);
  });

  test('is a method that is marked with a topic', async (t) => {
    const w = await world(t);
    const seen: unknown[] = [];
    class Billing {
      @subscribe(topic('t', schemaOf(even)))
      bill({ payload }: Message<number>): void {
        seen.push(payload);
      }
    }
    await resolved(w.clock, w.bus.register(new Billing()));
    w.bus.emit('t', 1);
    w.bus.emit('t', 2);
    await w.clock.settle();
    assert.deepEqual(seen, [2]);
    assert.match((await letters(w.bus)).join(), /^Billing\.bill invalid 1 SchemaError: .*1 is odd$/);
  });

  test('is a handler actor with a schema', async (t) => {
    const w = await world(t);
    const seen: unknown[] = [];
    w.bus.handlers.define('biller', () => {
      const own = { total: 0 };
      return {
        schema: z.object({ sum: z.string().transform(Number) }),
        onMessage({ payload }) {
          own.total += payload.sum;
          seen.push(own.total);
        },
        onStop: () => void seen.push('stopped'),
      };
    });
    const placement = await resolved(w.clock, w.bus.spawn('biller', { pattern: 't', name: 'b' }));
    for (const sum of ['1', 2, '3']) w.bus.emit('t', { sum });
    await w.clock.settle();
    assert.deepEqual(seen, [1, 4]);
    assert.match((await letters(w.bus)).join(), /^b\.0 invalid 1 SchemaError: .* payload\.sum: /);
    await resolved(w.clock, placement.stop());
    assert.deepEqual(seen, [1, 4, 'stopped']);
    w.bus.handlers.define('wrong', () => ({ schema: {} as StandardSchema, onMessage() {} }));
    const refused = await outcomeOf(w.clock, w.bus.spawn('wrong', { pattern: 't', restart: false }));
    assert.ok(refused.state === 'rejected' && refusal('UNPLACEABLE', 'not a Standard Schema')(refused.error));
  });
});

describe('a receiver with a schema', () => {
  for (const where of ['lead', 'leaf'] as const) {
    test(`${where === 'lead' ? 'at the home' : 'on another node'}: what does not fit becomes a dead letter, and it goes on waiting`, async () => {
      const w = new DurableWorld();
      await w.start('lead');
      await w.start('leaf', { stored: false });
      const bus = w.bus(where);
      await w.durable('lead', 'work', null, { pattern: 'in' });
      const schema = v.object({ n: v.pipe(v.number(), v.transform(String)) });
      const publish = (n: unknown) => w.until(w.bus('leaf').publish('in', { n }));
      await publish('x');
      await publish(1);
      const first = await w.until(bus.receive('test/work', { timeout: 0, schema }));
      assert.deepEqual(first?.message.payload, { n: '1' });
      first?.ack();
      const waiting = bus.receive('test/work', { timeout: 5000, schema });
      await publish('y');
      await w.clock.advance(100);
      await publish(2);
      const second = await w.until(waiting);
      assert.deepEqual([second?.message.payload, second?.attempt], [{ n: '2' }, 1]);
      second?.ack();
      await publish('z');
      const timed = w.clock.monotonic();
      assert.equal(await w.until(bus.receive('test/work', { timeout: 500, schema })), null);
      const took = w.clock.monotonic() - timed;
      assert.ok(took >= 500 && took < 520, `${took} ms`);
      await publish(3);
      assert.deepEqual((await w.until(bus.front('test/work', { schema })))?.message.payload, { n: '3' });
      assert.deepEqual((await w.until(bus.front('test/work')))?.message.payload, { n: 3 });
      const seen: unknown[] = [];
      assert.equal(
        await w.until(bus.receive('test/work', { timeout: 0, schema }, ({ payload }) => void seen.push(payload))),
        true,
      );
      assert.deepEqual(seen, [{ n: '3' }]);
      await publish('w');
      await assert.rejects(
        w.until(bus.front('test/work', { schema })),
        refusal('PAYLOAD_INVALID', "'in'", 'payload.n'),
      );
      assert.deepEqual(
        (await w.until(w.bus('lead').deadLetters.list())).map(({ payload, reason }) => [payload, reason]),
        [
          [{ n: 'x' }, 'invalid'],
          [{ n: 'y' }, 'invalid'],
          [{ n: 'z' }, 'invalid'],
        ],
      );
      await assert.rejects(bus.receive('test/work', { schema: 1 as never }), refusal('OPTION_INVALID', 'receive()'));
      await assert.rejects(bus.front('test/work', { schema: 1 as never }), refusal('OPTION_INVALID', 'front()'));
      await assert.rejects(bus.front('test/work', { timeout: 1 } as never), refusal('OPTION_INVALID', "'timeout'"));
      await w.close();
    });
  }

  test('that gives up, or whose attempt ends, while its message is checked takes nothing', async (t) => {
    const w = await durable(t);
    await resolved(
      w.clock,
      w.bus.subscribe('in', null, { name: 'work', durable: true, retry: { delay: 10, jitter: 0 } }),
    );
    await resolved(w.clock, w.bus.publish('in', 2));
    const controller = new AbortController();
    const given = w.bus.receive('work', { schema: slowly(w), signal: controller.signal });
    await w.clock.advance(500);
    controller.abort();
    await w.clock.advance(500);
    const outcome = await outcomeOf(w.clock, given);
    assert.ok(outcome.state === 'rejected' && refusal('ABORTED')(outcome.error));
    const attempts: StandardSchema<number>[] = [schemaOf(() => new Promise<never>(() => {})), schemaOf(even)];
    const changing = schemaOf<number>((value) => {
      const [first] = attempts.splice(0, 1);
      return first?.['~standard'].validate(value) ?? even(value);
    });
    const patient = w.bus.receive('work', { schema: changing, attemptTimeout: 2000 });
    await w.clock.advance(1999);
    assert.equal((await outcomeOf(w.clock, patient)).state, 'pending');
    await w.clock.advance(11);
    const delivery = await resolved(w.clock, patient);
    assert.deepEqual([delivery?.message.payload, delivery?.attempt], [2, 2], 'the first attempt has timed out');
    delivery?.ack();
    await w.clock.settle();
    await resolved(w.clock, w.bus.publish('in', 4));
    const front = w.bus.front('work', { schema: schemaOf(async (value) => even(value)) });
    assert.equal((await resolved(w.clock, front))?.message.payload, 4);
    const never = schemaOf(() => deferred<SchemaResult<number>>().promise);
    const looking = assert.rejects(w.bus.front('work', { schema: never }), refusal('TIMEOUT', "'work'", '10000 ms'));
    await w.clock.advance(10_000);
    await looking;
    const hung = w.bus.receive('work', { schema: schemaOf(() => deferred<SchemaResult<number>>().promise) });
    const closed = assert.rejects(hung, refusal('CLOSED'));
    await w.clock.settle();
    await w.close();
    await closed;
  });
});
