import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MailboxLimits, Overflow } from '../../src/actors/mailbox-policy.ts';
import { BusError } from '../../src/core/errors.ts';
import type { Message } from '../../src/core/message.ts';
import { DurableWorld } from './durable-world.ts';

// Every policy at its limit, in messages and in bytes, in memory and on disk, from the same node and across a link: what
// was published is what was handled, dropped, refused or waits, as receipts, `emit()`, events and stats tell it.

const total = 120;
const held = 15;
const payload = (n: number): { n: number; fill: string } => ({ n, fill: 'x'.repeat(200) });

type Said = 'yes' | 'refused' | 'unknown';

/** What became of everything that was published, as its publisher knows. */
class Book {
  readonly said: (Said | undefined)[] = Array.from({ length: total }, () => undefined);

  count(said: Said): number {
    return this.said.filter((each) => each === said).length;
  }

  readonly failed = (n: number, error: unknown): void => {
    assert.ok(error instanceof BusError, String(error));
    assert.ok(['MAILBOX_FULL', 'TIMEOUT'].includes(error.code), error.code);
    this.said[n] = error.code === 'MAILBOX_FULL' ? 'refused' : 'unknown';
  };
}

/** Publishes in bursts of four, half of it by `emit()`, much faster than anybody handles it. */
async function flood(w: DurableWorld, from: string, verbs: 'both' | 'publish', timeout: number): Promise<Book> {
  const book = new Book();
  const bus = w.bus(from);
  const under: Promise<unknown>[] = [];
  for (let n = 0; n < total; n++) {
    if (verbs === 'both' && n % 2 === 1) book.said[n] = bus.emit('t', payload(n)) ? 'yes' : 'refused';
    else {
      under.push(
        bus.publish('t', payload(n), { timeout }).then(
          () => {
            book.said[n] = 'yes';
          },
          (error: unknown) => book.failed(n, error),
        ),
      );
    }
    if (n % 4 === 3) await w.clock.advance(2);
  }
  await w.until(Promise.all(under), 120_000);
  return book;
}

/** A consumer that takes ten milliseconds a message, and how full its mailbox was at most. */
async function slow(w: DurableWorld, limits: Partial<MailboxLimits>, durable: boolean) {
  const handled: number[] = [];
  const handler = async ({ payload }: Message): Promise<void> => {
    handled.push((payload as { n: number }).n);
    await new Promise<void>((done) => void w.clock.timer(10, done));
  };
  const options = { name: 'slow', limits, ...(durable ? { durable: true, credit: 1 } : {}) };
  const sub = await w.until(w.bus('lead').subscribe('t', handler, options));
  const most = { messages: 0, bytes: 0 };
  const look = (): void => {
    const { waiting, bytes } = sub.stats();
    most.messages = Math.max(most.messages, waiting);
    most.bytes = Math.max(most.bytes, bytes);
    watch = w.clock.timer(3, look);
  };
  let watch = w.clock.timer(3, look);
  return { sub, handled, most, end: () => watch.cancel() };
}

const told = (w: DurableWorld, node: string, ...reasons: string[]): number =>
  w.seen(node, 'message.dropped').reduce((sum, { count, reason }) => sum + (reasons.includes(reason) ? count : 0), 0);

async function run(from: string, durable: boolean, overflow: Overflow, by: 'messages' | 'bytes'): Promise<void> {
  const w = new DurableWorld();
  await w.start('lead');
  await w.start('leaf', { stored: false });
  const limits = by === 'messages' ? { messages: held, overflow } : { bytes: held * 300, overflow };
  const { sub, handled, most, end } = await slow(w, limits, durable);
  const book = await flood(w, from, 'both', 60_000);
  // What was emitted to another node waits on its way while the mailbox blocks: it comes in as there is room.
  await w.clock.advance(overflow === 'block' ? 1500 : 20);
  sub.pause();
  await w.clock.advance(50);
  const refused = book.count('refused') + told(w, from, 'refused');
  const dropped = told(w, 'lead', 'drop-oldest', 'drop-newest');
  const { waiting, running, ...stats } = sub.stats();
  assert.equal(running, 0);
  assert.equal(stats.handled, handled.length);
  assert.equal(stats.dropped, dropped);
  assert.equal(stats.refused, overflow === 'block' ? stats.refused : refused);
  assert.deepEqual(
    { handled: handled.length, dropped, refused, waiting, sum: handled.length + dropped + refused + waiting },
    { handled: handled.length, dropped, refused, waiting, sum: total },
  );
  if (by === 'messages') assert.ok(most.messages <= held, `${most.messages} waited`);
  else assert.ok(most.bytes <= held * 300, `${most.bytes} bytes waited`);
  assert.ok(overflow === 'block' || waiting > 5, 'it was full');
  sub.resume();
  await w.clock.advance(300);
  end();
  assert.equal(handled.length + dropped + refused, total);
  assert.deepEqual(
    handled,
    [...new Set(handled)].sort((a, b) => a - b),
    'in order, once',
  );
  const last = handled.slice(-5);
  switch (overflow) {
    case 'block':
      assert.equal(dropped, 0);
      assert.equal(book.count('unknown'), 0, 'whoever waits gets in');
      // On the mailbox's own node as many may wait as it holds; elsewhere the outbox is where they wait.
      if (from !== 'lead') assert.equal(refused, 0);
      break;
    case 'reject':
      assert.equal(dropped, 0);
      assert.ok(refused > 0);
      break;
    case 'drop-oldest':
      assert.equal(refused, 0);
      assert.deepEqual(last, [total - 5, total - 4, total - 3, total - 2, total - 1]);
      break;
    case 'drop-newest':
      assert.equal(refused, 0);
      assert.deepEqual(handled.slice(0, held), [...Array(held).keys()]);
      assert.ok((last.at(-1) as number) < total - 1, 'the newest are dropped');
  }
  await w.close();
}

for (const place of ['this node', 'another node'] as const) {
  for (const durable of [false, true]) {
    for (const overflow of ['block', 'reject', 'drop-oldest', 'drop-newest'] as const satisfies readonly Overflow[]) {
      for (const by of ['messages', 'bytes'] as const) {
        const what = `${overflow}, full by ${by}, ${durable ? 'durable' : 'in memory'}, published on ${place}`;
        test(`${what}: handled + dropped + refused + waiting is what was published`, () =>
          run(place === 'this node' ? 'lead' : 'leaf', durable, overflow, by));
      }
    }
  }
}

for (const place of ['this node', 'another node'] as const) {
  for (const durable of [false, true]) {
    const what = `a mailbox that blocks longer than its publishers wait, ${durable ? 'durable' : 'in memory'}, on ${place}`;
    test(`${what}: what has its receipt is handled, what has not may be`, async () => {
      const w = new DurableWorld();
      await w.start('lead');
      await w.start('leaf', { stored: false });
      const { handled, end } = await slow(w, { messages: held, overflow: 'block' }, durable);
      const book = await flood(w, place === 'this node' ? 'lead' : 'leaf', 'publish', 30);
      await w.clock.advance(2000);
      end();
      assert.ok(book.count('unknown') > 0, 'some wait in vain');
      assert.ok(book.count('yes') >= held, `${book.count('yes')} have a receipt`);
      assert.equal(book.count('yes') + book.count('unknown') + book.count('refused'), total);
      assert.equal(new Set(handled).size, handled.length);
      for (const [n, said] of book.said.entries()) {
        if (said === 'yes') assert.ok(handled.includes(n), `${n} has a receipt`);
        if (said === 'refused') assert.ok(!handled.includes(n), `${n} was refused`);
      }
      if (place === 'this node' && !durable) assert.equal(handled.length, book.count('yes'));
      await w.close();
    });
  }
}
