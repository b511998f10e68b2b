import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Context } from '../../src/actors/delivery.ts';
import { subscribe } from '../../src/bus/decorators.ts';
import type { Message } from '../../src/core/message.ts';
import { refusal, resolved, world } from '../core/testbed.ts';

interface Order {
  readonly id: number;
}

class Billing {
  readonly seen: string[];
  constructor(seen: string[]) {
    this.seen = seen;
  }

  @subscribe('orders\\..*', { concurrency: 4 })
  async bill(message: Message<Order>, context: Context): Promise<void> {
    this.seen.push(`bill ${message.payload.id} ${context.subscription}/${context.attempt}`);
  }

  @subscribe(/refund/, { name: 'refunds' })
  refund({ payload }: Message<Order>): void {
    this.seen.push(`refund ${payload.id}`);
  }

  unmarked(): void {
    this.seen.push('never');
  }

  @subscribe('audit')
  static audit(this: { name: string }, { topic }: Message): void {
    // biome-ignore lint/complexity/noThisInStatic: whether it is bound is what is tested.
    audited.push(`${this.name} ${topic}`);
  }
}

const audited: string[] = [];

test('register() subscribes every marked method, bound to its instance, in order, named <class>.<method>', async (t) => {
  const { bus, clock } = await world(t);
  const seen: string[] = [];
  const made = await bus.register(new Billing(seen));
  assert.deepEqual(
    made.map(({ name, pattern }) => [name, pattern]),
    [
      ['Billing.bill', 'orders\\..*'],
      ['refunds', '/refund/'],
    ],
  );
  assert.equal((await bus.status()).subscriptions[0]?.concurrency, 4);
  bus.emit('orders.eu', { id: 1 });
  bus.emit('a.refund', { id: 2 });
  bus.emit('audit', {});
  await clock.settle();
  assert.deepEqual(seen, ['bill 1 Billing.bill/1', 'refund 2']);
  assert.deepEqual(audited, []);
});

test('a failed method is tried again like any handler', async (t) => {
  const { bus, clock } = await world(t);
  const attempts: number[] = [];
  class Flaky {
    @subscribe('t')
    work(_message: Message, { attempt }: Context): void {
      attempts.push(attempt);
      if (attempt < 3) throw new Error('no');
    }
  }
  await bus.register(new Flaky());
  bus.emit('t', 1);
  await clock.advance(10_000);
  assert.deepEqual(attempts, [1, 2, 3]);
});

test('static methods are registered with the class', async (t) => {
  const { bus, clock } = await world(t);
  audited.length = 0;
  const made = await bus.register(Billing);
  assert.deepEqual(
    made.map(({ name }) => name),
    ['Billing.audit'],
  );
  bus.emit('audit', {});
  await clock.settle();
  assert.deepEqual(audited, ['Billing audit']);
});

test('several instances are subscribed each for itself, under names of their own', async (t) => {
  const { bus, clock } = await world(t);
  const seen: string[] = [];
  class Worker {
    readonly n: number;
    constructor(n: number) {
      this.n = n;
    }
    @subscribe('t')
    work(): void {
      seen.push(`worker ${this.n}`);
    }
  }
  const names = [];
  for (const n of [1, 2, 3]) names.push(...(await bus.register(new Worker(n))).map(({ name }) => name));
  assert.equal(names[0], 'Worker.work');
  assert.equal(new Set(names).size, 3);
  for (const name of names) assert.match(name, /^Worker\.work/);
  bus.emit('t', 1);
  await clock.settle();
  assert.deepEqual(seen.sort(), ['worker 1', 'worker 2', 'worker 3']);
});

test('a class inherits the marked methods of its base, under its own name', async (t) => {
  const { bus, clock } = await world(t);
  const seen: string[] = [];
  class Base {
    @subscribe('t')
    work(): void {
      seen.push(this.constructor.name);
    }
  }
  class Derived extends Base {
    @subscribe('u')
    more(): void {
      seen.push('more');
    }
  }
  const made = await bus.register(new Derived());
  assert.deepEqual(
    made.map(({ name }) => name),
    ['Derived.work', 'Derived.more'],
  );
  bus.emit('t', 1);
  bus.emit('u', 1);
  await clock.settle();
  assert.deepEqual(seen.sort(), ['Derived', 'more']);
});

test('a private method and one with an odd name get names that are allowed', async (t) => {
  const { bus, clock } = await world(t);
  const seen: string[] = [];
  class Odd {
    @subscribe('t')
    #hidden(): void {
      seen.push('hidden');
    }
    @subscribe('t')
    'größe und mehr'(): void {
      seen.push('odd');
    }
    /** Keeps the private method from being unused. */
    touch(): void {
      this.#hidden();
    }
  }
  const made = await bus.register(new Odd());
  for (const { name } of made) assert.match(name, /^Odd\.[A-Za-z0-9_.-]+$/);
  bus.emit('t', 1);
  await clock.settle();
  assert.deepEqual(seen.sort(), ['hidden', 'odd']);
});

test('a method whose name is a symbol cannot be marked', () => {
  assert.throws(
    () => {
      class Symbolic {
        @subscribe('t')
        [Symbol.for('work')](): void {}
      }
      return new Symbolic();
    },
    refusal('OPTION_INVALID', 'symbol'),
  );
});

for (const [what, pattern, options, code] of [
  ['a pattern is invalid', '(', {}, 'PATTERN_INVALID'],
  ['a name is taken', 't', { name: 'taken' }, 'NAME_TAKEN'],
  ['an option is unknown', 't', { durable: true }, 'OPTION_INVALID'],
] as const) {
  test(`all or none: when ${what}, nothing is left of the others`, async (t) => {
    const { bus, clock } = await world(t);
    await bus.subscribe('other', () => {}, { name: 'taken' });
    class Half {
      @subscribe('t', { name: 'good' })
      good(): void {}
      @subscribe(pattern, options as object)
      bad(): void {}
    }
    await assert.rejects(resolved(clock, bus.register(new Half())), refusal(code));
    assert.deepEqual(
      (await bus.status()).subscriptions.map(({ name }) => name),
      ['taken'],
    );
    assert.deepEqual(bus.explain('t').routes, []);
  });
}
