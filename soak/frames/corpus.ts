import { Message } from '../../src/core/message.ts';
import { encodePayload } from '../../src/wire/codec.ts';
import { FlowWriter } from '../../src/wire/flow.ts';
import { type ControlFrame, encodeFrame } from '../../src/wire/frame.ts';
import { DataWriter, Parcel } from '../../src/wire/pack.ts';

/** Who and what a frame may be about, so that it reaches what it is meant for. */
export interface World {
  /** The node that gets the frames, and one that it passes them on to; each with a mailbox in memory. */
  readonly near: { readonly node: string; readonly incarnation: string; readonly mailbox: string };
  readonly far: { readonly node: string; readonly incarnation: string; readonly mailbox: string };
  /** A durable mailbox of the near one. */
  readonly durable: string;
  /** Who sends. */
  readonly own: string;
}

const retry = { attempts: 5, delay: 100, factor: 2, maxDelay: 30_000, jitter: 0.2 };
const pattern = { kind: 'string', source: 'orders\\..*', flags: '' };
const epoch = { term: 0, start: 1 };
const payloads: unknown[] = [
  null,
  true,
  -1,
  3.5,
  12345678901234n,
  'text',
  new Uint8Array(40),
  new Date(1_700_000_000_000),
  [1, [2, [3, ['x']]]],
  { a: 1, b: { c: [true, null], d: 'e' }, f: new Uint8Array(3) },
  Array.from({ length: 300 }, (_, i) => ({ i, text: `number ${i}` })),
];

/** The body of every kind of control frame but those of a handshake, valid. */
export function controls({ near, far, durable, own }: World): ControlFrame[] {
  const subscription = { id: 'aaaaaaaaaaaaaaaa', name: 'sub', pattern, retry };
  const policy = {
    retry,
    limits: { messages: 1000, bytes: 100_000, age: 60_000, overflow: 'reject', deadLetters: false },
    latestOnly: false,
    filters: [{ maxSize: 100 }],
    durability: 'os',
  };
  const entry = { id: 'bbbbbbbbbbbbbbbb', version: 1, home: own, removed: false, pattern, policy };
  const placement = {
    name: 'place',
    id: 'cccccccccccccccc',
    version: 1,
    removed: false,
    generation: 1,
    settings: { version: 1, value: encodePayload({ a: 1 }) },
    assigned: [{ instance: 0, node: own, incarnation: '0-aa', generation: 1, state: 'starting' as const, settings: 0 }],
    spec: {
      kind: 'writer',
      pattern,
      where: { slots: { gte: 1 }, region: 'eu' },
      instances: 1,
      spread: 'node',
      singleton: false,
      failover: 'auto' as const,
      restart: true,
      options: { concurrency: 1 },
      args: encodePayload([1, 2]),
    },
  };
  const about = { capabilities: { writer: true, slots: 4, region: 'eu' }, kinds: ['writer'], leaving: false };
  const report = {
    id: 'cccccccccccccccc',
    instance: 0,
    generation: 1,
    state: 'running' as const,
    settings: 1,
    error: 'none',
  };
  const member = { node: own, incarnation: '0-aa', link: 1, address: 'tcp://10.0.0.9:1900' };
  const stream = { source: own, origin: '00000000000000aa', from: 1 };
  const requests: [string, unknown][] = [
    ['status', {}],
    ['unsubscribe', { name: 'nothing', timeout: 10 }],
    ['durable.reserve', { name: 'default/x' }],
    ['durable.declare', { name: 'default/x', pattern, policy, given: ['limits'], update: false }],
    ['durable.remove', { name: 'default/x', discard: true }],
    ['durable.lost', { name: 'default/x' }],
    ['mailbox.drain', { name: 'default/x', timeout: 10 }],
    ['mailbox.front', { name: 'default/x' }],
    ['mailbox.supersede', { name: 'default/x' }],
    ['mailbox.list', {}],
    ['mailbox.stats', { name: 'default/x' }],
    ['mailbox.peek', { name: 'default/x', limit: 5 }],
    ['consumer.attach', { mailbox: durable, consumer: 'c1', credit: 5, newest: false, timeout: 50, from: 1, busy: [] }],
    ['consumer.credit', { consumer: 'c1', credit: 3, newest: true }],
    ['consumer.exhausted', { consumer: 'c1', credit: 3, newest: false }],
    ['consumer.settle', { consumer: 'c1', number: 1, outcome: 'error', error: { name: 'Error', message: 'no' } }],
    [
      'consumer.settle',
      {
        consumer: 'c1',
        number: 2,
        outcome: 'ack',
        staged: [
          { topic: 'a', payload: encodePayload(1), headers: { a: 'b' }, id: 'o', number: 1, publishedAt: 1, t: 5 },
        ],
      },
    ],
    ['consumer.detach', { consumer: 'c1' }],
    ['dlq.list', { subscription: 'default/x', since: 1 }],
    ['dlq.groups', {}],
    ['dlq.get', { id: '1' }],
    ['dlq.replay', { ids: ['1'] }],
    ['dlq.edit', { id: '1', changes: { payload: 1 } }],
    ['placement.nodes', {}],
    ['placement.explain', { name: 'place', spec: placement.spec }],
    ['placement.spawn', { name: 'place', id: 'cccccccccccccccc', spec: placement.spec, pending: true, timeout: 5 }],
    ['placement.tell', { name: 'place', value: encodePayload(1), timeout: 5 }],
    ['placement.stop', { name: 'place', timeout: 5 }],
    ['placement.rebalance', { timeout: 5 }],
    ['nothing.of.the.kind', [1, 2, { a: null }]],
  ];
  return [
    { type: 'ping', version: 3 },
    {
      type: 'join',
      version: 1,
      more: false,
      subscriptions: [subscription],
      durables: [{ ...entry, name: 'default/kept' }],
      placements: [placement],
      about,
      instances: [report],
    },
    {
      type: 'part',
      version: 2,
      add: [subscription],
      remove: ['aaaaaaaaaaaaaaaa'],
      durables: [],
      about,
      instances: [report],
    },
    { type: 'synced', version: 2 },
    {
      type: 'snapshot',
      epoch,
      version: 1,
      settled: true,
      members: [{ ...member, state: 'alive', subscriptions: [subscription] }],
    },
    {
      type: 'delta',
      epoch,
      from: 1,
      version: 2,
      settled: true,
      changes: [{ ...member, state: 'suspect', add: [subscription], remove: [] }],
      durables: [{ ...entry, name: 'default/kept' }],
      placements: [placement],
    },
    { type: 'applied', version: 2 },
    { type: 'resync' },
    { type: 'open', stream: 1, target: near.node, incarnation: near.incarnation, mailbox: near.mailbox, ...stream },
    {
      type: 'open',
      stream: 2,
      target: near.node,
      incarnation: '',
      mailbox: durable,
      ...stream,
      kept: true,
      lasting: true,
    },
    { type: 'open', stream: 3, target: far.node, incarnation: far.incarnation, mailbox: far.mailbox, ...stream },
    {
      type: 'open',
      stream: 4,
      target: far.node,
      incarnation: far.incarnation,
      mailbox: durable,
      ...stream,
      consumer: 'c2',
    },
    { type: 'shut', stream: 1 },
    ...requests.flatMap(([method, params], i): ControlFrame[] => [
      { type: 'request', id: i + 1, source: own, target: near.node, method, params },
      { type: 'request', id: i + 1, source: own, target: far.node, method, params },
    ]),
    { type: 'reply', id: 1, target: near.node, value: { a: 1 } },
    { type: 'reply', id: 2, target: far.node, error: { code: 'TIMEOUT', message: 'late', reasons: { a: 'b' } } },
    { type: 'leave' },
  ];
}

/** The frames of a handshake, valid but for their proofs. */
export function greetings(): ControlFrame[] {
  const hello = {
    protocol: [1, 2] as const,
    cluster: 'default',
    node: 'evil',
    incarnation: '0-aa',
    epoch,
    maxFrame: 8_388_608,
    nonce: new Uint8Array(16),
    address: 'tcp://10.0.0.9:1900',
    leader: 'tcp://10.0.0.1:1900',
  };
  return [
    { type: 'hello', ...hello },
    { type: 'challenge', ...hello, proof: new Uint8Array(32) },
    { type: 'proof', proof: new Uint8Array(32) },
    { type: 'welcome', epoch },
    { type: 'reject', code: 'HANDSHAKE_REFUSED', detail: 'no', leader: 'tcp://10.0.0.1:1900' },
  ];
}

/** Bodies of data frames and of flow frames, valid. */
export function packed(): Uint8Array[] {
  const bodies: Uint8Array[] = [];
  for (const stream of [1, 2, 3, 4]) {
    const data = new DataWriter();
    payloads.forEach((payload, i) => {
      const message = new Message(
        `orders.${i % 3}`,
        payload,
        i % 4 === 0 ? { trace: 'x' } : undefined,
        i % 3 === 0 ? `key-${i}` : undefined,
        1_700_000_000_000,
        'evil',
        0,
        i % 5 === 0 ? 'an id of its own' : '00000000000000aa',
        i % 5 === 0 ? 0 : i + 1,
        undefined,
        undefined,
      );
      if (i === 2) message.expiresAt = 1_700_000_100_000;
      data.add(stream, i + 1, i === 5 ? undefined : Parcel.of(message, '00000000000000aa'), stream === 4 ? 1 : 0);
    });
    bodies.push(data.take().subarray(4));
  }
  const flows = new FlowWriter();
  for (let kind = 0; kind <= 6; kind++) for (const stream of [1, 2]) flows.add(kind, stream, kind + 1, kind + 100);
  bodies.push(flows.take().subarray(4));
  return bodies;
}

/** Payloads, encoded. */
export function encodedPayloads(): Uint8Array[] {
  return payloads.map(encodePayload);
}

/** The body of a control frame, without its length. */
export function bodyOf(frame: ControlFrame): Uint8Array {
  return encodeFrame(frame).subarray(4);
}
