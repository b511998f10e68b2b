import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BusEvent } from '../../src/core/events.ts';
import { resolved, world } from '../core/testbed.ts';

test('a listener hears the events of its type, and "*" hears all, until it is taken off', async (t) => {
  const { bus, clock } = await world(t);
  const one: BusEvent[] = [];
  const all: BusEvent[] = [];
  const offOne = bus.on('subscription.added', (event) => one.push(event));
  const offAll = bus.on('*', (event) => all.push(event));
  const sub = await bus.subscribe('t', () => {}, { name: 'mine' });
  await resolved(clock, sub.close());
  assert.deepEqual(one, [{ type: 'subscription.added', subscription: 'mine', node: 'here', pattern: 't' }]);
  assert.deepEqual(
    all.map(({ type }) => type),
    ['subscription.added', 'subscription.removed'],
  );
  offOne();
  offAll();
  offOne();
  await bus.subscribe('t', () => {});
  assert.equal(one.length, 1);
  assert.equal(all.length, 2);
});

test('the same function twice is called twice, and each registration ends by itself', async (t) => {
  const { bus } = await world(t);
  let calls = 0;
  const listener = (): void => void calls++;
  const off = bus.on('subscription.added', listener);
  bus.on('subscription.added', listener);
  await bus.subscribe('t', () => {});
  assert.equal(calls, 2);
  off();
  await bus.subscribe('t', () => {});
  assert.equal(calls, 3);
});

test('a listener that throws is logged and stops nobody: not the others, not the message', async (t) => {
  const { bus, clock, log } = await world(t);
  const heard: string[] = [];
  bus.on('message.retried', () => {
    throw new Error('bad listener');
  });
  bus.on('message.retried', ({ attempt }) => heard.push(`one ${attempt}`));
  bus.on('*', ({ type }) => heard.push(type));
  const sub = await bus.subscribe('t', (_message, { attempt }) => {
    if (attempt === 1) throw new Error('no');
  });
  bus.emit('t', 1);
  await clock.advance(1000);
  assert.equal(sub.stats().handled, 1);
  assert.deepEqual(heard, ['subscription.added', 'one 1', 'message.retried']);
  const line = log.lines.find(({ text }) => text === 'an event listener threw');
  assert.equal(line?.level, 'error');
  assert.equal(line?.fields.event, 'message.retried');
  assert.match(String(line?.fields.err), /bad listener/);
});

test('a listener that rejects is logged and stops nobody', async (t) => {
  const { bus, clock, log } = await world(t);
  const fails = (): Promise<void> => Promise.reject(new Error('bad listener'));
  bus.on('subscription.added', fails);
  await bus.subscribe('t', () => {});
  await clock.settle();
  assert.ok(log.lines.some(({ level, fields }) => level === 'error' && /bad listener/.test(String(fields.err))));
});

test('a listener that is added or taken off by another one does not disturb the round', async (t) => {
  const { bus } = await world(t);
  const heard: string[] = [];
  const off = bus.on('subscription.added', () => {
    heard.push('first');
    off();
    bus.on('subscription.added', () => heard.push('late'));
  });
  bus.on('subscription.added', () => heard.push('second'));
  await bus.subscribe('t', () => {});
  assert.deepEqual(heard, ['first', 'second']);
  await bus.subscribe('t', () => {});
  assert.deepEqual(heard, ['first', 'second', 'second', 'late']);
});

test('a listener may use the bus', async (t) => {
  const { bus, clock } = await world(t);
  const alarms: unknown[] = [];
  await bus.subscribe('alarm', ({ payload }) => void alarms.push(payload));
  bus.on('message.dead', ({ id }) => void bus.emit('alarm', id));
  await bus.subscribe('t', () => Promise.reject(new Error('no')), { retry: { attempts: 1 } });
  bus.emit('t', 1, { id: 'mine' });
  await clock.settle();
  assert.deepEqual(alarms, ['mine']);
});

test('every event is logged too: losses as warnings, the usual below', async (t) => {
  const { bus, clock, log } = await world(t);
  await bus.subscribe('t', () => Promise.reject(new Error('no')), { name: 'mine', retry: { attempts: 2 } });
  bus.emit('t', 1, { id: 'm1' });
  await clock.advance(1000);
  const levels = log.lines.map(({ level, text, fields }) => [level, text, fields.node]);
  assert.deepEqual(levels, [
    ['debug', 'subscription.added', 'here'],
    ['debug', 'message.retried', 'here'],
    ['warn', 'message.dead', 'here'],
  ]);
  const dead = log.lines.at(-1)?.fields as { about: Record<string, unknown>; err: Error };
  assert.equal(dead.about.subscription, 'mine');
  assert.equal(dead.about.id, 'm1');
  assert.equal(dead.about.attempts, 2);
  assert.equal(dead.err.message, 'no');
});
