import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Delivery, type DeliveryOwner } from '../../src/actors/delivery.ts';
import { Mailbox } from '../../src/actors/mailbox.ts';
import type { LatestOnly, MailboxLimits, Overflow } from '../../src/actors/mailbox-policy.ts';
import { silentLogger } from '../../src/core/log.ts';
import { Message } from '../../src/core/message.ts';
import { VirtualClock } from '../../src/core/virtual-clock.ts';
import { type Item, MailboxModel } from './mailbox-model.ts';

type Step =
  | { do: 'offer'; key?: string | undefined; topic: string; size: number; ttl: number; delay: number }
  | { do: 'take' }
  | { do: 'settle' | 'putBack'; which: number }
  | { do: 'park'; which: number; delay: number }
  | { do: 'wait'; ms: number };

const which = fc.nat({ max: 20 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('offer' as const),
      key: fc.constantFrom(undefined, undefined, 'a', 'b'),
      topic: fc.constantFrom('x', 'y', 'z'),
      size: fc.integer({ min: 1, max: 400 }),
      ttl: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 60 })),
      delay: fc.oneof(
        { weight: 3, arbitrary: fc.constant(0) },
        { weight: 1, arbitrary: fc.integer({ min: 1, max: 40 }) },
      ),
    }),
  },
  { weight: 3, arbitrary: fc.constant({ do: 'take' as const }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('settle' as const, 'putBack' as const), which }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('park' as const), which, delay: fc.integer({ min: 0, max: 40 }) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 0, max: 30 }) }) },
);

const owner: DeliveryOwner = {
  name: 'sub',
  mailboxId: 'mailbox',
  incarnation: '0-0000000000000000',
  log: silentLogger,
  acked: () => {},
  failed: () => {},
  extended: () => {},
  prepare: () => assert.fail('nothing is staged here'),
};

/** A mailbox and its model side by side. */
class Pair {
  readonly #clock = new VirtualClock();
  readonly #dropped: string[] = [];
  readonly #mailbox: Mailbox;
  readonly #model: MailboxModel;
  readonly #out: { delivery: Delivery; item: Item }[] = [];
  #offered = 0;

  constructor(limits: MailboxLimits, latestOnly: LatestOnly) {
    const dropped = (delivery: Delivery | undefined, reason: string): void => {
      assert.equal(delivery?.state, 'dropped');
      this.#dropped.push(`${delivery?.message.id} ${reason}`);
    };
    this.#mailbox = new Mailbox({ clock: this.#clock, ready: () => {}, dropped }, limits, latestOnly);
    this.#model = new MailboxModel(this.#clock.now(), limits, latestOnly);
  }

  async run(steps: readonly Step[]): Promise<void> {
    for (const each of steps) {
      await this.#step(each);
      this.#compare();
    }
    for (let i = 0; i < 1000 && this.#mailbox.waiting + this.#out.length > 0; i++) {
      this.#take();
      await this.#step({ do: 'settle', which: 0 });
      await this.#step({ do: 'wait', ms: 5 });
      this.#compare();
    }
    assert.equal(this.#mailbox.waiting, 0, 'everything comes out in the end');
    assert.deepEqual(this.#mailbox.close(), []);
    assert.equal(this.#clock.pendingTimers, 0);
  }

  async #step(each: Step): Promise<void> {
    switch (each.do) {
      case 'offer':
        this.#offer(each);
        break;
      case 'take':
        this.#take();
        break;
      case 'wait':
        await this.#clock.advance(each.ms);
        this.#model.advance(each.ms);
        break;
      default:
        this.#finish(each);
    }
  }

  #offer({ key, topic, size, ttl, delay }: Step & { do: 'offer' }): void {
    const id = `m${++this.#offered}`;
    const now = this.#clock.now();
    const message = new Message(topic, undefined, undefined, key, 0, 'here', size, id, 0, undefined, undefined);
    message.expiresAt = ttl === 0 ? 0 : now + ttl;
    message.dueAt = delay === 0 ? 0 : now + delay;
    const { expiresAt, dueAt } = message;
    const item = { id, sequence: this.#offered, key, topic, size, expiresAt, dueAt, arrivedAt: 0 };
    const outcome = this.#mailbox.offer(new Delivery(message, owner, this.#offered, 1, undefined));
    assert.equal(outcome, this.#model.offer(item));
    if (outcome === 'full') assert.equal(this.#mailbox.hasRoom(size, message), false);
  }

  #take(): void {
    const delivery = this.#mailbox.take();
    const item = this.#model.take();
    assert.equal(delivery?.message.id, item?.id);
    if (delivery === undefined || item === undefined) return;
    delivery.begin();
    this.#out.push({ delivery, item });
  }

  #finish(each: Step & { which: number }): void {
    const [pair] = this.#out.splice(each.which % Math.max(1, this.#out.length), 1);
    if (pair === undefined) return;
    const { delivery, item } = pair;
    if (each.do === 'settle') {
      this.#mailbox.settled(delivery.message);
      this.#model.settle(item);
      return;
    }
    const { message, sequence, attempt, arrivedAt } = delivery;
    const next = new Delivery(message, owner, sequence, attempt + 1, undefined);
    next.arrivedAt = arrivedAt;
    if (each.do === 'park') {
      this.#mailbox.park(next, each.delay);
      this.#model.park(item, each.delay);
    } else {
      this.#mailbox.putBack(next);
      this.#model.putBack(item);
    }
  }

  #compare(): void {
    assert.deepEqual(this.#dropped, this.#model.dropped);
    assert.equal(this.#mailbox.waiting, this.#model.waiting);
    assert.equal(this.#mailbox.bytes, this.#model.bytes);
  }
}

for (const overflow of ['block', 'reject', 'drop-oldest', 'drop-newest'] as const satisfies readonly Overflow[]) {
  for (const latestOnly of [false, true, 'topic'] as const) {
    test(`${overflow}, latestOnly ${latestOnly}: the mailbox does what plain lists do`, async () => {
      const age = fc.constantFrom(Number.POSITIVE_INFINITY, 50);
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 80, size: 'max' }), age, (steps, limit) => {
          const limits = { messages: 5, bytes: 900, age: limit, overflow, deadLetters: false };
          return new Pair(limits, latestOnly).run(steps);
        }),
        { numRuns: 150 },
      );
    });
  }
}
