import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Delivery, type DeliveryOwner, failureRecord } from '../../src/actors/delivery.ts';
import { PermanentError } from '../../src/core/errors.ts';
import { deliveryTransitions } from '../../src/core/lifecycle.ts';
import { Message } from '../../src/core/message.ts';
import { LogBook, refusal } from '../core/testbed.ts';

/** A delivery and what its owner was told. */
function bed() {
  const told: string[] = [];
  const log = new LogBook();
  const owner: DeliveryOwner = {
    name: 'sub',
    mailboxId: 'box',
    incarnation: '0-00',
    log,
    acked: () => told.push('acked'),
    failed: (_delivery, error) => told.push(`failed: ${String(error)}`),
    extended: (_delivery, ms) => told.push(`extended by ${ms}`),
    prepare: (topic, payload) => message(topic, payload),
  };
  const delivery = new Delivery(message('t', 1), owner, 7, 2, undefined);
  return { told, log, delivery };
}

function message(topic: string, payload: unknown): Message {
  return new Message(topic, payload, undefined, undefined, 0, 'here', 100, 'origin', 3, undefined, undefined);
}

test('it settles exactly once, and each call tells whether it was the first', () => {
  for (const [first, state] of [
    [(d: Delivery) => d.ack(), 'acked'],
    [(d: Delivery) => d.nack(new Error('no')), 'nacked'],
    [(d: Delivery) => d.nack(new PermanentError('no')), 'termed'],
    [(d: Delivery) => d.cut('timedOut'), 'timedOut'],
    [(d: Delivery) => d.cut('returned'), 'returned'],
  ] as const) {
    const { delivery, told } = bed();
    delivery.begin();
    assert.equal(first(delivery), true);
    assert.equal(delivery.state, state);
    const before = told.length;
    for (const again of [
      () => delivery.ack(),
      () => delivery.nack(new Error('again')),
      () => delivery.cut('timedOut'),
      () => delivery.cut('returned'),
      () => delivery.confirmStaged(),
    ]) {
      assert.equal(again(), false);
    }
    delivery.term();
    delivery.extend(100);
    assert.equal(told.length, before, 'its owner hears of the first one only');
    assert.equal(delivery.state, state);
  }
});

test('it moves as its table says, and in every way that the table names', async () => {
  const seen: Record<string, Set<string>> = {};
  const actions: ((delivery: Delivery) => unknown)[] = [
    (delivery) => delivery.state === 'waiting' && delivery.begin(),
    (delivery) => delivery.state === 'waiting' && delivery.drop(),
    (delivery) => delivery.ack(),
    (delivery) => delivery.nack(new Error('no')),
    (delivery) => delivery.term(),
    (delivery) => delivery.confirmStaged(),
    (delivery) => delivery.refuseStaged(new Error('no')),
    (delivery) => delivery.cut('timedOut'),
    (delivery) => delivery.cut('returned'),
  ];
  for (const staged of [false, true]) {
    for (const a of actions) {
      for (const b of actions) {
        for (const c of actions) {
          const { delivery } = bed();
          for (const action of [a, b, c]) {
            const before = delivery.state;
            await action(delivery);
            if (staged && before === 'waiting' && delivery.state === 'running') await delivery.publish('out', 1);
            if (delivery.state === before) continue;
            seen[before] ??= new Set();
            seen[before].add(delivery.state);
          }
        }
      }
    }
  }
  const table = Object.entries(deliveryTransitions).filter(([, next]) => next.length > 0);
  assert.deepEqual(
    Object.fromEntries(Object.entries(seen).map(([state, next]) => [state, [...next].sort()])),
    Object.fromEntries(table.map(([state, next]) => [state, [...next].sort()])),
  );
});

test('before it runs, nobody can settle it', () => {
  const { delivery, told } = bed();
  assert.equal(delivery.state, 'waiting');
  assert.equal(delivery.ack(), false);
  assert.equal(delivery.nack(new Error('no')), false);
  delivery.drop();
  assert.equal(delivery.state, 'dropped');
  assert.equal(delivery.ack(), false);
  assert.deepEqual(told, []);
});

test('with staged messages it is acknowledged only when they have their receipts', async () => {
  const { delivery, told } = bed();
  delivery.begin();
  await delivery.publish('out', 1);
  assert.equal(delivery.ack(), true);
  assert.notEqual(delivery.state, 'acked');
  assert.deepEqual(told, ['acked'], 'the owner is told to publish them');
  assert.equal(delivery.staged?.length, 1);
  assert.equal(delivery.confirmStaged(), true);
  assert.equal(delivery.state, 'acked');
});

test('a second ack() while the receipts are awaited is not the first', async () => {
  const { delivery, told } = bed();
  delivery.begin();
  await delivery.publish('out', 1);
  delivery.ack();
  assert.equal(delivery.ack(), false);
  assert.deepEqual(told, ['acked']);
});

test('its token names the mailbox, the incarnation, the place and the attempt', () => {
  assert.deepEqual(bed().delivery.token, { mailbox: 'box', incarnation: '0-00', sequence: 7, attempt: 2 });
  assert.equal(bed().delivery.subscription, 'sub');
});

test('its logger bears the id, the topic and the attempt', () => {
  const { delivery, log } = bed();
  delivery.log.info({ more: 1 }, 'said');
  assert.deepEqual(log.lines, [
    { level: 'info', fields: { message: 'origin.3', topic: 't', attempt: 2, more: 1 }, text: 'said' },
  ]);
});

test('one signal per attempt, aborted with the reason', () => {
  for (const [state, code] of [
    ['timedOut', 'TIMEOUT'],
    ['returned', 'ABORTED'],
  ] as const) {
    for (const early of [true, false]) {
      const { delivery } = bed();
      delivery.begin();
      if (early) assert.equal(delivery.signal.aborted, false);
      delivery.cut(state);
      assert.equal(delivery.signal, delivery.signal);
      assert.equal(delivery.signal.aborted, true);
      refusal(code, 'origin.3')(delivery.signal.reason);
    }
  }
  const { delivery } = bed();
  delivery.begin();
  delivery.ack();
  assert.equal(delivery.signal.aborted, false, 'a success aborts nothing');
});

test('a failure is kept as name, message and time: texts, whatever was thrown', () => {
  assert.deepEqual(failureRecord(new RangeError('far'), 5), { name: 'RangeError', message: 'far', at: 5 });
  assert.deepEqual(failureRecord('text', 5), { name: 'Error', message: 'text', at: 5 });
  assert.deepEqual(failureRecord(Symbol('s'), 5), { name: 'Error', message: 'thrown: Symbol(s)', at: 5 });
  const odd = failureRecord(Object.assign(new Error('x'), { name: undefined, message: { a: 1 } }), 5);
  assert.deepEqual([typeof odd.name, typeof odd.message], ['string', 'string']);
});
