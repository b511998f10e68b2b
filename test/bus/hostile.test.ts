import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { type Guise, Intruder } from '../../soak/frames/intruder.ts';
import type { Bus } from '../../src/bus/bus.ts';
import { RegistryAllowance, registryLimits } from '../../src/bus/network/registry-allowance.ts';
import { maxUnanswered } from '../../src/bus/network/switchboard.ts';
import type { BusOptions } from '../../src/bus/options/options.ts';
import { maxStreams } from '../../src/bus/streams/link.ts';
import { Registry } from '../../src/cluster/registry.ts';
import type { VirtualClock } from '../../src/core/virtual-clock.ts';
import { TestCluster } from '../../src/testing/cluster.ts';
import { Disk, FaultySource } from '../../src/testing/disk.ts';
import { parseAddress } from '../../src/transport/address.ts';
import type { Connection } from '../../src/transport/transport.ts';
import { encodePayload } from '../../src/wire/codec.ts';
import { type ControlFrame, type DurableEntry, encodeFrame, type SubscriptionEntry } from '../../src/wire/frame.ts';
import { DataWriter, maxRows, Parcel } from '../../src/wire/pack.ts';
import { LogBook, refusal } from '../core/testbed.ts';

const address = parseAddress('tcp://10.0.0.1:1900');
const secret = 'a secret of the cluster';
const bytes = new TextEncoder().encode(secret);
const retry = { attempts: 5, delay: 100, factor: 2, maxDelay: 30_000, jitter: 0.2 };

/** A leader, an honest leaf, and ways to come as somebody else. */
async function siege(t: TestContext, options: BusOptions = {}, stored = false) {
  const cluster = new TestCluster();
  const log = new LogBook();
  const source = stored ? new FaultySource(new Disk(), cluster.clock, 0) : undefined;
  const lead = await cluster.leader('lead', { secret, logger: log, ...options }, source);
  const { clock, network } = cluster;
  t.after(() => cluster.close());
  let last = 0;
  const connect = async (host = 'evil'): Promise<Connection> =>
    cluster.until(network.transport(`${host}-${++last}`).dial(address, { timeout: 1000 }));
  const enter = async (node = 'evil', guise: Partial<Guise> = {}): Promise<Intruder> => {
    const intruder = new Intruder(await connect(), { node, secret: bytes, ...guise });
    assert.ok(await cluster.until(intruder.greet()), 'it was not let in');
    intruder.say({ type: 'join', version: 1, more: false, subscriptions: [], durables: [] });
    await clock.advance(10);
    return intruder;
  };
  const refused = async () => (await lead.status()).refused;
  return { cluster, clock, log, lead, connect, enter, refused };
}

/** How many of these connections are open: they are read, and say nothing. */
function silent(connection: Connection): { open: boolean } {
  const state = { open: true };
  connection.open({
    data: () => {},
    drain: () => {},
    closed: () => {
      state.open = false;
    },
  });
  return state;
}

describe('before it has proven itself, a peer', () => {
  test('that says a byte now and then is closed when its time is up, and counted', async (t) => {
    const { clock, connect, refused, log } = await siege(t);
    const connection = await connect();
    const state = silent(connection);
    for (const byte of [0, 0, 8, 0, 1, 1, 0x8a, 0xa1, 0xa2, 0xa3]) {
      if (!state.open) break;
      connection.write(Uint8Array.of(byte));
      await clock.advance(199);
    }
    assert.ok(state.open);
    await clock.advance(30);
    assert.ok(!state.open);
    assert.equal((await refused())?.handshakes, 1);
    assert.equal(log.lines.filter(({ fields }) => fields.refused === 'handshakes').length, 1);
  });

  test('has as long as limits.handshake says', async (t) => {
    const { clock, connect, refused } = await siege(t, { limits: { handshake: 300 } });
    const state = silent(await connect());
    await clock.advance(290);
    assert.ok(state.open);
    await clock.advance(20);
    assert.ok(!state.open);
    assert.equal((await refused())?.handshakes, 1);
  });

  test('goes for a newer one from its own address when limits.connectionsPerAddress is reached, and for no other', async (t) => {
    const { cluster, clock, refused } = await siege(t, { limits: { connectionsPerAddress: 2 } });
    const connect = (host: string): Promise<Connection> =>
      cluster.until(cluster.network.transport(host).dial(address, { timeout: 1000 }));
    const all = [];
    for (const host of ['other', 'evil', 'evil', 'evil', 'other']) all.push(silent(await connect(host)));
    await clock.advance(10);
    assert.deepEqual(
      all.map(({ open }) => open),
      [true, false, true, true, true],
    );
    assert.equal((await refused())?.connections, 1);
  });

  test('goes for a newer one when too many are there: silent ones never keep an honest node out', async (t) => {
    const { cluster, clock, connect, refused } = await siege(t, { limits: { handshakes: 5 } });
    const all = [];
    for (let i = 0; i < 8; i++) all.push(silent(await connect()));
    await clock.advance(10);
    assert.deepEqual(
      all.map(({ open }) => open),
      [false, false, false, true, true, true, true, true],
    );
    const leaf = await cluster.leaf('leaf', { secret });
    assert.equal(leaf.state, 'running');
    assert.equal((await refused())?.connections, 4);
  });

  test('says at most two small frames: a third, or a larger one, ends it', async (t) => {
    const { clock, connect, refused } = await siege(t);
    for (const frames of [
      [Buffer.from([0, 0, 0x10, 1])], // 4,097 bytes are to follow
      [Buffer.from([0x06, 0x40, 0, 0])], // 100 MB
      [encodeFrame({ type: 'ping', version: 1 })],
    ]) {
      const connection = await connect();
      const state = silent(connection);
      for (const frame of frames) connection.write(frame);
      await clock.advance(10);
      assert.ok(!state.open);
    }
    assert.equal((await refused())?.protocol, 3);
  });

  test('with a name that is no name is refused, and the log says it in one line', async (t) => {
    const { cluster, clock, connect, refused, log } = await siege(t);
    const intruder = new Intruder(await connect(), { node: 'evil\n\u001b[2J', secret: bytes });
    assert.equal(await cluster.until(intruder.greet()), false);
    await clock.advance(10);
    assert.equal((await refused())?.protocol, 1);
    for (const { fields } of log.lines) assert.doesNotMatch(JSON.stringify(fields), /\\u001b|\\n/);
  });

  test('without the secret is counted, and the secret is nowhere in the log', async (t) => {
    const { cluster, clock, connect, refused, log } = await siege(t);
    const wrong = 'another secret of it';
    const intruder = new Intruder(await connect(), { node: 'evil', secret: new TextEncoder().encode(wrong) });
    assert.equal(await cluster.until(intruder.greet()), false);
    await clock.advance(2000);
    assert.equal((await refused())?.handshakes, 1);
    const text = JSON.stringify(log.lines);
    for (const each of [secret, wrong]) assert.ok(!text.includes(each));
  });
});

test('limits.connections: nobody who has proven itself goes; who comes then is turned away, and counted', async (t) => {
  const { cluster, clock, connect, enter, refused } = await siege(t, { limits: { connections: 2 } });
  const [first, second] = [await enter('a'), await enter('b')];
  await assert.rejects(connect(), refusal('NODE_UNREACHABLE')); // the network in memory tells a dialler so
  assert.deepEqual([first.state, second.state], ['in', 'in']);
  assert.equal((await refused())?.connections, 1);
  first.leave();
  await clock.advance(10);
  assert.equal((await cluster.leaf('leaf', { secret })).state, 'running');
});

/** The ids that it takes to reach the leader's mailbox. */
async function mailboxOf(bus: Bus, intruder: Intruder, clock: VirtualClock): Promise<ControlFrame & { type: 'open' }> {
  intruder.say({ type: 'applied', version: 0 });
  await clock.advance(20);
  for (const frame of intruder.frames) {
    if (frame.type !== 'delta') continue;
    for (const { node, incarnation, add } of frame.changes) {
      const mailbox = add[0]?.id;
      if (node !== bus.node || mailbox === undefined) continue;
      return {
        type: 'open',
        stream: 1,
        target: node,
        incarnation,
        mailbox,
        source: 'evil',
        origin: '00000000000000aa',
        from: 1,
      };
    }
  }
  return assert.fail('the mailbox was not told of');
}

describe('one who knows the secret', () => {
  test('and breaks the protocol loses its own link, and no other', async (t) => {
    const { cluster, clock, enter, refused } = await siege(t);
    const leaf = await cluster.leaf('leaf', { secret });
    const lost: string[] = [];
    leaf.on('leader.lost', ({ reason }) => lost.push(reason));
    const placement = { name: 'p', id: 'i', version: 1, removed: false, generation: 1, assigned: [] };
    const spec = { kind: 'k', where: {}, singleton: false, failover: 'auto', restart: true, options: {} };
    const subscription = { id: 'i', name: 'n', pattern: { kind: 'string', source: 'a', flags: '' }, retry };
    const part = { type: 'part', version: 2, add: [], remove: [], durables: [] };
    const wrong: object[] = [
      { ...part, add: [{ ...subscription, pattern: 5 }] },
      { type: 'join', version: 1, more: false, subscriptions: [], durables: [], placements: [] }, // for the second time
      // A loop over its instances would not end.
      { ...part, type: 'join', more: true, placements: [{ ...placement, spec: { ...spec, instances: 2 ** 53 - 1 } }] },
      { type: 'open', stream: 1, target: 'leaf', incarnation: 'x', mailbox: 'm', source: 'leaf', origin: 'o', from: 1 },
      { type: 'snapshot', epoch: { term: 2 ** 53 - 1, start: 1 }, version: 1, settled: true, members: [] },
    ];
    for (const frame of wrong) {
      const intruder = await enter();
      intruder.say(frame as ControlFrame);
      await clock.advance(20);
      assert.equal(intruder.state, 'closed', JSON.stringify(frame));
    }
    const huge = await enter();
    huge.send(Buffer.from([0x06, 0x40, 0, 0])); // the header of 100 MB
    await clock.advance(20);
    assert.equal(huge.state, 'closed');
    assert.equal((await refused())?.protocol, wrong.length + 1);
    assert.deepEqual(lost, []);
    assert.equal((await leaf.status()).leader?.linked, true);
  });

  test('and sends a payload that cannot be decoded has it end as a dead letter, and keeps its link', async (t) => {
    const { clock, lead, enter } = await siege(t);
    const got: unknown[] = [];
    await lead.subscribe('a', ({ payload }) => void got.push(payload), { name: 'box', retry: { attempts: 1 } });
    const intruder = await enter();
    intruder.say(await mailboxOf(lead, intruder, clock));
    const data = new DataWriter();
    const payloads = [
      encodePayload(1),
      Uint8Array.of(0xc1),
      Uint8Array.of(0xd4, 0x00, 0x00), // an extension
      Buffer.from('81a95f5f70726f746f5f5f80', 'hex'), // { __proto__: {} }
      Buffer.from(`${'91'.repeat(40)}00`, 'hex'), // too deep
      encodePayload(2),
    ];
    for (const [i, payload] of payloads.entries()) data.add(1, i + 1, new Parcel('a', undefined, payload, i + 1, 1));
    intruder.send(data.take());
    await clock.advance(100);
    assert.deepEqual(got, [1, 2]);
    const letters = await lead.deadLetters.list();
    assert.equal(letters.length, 4);
    assert.equal(intruder.state, 'in');
  });

  test('and sends times or numbers that are none has those messages refused, and keeps its link', async (t) => {
    const { clock, lead, enter } = await siege(t);
    const got: unknown[] = [];
    await lead.subscribe('a', ({ payload }) => void got.push(payload), { name: 'box' });
    const intruder = await enter();
    intruder.say(await mailboxOf(lead, intruder, clock));
    const data = new DataWriter();
    const payload = encodePayload('x');
    const extra = (value: object): Uint8Array => encodePayload(value);
    const parcels = [
      new Parcel('a', undefined, payload, 1, Number.NaN),
      new Parcel('a', undefined, payload, 1, 1e300),
      new Parcel('a', undefined, payload, 0.5, 1),
      new Parcel('a', extra({ t: Number.NaN }), payload, 1, 1),
      new Parcel('a', extra({ d: -1 }), payload, 1, 1),
      new Parcel('a', extra({ d: Number.POSITIVE_INFINITY }), payload, 1, 1),
      new Parcel('a', undefined, encodePayload('good'), 7, 1),
    ];
    for (const [i, parcel] of parcels.entries()) data.add(1, i + 1, parcel);
    intruder.send(data.take());
    await clock.advance(100);
    assert.deepEqual(got, ['good']);
    assert.equal(intruder.state, 'in');
  });

  test('and puts more rows into a frame than there may be is cut off', async (t) => {
    const { clock, enter } = await siege(t);
    const intruder = await enter();
    const data = new DataWriter();
    for (let i = 0; i <= maxRows; i++) data.add(1, i + 1, undefined);
    intruder.send(data.take());
    await clock.advance(10);
    assert.equal(intruder.state, 'closed');
  });

  test('and sends beyond what it may has it passed by: the mailbox holds what it may, and the rest is asked for again', async (t) => {
    const { clock, lead, enter } = await siege(t);
    const subscription = await lead.subscribe('a', () => new Promise<void>(() => {}), {
      name: 'box',
      limits: { messages: 10, overflow: 'block' },
    });
    const intruder = await enter();
    intruder.say(await mailboxOf(lead, intruder, clock));
    for (let frame = 0; frame < 5; frame++) {
      const data = new DataWriter();
      for (let i = 1; i <= maxRows; i++)
        data.add(1, frame * maxRows + i, new Parcel('a', undefined, encodePayload(i), i, 1));
      intruder.send(data.take());
    }
    await clock.advance(100);
    assert.ok(subscription.stats().waiting <= 10, `${subscription.stats().waiting} wait`);
    assert.equal(intruder.state, 'in');
  });

  test('and opens more streams than it may is told that nobody is there, and that is counted', async (t) => {
    const { clock, lead, enter, refused } = await siege(t);
    await lead.subscribe('a', () => {}, { name: 'box' });
    const intruder = await enter();
    const open = await mailboxOf(lead, intruder, clock);
    for (let stream = 1; stream <= maxStreams + 5; stream++) intruder.say({ ...open, stream });
    await clock.advance(50);
    const { links } = await lead.status();
    assert.equal(links[0]?.streams.in, maxStreams);
    assert.equal((await refused())?.streams, 5);
    assert.equal(intruder.state, 'in');
  });

  test('and makes up lives without end has the oldest forgotten, or is told that nobody is there', async (t) => {
    const { clock, lead, enter, refused } = await siege(t);
    await lead.subscribe('a', () => {}, { name: 'box' });
    const intruder = await enter();
    const open = await mailboxOf(lead, intruder, clock);
    for (let stream = 1; stream <= 1000; stream++) {
      intruder.say({ ...open, stream, origin: `life-${stream}` });
      intruder.say({ type: 'shut', stream });
    }
    await clock.advance(20);
    assert.equal((await refused())?.streams, 0);
    for (let stream = 1001; stream <= 1300; stream++) intruder.say({ ...open, stream, origin: `life-${stream}` });
    await clock.advance(20);
    const { links } = await lead.status();
    assert.equal(links[0]?.streams.in, 256);
    assert.equal((await refused())?.streams, 44);
  });

  test('and asks without end is told MAILBOX_FULL beyond what is answered at a time, and that is counted', async (t) => {
    const { clock, enter, refused } = await siege(t);
    const [first, second] = [await enter('evil'), await enter('other')];
    const ask = (intruder: Intruder, source: string, id: number): void =>
      intruder.say({ type: 'request', id, source, target: 'lead', method: 'durable.reserve', params: { name: 'd/x' } });
    ask(first, 'evil', 1);
    // The leader settles, and keeps the name for who asked first.
    for (let i = 0; i < 4; i++) {
      for (const intruder of [first, second]) intruder.say({ type: 'ping', version: 0 });
      await clock.advance(1000);
    }
    for (let id = 1; id <= maxUnanswered + 3; id++) ask(second, 'other', id);
    await clock.advance(10);
    const replies = second.frames.filter((frame) => frame.type === 'reply');
    assert.deepEqual(
      replies.map(({ error }) => error?.code),
      ['MAILBOX_FULL', 'MAILBOX_FULL', 'MAILBOX_FULL'],
    );
    assert.equal((await refused())?.requests, 3);
  });

  test('and keeps a name for itself again and again lets others wait for it for 10 s, and no longer', async (t) => {
    const { clock, enter } = await siege(t, {}, true);
    const [first, second] = [await enter('evil'), await enter('other')];
    const ask = (intruder: Intruder, source: string, id: number, method: string, more = {}): void =>
      intruder.say({ type: 'request', id, source, target: 'lead', method, params: { name: 'd/x', ...more } });
    const codes = (): unknown[] =>
      second.frames.flatMap((frame) => (frame.type === 'reply' ? [[frame.id, frame.error?.code]] : []));
    const wait = async (seconds: number): Promise<void> => {
      for (let i = 0; i < seconds; i++) {
        for (const intruder of [first, second]) intruder.say({ type: 'ping', version: 0 });
        ask(first, 'evil', 1000 + i, 'durable.reserve');
        await clock.advance(1000);
      }
    };
    await wait(5); // the leader settles
    ask(second, 'other', 1, 'durable.reserve');
    const pattern = { kind: 'string', source: 'a', flags: '' };
    const policy = {
      retry,
      limits: { messages: 10, bytes: 1000, age: 60_000, overflow: 'reject', deadLetters: false },
      latestOnly: false,
      filters: [],
      durability: 'os',
    };
    for (const id of [2, 3, 4])
      ask(second, 'other', id, 'durable.declare', { pattern, policy, given: [], update: false });
    await wait(9);
    assert.deepEqual(codes(), []);
    await wait(2);
    assert.deepEqual(codes(), [
      [1, 'TIMEOUT'],
      [2, 'TIMEOUT'],
      [3, 'TIMEOUT'],
      [4, 'TIMEOUT'],
    ]);
  });

  test('and attaches consumers without end is told MAILBOX_FULL beyond 10,000', async (t) => {
    const { cluster, clock, lead, enter } = await siege(t, {}, true);
    await cluster.until(lead.subscribe('a', null, { name: 'box', durable: true }));
    const intruder = await enter();
    intruder.say({ type: 'applied', version: 0 });
    await clock.advance(20);
    const told = intruder.frames.flatMap((frame) => (frame.type === 'delta' ? frame.durables : []));
    const mailbox = told[0]?.id ?? assert.fail('it was not told of the mailbox');
    for (let id = 1; id <= 10_002; id++) {
      const params = { mailbox, consumer: `c-${id}`, credit: 1, timeout: 1000, busy: [], from: 1 };
      intruder.say({ type: 'request', id, source: 'evil', target: 'lead', method: 'consumer.attach', params });
      if (id % 2000 === 0) await clock.advance(10);
    }
    await clock.advance(50);
    const refusals = intruder.frames.flatMap((frame) =>
      frame.type === 'reply' && frame.error !== undefined ? [[frame.id, frame.error.code]] : [],
    );
    assert.deepEqual(refusals, [
      [10_001, 'MAILBOX_FULL'],
      [10_002, 'MAILBOX_FULL'],
    ]);
    assert.equal((await lead.mailboxes.stats('box')).consumers, 10_000);
  });

  test('and declares what is no subscription is told so, and nobody else is told of it', async (t) => {
    const { cluster, clock, enter } = await siege(t, {}, true);
    const leaf = await cluster.leaf('leaf', { secret });
    const lost: string[] = [];
    leaf.on('leader.lost', ({ reason }) => lost.push(reason));
    const intruder = await enter();
    const { pattern, policy } = durable('d/x');
    const wrong: object[] = [
      { ...policy, retry: { ...retry, attempts: Number.NaN } },
      { ...policy, retry: { ...retry, delay: -1 } },
      { ...policy, limits: { ...policy.limits, messages: 1e300 } },
      { ...policy, latestOnly: 7 },
      { ...policy, limits: { ...policy.limits, junk: 'x'.repeat(600_000) } },
    ];
    for (const [id, each] of wrong.entries()) {
      const params = { name: `d/x${id}`, pattern, policy: each, given: [], update: false };
      intruder.say({ type: 'request', id, source: 'evil', target: 'lead', method: 'durable.declare', params });
    }
    await clock.advance(1000);
    const codes = intruder.frames.flatMap((frame) => (frame.type === 'reply' ? [frame.error?.code] : []));
    assert.deepEqual(codes.sort(), ['PAYLOAD_TOO_LARGE', ...Array(4).fill('PROTOCOL_ERROR')]);
    assert.deepEqual(lost, []);
    assert.deepEqual(await cluster.until(leaf.mailboxes.list()), []);
  });

  test('and makes up lives towards a durable mailbox has as many remembered as may be', async (t) => {
    const { cluster, clock, lead, enter, refused } = await siege(t, {}, true);
    await cluster.until(lead.subscribe('a', null, { name: 'kept', durable: true }));
    const id = (await cluster.until(lead.mailboxes.list()))[0]?.name;
    assert.equal(id, 'default/kept');
    const intruder = await enter();
    intruder.say({ type: 'applied', version: 0 });
    await clock.advance(20);
    const mailbox = intruder.frames.flatMap((frame) => (frame.type === 'delta' ? frame.durables : []))[0]?.id;
    assert.ok(mailbox !== undefined);
    const open = { type: 'open', target: 'lead', incarnation: '', mailbox, source: 'evil', from: 5 } as const;
    for (let stream = 1; stream <= 1010; stream++) {
      intruder.say({ ...open, stream, origin: `life-${stream}` });
      intruder.say({ type: 'shut', stream });
      if (stream % 100 === 0) await clock.advance(20); // they are counted when they are written
    }
    await clock.advance(50);
    assert.equal((await refused())?.streams, 10);
    assert.equal(intruder.state, 'in');
  });

  for (const kind of ['in memory', 'durable']) {
    test(`is told on the stream that it keeps what a mailbox ${kind} takes, when an older opening comes late`, async (t) => {
      const { cluster, clock, lead, enter } = await siege(t, {}, true);
      const got: unknown[] = [];
      const durable = kind === 'durable';
      const take = ({ payload }: { payload: unknown }): void => void got.push(payload);
      await cluster.until(lead.subscribe('a', take, { name: 'box', ...(durable && { durable }) }));
      const peer = await enter();
      const memory = durable ? undefined : await mailboxOf(lead, peer, clock);
      peer.say({ type: 'applied', version: 0 });
      await clock.advance(20);
      const kept = peer.frames.flatMap((frame) => (frame.type === 'delta' ? frame.durables : []))[0]?.id ?? '';
      const evil = { source: 'evil', origin: '00000000000000aa', from: 1 };
      const open = memory ?? { type: 'open' as const, target: 'lead', incarnation: '', mailbox: kept, ...evil };
      const send = async (stream: number, number: number): Promise<void> => {
        const data = new DataWriter();
        data.add(stream, number, new Parcel('a', undefined, encodePayload(number), number, 1));
        peer.send(data.take());
        await clock.advance(50);
      };
      // Over two links, whose frames may pass each other, they come like this.
      peer.say({ ...open, stream: 2 });
      await send(2, 1);
      peer.say({ ...open, stream: 1 });
      await send(2, 2);
      assert.equal(peer.confirmed.get(2), 2, 'both open');
      peer.say({ type: 'shut', stream: 1 });
      await send(2, 3);
      assert.equal(peer.confirmed.get(2), 3, 'the older one shut');
      assert.deepEqual(got, [1, 2, 3]);
    });
  }

  test('and registers what is mostly something else ends no link to the others', async (t) => {
    const { cluster, clock, enter } = await siege(t);
    const leaf = await cluster.leaf('leaf', { secret });
    const lost: string[] = [];
    leaf.on('leader.lost', ({ reason }) => lost.push(reason));
    const intruder = await enter();
    const durables = Array.from({ length: 15 }, (_, i) => ({ ...durable(`default/d${i}`), junk: 'x'.repeat(500_000) }));
    for (let i = 0; i < 30; i++)
      intruder.say({
        type: 'part',
        version: 2 + i,
        add: [],
        remove: [],
        durables: durables.slice(i % 15, (i % 15) + 1),
      });
    await clock.advance(1000);
    assert.equal(intruder.state, 'in');
    const other = await cluster.leaf('other', { secret });
    await clock.advance(1000);
    assert.deepEqual(lost, []);
    // One that no frame to the others has room for is not taken.
    const late = { ...durable('default/late'), junk: 'x'.repeat(600_000) };
    intruder.say({ type: 'part', version: 40, add: [], remove: [], durables: [late] });
    await clock.advance(20);
    assert.equal(intruder.state, 'closed');
    for (const bus of [leaf, other]) {
      assert.equal((await bus.status()).leader?.linked, true);
      const list = await cluster.until(bus.mailboxes.list());
      assert.equal(list.filter(({ home }) => home === 'evil').length, 15);
    }
  });
});

function durable(name: string): DurableEntry {
  return {
    name,
    id: name.replace(/\W/g, '').padEnd(16, '0'),
    version: 1,
    home: 'evil',
    removed: false,
    pattern: { kind: 'string', source: 'a', flags: '' },
    policy: {
      retry,
      limits: { messages: 1, bytes: 1, overflow: 'reject', deadLetters: false },
      latestOnly: false,
      filters: [],
      durability: 'os',
    },
  };
}

describe('what the members of a cluster register', () => {
  const nothing = { joined() {}, changed() {}, gone() {}, added() {}, removed() {}, durable() {} };
  const subscription = (i: number, source = 'a'): SubscriptionEntry => ({
    id: `id-${i}`,
    name: `name-${i}`,
    pattern: { kind: 'string', source, flags: '' },
    retry,
  });
  const begun = () => {
    const registry = new Registry(nothing);
    const allowance = new RegistryAllowance(registry);
    allowance.begin('n');
    const change = (add: SubscriptionEntry[], remove: string[] = []): void => {
      allowance.subscriptions('n', add, remove);
      registry.apply({ node: 'n', incarnation: '0-aa', state: 'alive', link: 1, add, remove });
    };
    return { registry, allowance, change };
  };

  test('is bounded in number: what was removed counts no more', () => {
    const { change } = begun();
    const all = Array.from({ length: registryLimits.subscriptions }, (_, i) => subscription(i));
    change(all);
    assert.throws(() => change([subscription(-1)]), refusal('PROTOCOL_ERROR', 'more than 100000'));
    const again = begun();
    again.change(all);
    again.change([subscription(-1)], ['id-0', 'id-0', 'unknown']);
    assert.throws(() => again.change([subscription(-2)]), refusal('PROTOCOL_ERROR'));
  });

  test('is bounded in length', () => {
    const { change } = begun();
    const long = 'x'.repeat(65_536);
    const count = registryLimits.subscriptionText / 65_536;
    change(Array.from({ length: count - 2 }, (_, i) => subscription(i, long)));
    assert.throws(() => change([-1, -2, -3].map((i) => subscription(i, long))), refusal('PROTOCOL_ERROR'));
  });

  test('durable names are bounded in number and each in size', () => {
    const { registry, allowance } = begun();
    for (let i = 0; i < registryLimits.names; i++) registry.applyDurable(durable(`d/${i}`));
    allowance.names('n', [durable('d/1')]);
    assert.throws(() => allowance.names('n', [durable('d/new')]), refusal('PROTOCOL_ERROR', '250000 names'));
    const large = { ...durable('d/1'), junk: 'x'.repeat(registryLimits.entryBytes) };
    assert.throws(() => allowance.names('n', [large]), refusal('PROTOCOL_ERROR', 'no frame has room'));
  });
});
