import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Bus, type Context, type Message, type PayloadFor, type StandardSchema, subscribe, topic } from 'mailvan';
import * as v from 'valibot';
import { z } from 'zod';

// What the compiler makes of typed topics: `npm run check` is the test, and every line that it must refuse says so.

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
/** Compiles only when two types are one. */
function same<A, B>(_: Same<A, B>): void {}

const created = topic(
  'orders.created',
  z.object({ id: z.number(), at: z.string().transform((text) => new Date(text)) }),
);
const paid = topic('orders.paid', v.object({ id: v.number(), sum: v.optional(v.number(), 0) }));
interface Given {
  id: number;
  at: string;
}
interface Made {
  id: number;
  at: Date;
}

class Billing {
  @subscribe(created)
  bill({ payload }: Message<Made>, _context: Context): void {
    same<typeof payload, Made>(true);
  }

  @subscribe('orders\\..*')
  any(_message: Message<{ whatever: number }>): void {}

  // @ts-expect-error: the schema makes a Date
  @subscribe(created)
  wrong(_message: Message<Given>): void {}

  // @ts-expect-error: so does one that is an option
  @subscribe('orders\\..*', { schema: created.schema })
  wrongAsWell(_message: Message<Given>): void {}
}

/** Never called. */
export async function compiled(bus: Bus): Promise<void> {
  same<PayloadFor<typeof created>, Given>(true);
  same<PayloadFor<typeof paid>, { id: number; sum?: number | undefined }>(true);
  same<PayloadFor<string>, unknown>(true);

  await bus.publish(created, { id: 1, at: 'now' }, { key: 'k' });
  bus.emit(paid, { id: 1 });
  await bus.publish('anything', new Date());
  // @ts-expect-error: the schema takes a text
  await bus.publish(created, { id: 1, at: new Date() });
  // @ts-expect-error: a member is missing
  bus.emit(created, { id: 1 });
  await bus.publishMany([
    { topic: created, payload: { id: 1, at: 'now' } },
    { topic: paid, payload: { id: 1, sum: 2 }, key: 'k' },
    { topic: 'plain', payload: 3 },
  ]);
  await bus.publishMany([
    { topic: paid, payload: { id: 1 } },
    // @ts-expect-error: each payload belongs to its own topic
    { topic: created, payload: { id: 1 } },
  ]);
  await bus.publishMany(['a', 'b'].map((name) => ({ topic: name, payload: 1 })));

  await bus.subscribe(created, async (message, context) => {
    same<typeof message, Message<Made>>(true);
    await context.publish(paid, { id: message.payload.id });
    // @ts-expect-error: staged messages are checked alike
    await context.publish(paid, { id: 'one' });
  });
  await bus.subscribe(created, null, { name: 'orders', durable: true });
  await bus.subscribe('orders\\..*', ({ payload }) => same<typeof payload, unknown>(true));
  await bus.subscribe<Given>('orders\\..*', ({ payload }) => same<typeof payload, Given>(true));
  await bus.subscribe(/^orders/, ({ payload }) => same<typeof payload, Made>(true), { schema: created.schema });
  // @ts-expect-error: the handler takes another payload than the schema makes
  await bus.subscribe(created, (_: Message<Given>) => {});

  for await (const { message } of bus.consume(created)) same<typeof message, Message<Made>>(true);
  for await (const { message } of bus.consume('t', { schema: v.number() })) same<typeof message, Message<number>>(true);
  for await (const { message } of bus.consume<string>('t')) same<typeof message, Message<string>>(true);
  const delivery = await bus.receive('orders', { timeout: 0, schema: created.schema });
  if (delivery !== null) same<typeof delivery.message, Message<Made>>(true);
  await bus.receive('orders', { schema: z.string() }, ({ payload }) => same<typeof payload, string>(true));
  const untyped = await bus.receive<Given>('orders');
  if (untyped !== null) same<typeof untyped.message, Message<Given>>(true);
  const front = await bus.front('orders', { schema: z.string() });
  if (front !== null) same<typeof front.message, Message<string>>(true);

  bus.handlers.define('biller', () => ({
    schema: created.schema,
    onMessage: ({ payload }) => same<typeof payload, Made>(true),
  }));
  bus.handlers.define('any', () => ({ onMessage: ({ payload }) => same<typeof payload, unknown>(true) }));

  // @ts-expect-error: no validator
  topic('t', { parse: (value: unknown) => value });
}

test('validators of zod and valibot are Standard Schemas to the compiler', () => {
  const schemas: StandardSchema[] = [z.string(), v.string()];
  assert.deepEqual(
    schemas.map((schema) => schema['~standard'].vendor),
    ['zod', 'valibot'],
  );
  assert.equal(typeof Billing, 'function');
});
