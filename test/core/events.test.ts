import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type BusEvent, EventHub, eventTypes } from '../../src/core/events.ts';
import { silentLogger } from '../../src/core/log.ts';
import { LogBook } from './testbed.ts';

const joined: BusEvent = { type: 'node.joined', node: 'there', incarnation: '0-00' };

test('listeners of the type come first, in the order of registration, then those of all', () => {
  const hub = new EventHub(silentLogger);
  const heard: string[] = [];
  hub.on('*', () => heard.push('all'));
  hub.on('node.joined', () => heard.push('one'));
  hub.on('node.joined', () => heard.push('two'));
  hub.on('node.left', () => heard.push('never'));
  hub.emit(joined);
  assert.deepEqual(heard, ['one', 'two', 'all']);
});

test('an event is logged under its type, its members apart from those of the logger', () => {
  const log = new LogBook([], { node: 'here' });
  const hub = new EventHub(log);
  hub.emit(joined);
  const error = new Error('no');
  hub.emit({ type: 'message.dead', subscription: 's', id: 'm', topic: 't', attempts: 5, reason: 'attempts', error });
  assert.deepEqual(log.lines[0], {
    level: 'info',
    text: 'node.joined',
    fields: { node: 'here', about: { node: 'there', incarnation: '0-00' } },
  });
  assert.equal(log.lines[1]?.level, 'warn');
  assert.equal(log.lines[1]?.fields.err, error);
});

test('a listener that throws is logged, and the others are called', () => {
  const log = new LogBook();
  const hub = new EventHub(log);
  const heard: string[] = [];
  hub.on('node.joined', () => {
    throw new Error('bad listener');
  });
  hub.on('node.joined', () => heard.push('second'));
  hub.emit(joined);
  assert.deepEqual(heard, ['second']);
  assert.equal(log.lines.at(-1)?.level, 'error');
});

test('every event has a type, and the list of types cannot be changed', () => {
  assert.equal(new Set(eventTypes).size, eventTypes.length);
  assert.ok(Object.isFrozen(eventTypes));
  for (const type of ['node.suspect', 'leader.lost', 'subscription.quarantined', 'message.dropped', 'link.slow']) {
    assert.ok((eventTypes as readonly string[]).includes(type), type);
  }
});

test('a logger that says nothing has children that say nothing', () => {
  assert.equal(silentLogger.child({ a: 1 }), silentLogger);
  for (const level of ['debug', 'info', 'warn', 'error'] as const) silentLogger[level]({}, 'nothing');
});
