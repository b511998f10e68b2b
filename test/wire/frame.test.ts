import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BusError } from '../../src/core/errors.ts';
import {
  type ControlFrame,
  decodeFrame,
  encodeFrame,
  frameType,
  protocolVersion,
  typeOf,
} from '../../src/wire/frame.ts';

const subscription = {
  id: '0123456789abcdef',
  name: 'orders',
  pattern: { kind: 'string', source: 'orders\\..*', flags: '' },
  retry: { attempts: 5, delay: 100, factor: 2, maxDelay: 30_000, jitter: 0.2 },
};
const durable = {
  name: 'billing/orders',
  id: '0123456789abcdef',
  version: 3,
  home: 'n',
  removed: false,
  pattern: subscription.pattern,
  policy: {
    retry: subscription.retry,
    outage: { failures: 10, messages: 3, grace: 300_000 },
    limits: { messages: 10, bytes: 1000, age: 5, overflow: 'reject', deadLetters: true },
    latestOnly: 'topic',
    filters: [{ maxSize: 5 }, { minPeriod: 7 }],
    durability: 'fsync',
  },
};
const hello = {
  protocol: [1, 1] as const,
  cluster: 'c',
  node: 'n',
  incarnation: '0-0123456789abcdef',
  epoch: { term: 0, start: 1 },
  maxFrame: 8_388_608,
  nonce: new Uint8Array(16),
};
const epoch = { term: 0, start: 5 };

/** One frame of each type that there is. */
const frames: { [T in ControlFrame['type']]: ControlFrame & { type: T } } = {
  hello: { type: 'hello', ...hello },
  challenge: { type: 'challenge', ...hello, proof: new Uint8Array(32) },
  proof: { type: 'proof', proof: new Uint8Array(32) },
  welcome: { type: 'welcome', epoch },
  reject: { type: 'reject', code: 'NAME_TAKEN', detail: 'why' },
  ping: { type: 'ping', version: 3 },
  leave: { type: 'leave' },
  join: { type: 'join', version: 1, more: false, subscriptions: [subscription], durables: [durable] },
  part: { type: 'part', version: 2, add: [subscription], remove: ['x'], durables: [durable] },
  synced: { type: 'synced', version: 2 },
  snapshot: {
    type: 'snapshot',
    epoch,
    version: 4,
    settled: true,
    members: [{ node: 'n', incarnation: 'i', state: 'alive', link: 1, subscriptions: [subscription] }],
  },
  delta: {
    type: 'delta',
    epoch,
    from: 4,
    version: 5,
    settled: true,
    changes: [{ node: 'n', incarnation: 'i', state: 'down', link: 0, add: [subscription], remove: ['y'] }],
    durables: [durable],
  },
  applied: { type: 'applied', version: 5 },
  resync: { type: 'resync' },
  open: { type: 'open', stream: 1, target: 't', incarnation: 'i', mailbox: 'm', source: 's', origin: 'o', from: 1 },
  shut: { type: 'shut', stream: 1 },
  request: { type: 'request', id: 1, source: 's', target: 't', method: 'status', params: { a: 1 } },
  reply: { type: 'reply', id: 1, target: 's', value: { b: 2 } },
};

test('every control frame comes back as it was sent', () => {
  for (const frame of Object.values(frames)) {
    const bytes = encodeFrame(frame);
    assert.equal(new DataView(bytes.buffer, bytes.byteOffset).getUint32(0), bytes.length - 4);
    assert.equal(typeOf(bytes.subarray(4)), frameType[frame.type]);
    assert.deepEqual(decodeFrame(bytes.subarray(4)), frame);
  }
});

test('a frame of another version, of no known type, or too short is refused', () => {
  const body = encodeFrame(frames.ping).slice(4);
  body[0] = protocolVersion + 1;
  assert.throws(() => decodeFrame(body), { code: 'PROTOCOL_ERROR' });
  body[0] = protocolVersion;
  for (const type of [0, 99, frameType.data, frameType.flow]) {
    body[1] = type;
    assert.throws(() => decodeFrame(body), { code: 'PROTOCOL_ERROR' });
  }
  assert.throws(() => decodeFrame(body.subarray(0, 1)), { code: 'PROTOCOL_ERROR' });
});

test('members that are not known are let through: later versions add some', () => {
  const later = { ...frames.ping, capabilities: { writer: true } } as ControlFrame;
  assert.deepEqual(decodeFrame(encodeFrame(later).subarray(4)), later);
});

test('a frame whose members are missing or of the wrong kind is refused, naming the member', () => {
  for (const frame of Object.values(frames)) {
    const { type, ...fields } = frame;
    for (const name of Object.keys(fields)) {
      if (type === 'request' && name === 'params') continue; // may be anything
      if (type === 'reply' && name === 'value') continue;
      for (const wrong of [undefined, { odd: Number.NaN }]) {
        const broken = encodeFrame({ ...frame, [name]: wrong } as ControlFrame).subarray(4);
        assert.throws(
          () => decodeFrame(broken),
          (error: unknown) =>
            error instanceof BusError && error.code === 'PROTOCOL_ERROR' && error.message.includes(`'${name}'`),
          `${type}.${name} = ${String(wrong)}`,
        );
      }
    }
  }
});

test('changed bytes never bring anything but a frame or a PROTOCOL_ERROR', () => {
  const bodies = Object.values(frames).map((frame) => encodeFrame(frame).slice(4));
  fc.assert(
    fc.property(
      fc.nat(bodies.length - 1),
      fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 4 }),
      (which, changes) => {
        const body = (bodies[which] as Uint8Array).slice();
        for (const [at, value] of changes) if (at < body.length) body[at] = value;
        try {
          decodeFrame(body);
        } catch (error) {
          assert.ok(error instanceof BusError && error.code === 'PROTOCOL_ERROR', String(error));
        }
      },
    ),
    { numRuns: 3000 },
  );
});

test('a durable subscription says what it does in an outage, says that it does nothing, or is of a build that says nothing', () => {
  const { outage, ...earlier } = durable.policy;
  const part = (policy: object) =>
    encodeFrame({ ...frames.part, durables: [{ ...durable, policy }] } as ControlFrame).subarray(4);
  for (const policy of [{ ...earlier, outage }, { ...earlier, outage: false }, earlier]) {
    const decoded = decodeFrame(part(policy)) as typeof frames.part;
    assert.deepEqual(decoded.durables[0]?.policy, policy);
  }
  for (const wrong of [true, null, 3, {}, { ...outage, grace: -1 }, { ...outage, failures: '10' }]) {
    assert.throws(() => decodeFrame(part({ ...earlier, outage: wrong })), { code: 'PROTOCOL_ERROR' });
  }
});
