import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BusError } from '../../src/core/errors.ts';
import { VirtualClock } from '../../src/core/virtual-clock.ts';
import { parseAddress } from '../../src/transport/address.ts';
import { judgeLink, nextLook } from '../../src/transport/liveness.ts';
import { MemoryNetwork } from '../../src/transport/memory.ts';
import { prove } from '../../src/transport/proof.ts';
import { type Identity, Session, type SessionHost } from '../../src/transport/session.ts';
import type { Connection } from '../../src/transport/transport.ts';
import { type ControlFrame, decodeFrame, encodeFrame, type Hello } from '../../src/wire/frame.ts';
import { refusal } from '../core/testbed.ts';

const secret = new TextEncoder().encode('a secret of sixteen');

class End {
  readonly frames: ControlFrame[] = [];
  opened = false;
  reason: BusError | undefined;
  session: Session | undefined;
  readonly clock: VirtualClock;
  readonly identity: Identity;
  refusal: ReturnType<SessionHost['admit']> = undefined;

  constructor(clock: VirtualClock, identity: Partial<Identity> = {}) {
    this.clock = clock;
    this.identity = { cluster: 'c', node: 'n', incarnation: '0-aa', secret, maxFrame: 65_536, ...identity };
  }

  start(role: 'dialler' | 'listener', connection: Connection): Session {
    this.session = new Session(role, connection, {
      clock: this.clock,
      identity: this.identity,
      liveness: { ping: 1000, suspect: 3000 },
      handshake: 2000,
      greeting: () => ({}),
      epoch: () => ({ term: 0, start: 1 }),
      registryVersion: () => 0,
      admit: () => this.refusal,
      opened: () => {
        this.opened = true;
      },
      frame: (_, body) => this.frames.push(decodeFrame(body)),
      idle: () => {},
      writable: () => {},
      closed: (_, reason) => {
        this.reason = reason;
      },
    });
    return this.session;
  }
}

const address = parseAddress('tcp://10.0.0.1:1');

async function connect(clock: VirtualClock): Promise<{ network: MemoryNetwork; near: Connection; far: Connection }> {
  const network = new MemoryNetwork({ clock, delay: 1 });
  let far: Connection | undefined;
  await network.transport('far').listen(address, (connection) => {
    far = connection;
  });
  let near: Connection | undefined;
  void network
    .transport('near')
    .dial(address, { timeout: 100 })
    .then((connection) => {
      near = connection;
    });
  await clock.advance(10);
  assert.ok(near !== undefined && far !== undefined);
  return { network, near, far };
}

/** A raw end: what it gets, as frames, and a way to say anything. */
function raw(connection: Connection): {
  frames: ControlFrame[];
  closed: () => boolean;
  send(frame: ControlFrame): void;
} {
  const frames: ControlFrame[] = [];
  let closed = false;
  let rest = Buffer.alloc(0);
  connection.open({
    data: (chunk) => {
      rest = Buffer.concat([rest, chunk]);
      while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE()) {
        const end = 4 + rest.readUInt32BE();
        frames.push(decodeFrame(rest.subarray(4, end)));
        rest = rest.subarray(end);
      }
    },
    drain: () => {},
    closed: () => {
      closed = true;
    },
  });
  return { frames, closed: () => closed, send: (frame) => void connection.write(encodeFrame(frame)) };
}

const helloOf = (node: string): Hello => ({
  type: 'hello',
  protocol: [1, 1],
  cluster: 'c',
  node,
  incarnation: '0-bb',
  epoch: { term: 0, start: 0 },
  maxFrame: 65_536,
  nonce: new Uint8Array(16).fill(7),
});

test('two ends with the same secret open a session and know each other', async () => {
  const clock = new VirtualClock();
  const { near, far } = await connect(clock);
  const [a, b] = [new End(clock, { node: 'a' }), new End(clock, { node: 'b' })];
  a.start('dialler', near);
  b.start('listener', far);
  await clock.advance(20);
  assert.ok(a.opened && b.opened);
  assert.equal(a.session?.peer.node, 'b');
  assert.equal(b.session?.peer.node, 'a');
});

for (const [name, other] of [
  ['another secret', { secret: new TextEncoder().encode('another secret of it') }],
  ['no secret', { secret: undefined }],
  ['another cluster', { cluster: 'd' }],
] as const) {
  test(`a dialler with ${name} is refused, and no frame of it is looked at`, async () => {
    const clock = new VirtualClock();
    const { near, far } = await connect(clock);
    const [a, b] = [new End(clock, { node: 'a', ...other }), new End(clock, { node: 'b' })];
    a.start('dialler', near);
    b.start('listener', far);
    await clock.advance(20);
    assert.ok(!a.opened && !b.opened);
    assert.equal(a.reason?.code, 'HANDSHAKE_REFUSED');
    assert.deepEqual(b.frames, []);
  });
}

test('a dialler that speaks only later versions is refused, and both hear which ranges there are', async () => {
  const clock = new VirtualClock();
  const { near, far } = await connect(clock);
  const b = new End(clock, { node: 'b' });
  b.start('listener', far);
  const later = raw(near);
  later.send({ ...helloOf('a'), protocol: [3, 4] });
  await clock.advance(10);
  const [first] = later.frames;
  assert.ok(first?.type === 'reject' && first.code === 'HANDSHAKE_REFUSED', first?.type);
  assert.match(first.detail, /it speaks protocol 3 to 4, this node 1 to 2/);
  assert.ok(later.closed());
  assert.ok(refusal('HANDSHAKE_REFUSED', 'protocol 3 to 4', '1 to 2')(b.reason));
});

test('a dialler does not go on with a listener that speaks only later versions', async () => {
  const clock = new VirtualClock();
  const { near, far } = await connect(clock);
  const a = new End(clock, { node: 'a' });
  const later = raw(far);
  a.start('dialler', near);
  await clock.advance(10);
  later.send({ ...helloOf('b'), type: 'challenge', protocol: [3, 4], proof: new Uint8Array(32) });
  await clock.advance(10);
  assert.ok(!a.opened);
  assert.ok(refusal('HANDSHAKE_REFUSED', 'protocol 3 to 4', '1 to 2')(a.reason));
});

for (const theirs of [
  [1, 1],
  [1, 9],
  [2, 3],
] as const) {
  test(`a dialler that speaks ${theirs.join(' to ')} shares a version with this build, and is let in`, async () => {
    const clock = new VirtualClock();
    const { near, far } = await connect(clock);
    const b = new End(clock, { node: 'b' });
    b.start('listener', far);
    const other = raw(near);
    const hello: Hello = { ...helloOf('a'), protocol: theirs };
    other.send(hello);
    await clock.advance(10);
    const [challenge] = other.frames;
    assert.ok(challenge?.type === 'challenge', challenge?.type);
    other.send({ type: 'proof', proof: prove(secret, 'dialler', hello, challenge) });
    await clock.advance(10);
    assert.ok(b.opened, String(b.reason));
  });
}

test('a node that is not admitted hears why', async () => {
  const clock = new VirtualClock();
  const { near, far } = await connect(clock);
  const [a, b] = [new End(clock, { node: 'a' }), new End(clock, { node: 'b' })];
  b.refusal = { code: 'NAME_TAKEN', detail: 'there is one' };
  a.start('dialler', near);
  b.start('listener', far);
  await clock.advance(20);
  assert.equal(a.reason?.code, 'NAME_TAKEN');
  assert.match(String(a.reason?.message), /there is one/);
});

test("a listener's own proof, played back to it, proves nothing", async () => {
  const clock = new VirtualClock();
  const { near, far } = await connect(clock);
  const b = new End(clock, { node: 'b' });
  b.start('listener', far);
  const attacker = raw(near);
  attacker.send(helloOf('a'));
  await clock.advance(10);
  const [challenge] = attacker.frames;
  assert.equal(challenge?.type, 'challenge');
  attacker.send({ type: 'proof', proof: challenge.proof });
  await clock.advance(10);
  assert.ok(!b.opened);
  assert.equal(b.reason?.code, 'HANDSHAKE_REFUSED');
});

test('a proof that was heard on one connection is worth nothing on another', async () => {
  const clock = new VirtualClock();
  const first = await connect(clock);
  const b = new End(clock, { node: 'b' });
  b.start('listener', first.far);
  const honest = raw(first.near);
  const hello = helloOf('a');
  honest.send(hello);
  await clock.advance(10);
  const challenge = honest.frames[0] as ControlFrame & { type: 'challenge' };
  const proof = prove(secret, 'dialler', hello, challenge);
  honest.send({ type: 'proof', proof });
  await clock.advance(10);
  assert.ok(b.opened);

  const second = await connect(clock);
  const again = new End(clock, { node: 'b' });
  again.start('listener', second.far);
  const attacker = raw(second.near);
  attacker.send(hello);
  await clock.advance(10);
  attacker.send({ type: 'proof', proof });
  await clock.advance(10);
  assert.ok(!again.opened);
  assert.equal(again.reason?.code, 'HANDSHAKE_REFUSED');
});

test('a frame out of turn ends the handshake', async () => {
  const clock = new VirtualClock();
  const { near, far } = await connect(clock);
  const b = new End(clock, { node: 'b' });
  b.start('listener', far);
  const attacker = raw(near);
  attacker.send({ type: 'ping', version: 0 });
  await clock.advance(10);
  assert.ok(attacker.closed());
  assert.equal(b.reason?.code, 'PROTOCOL_ERROR');
});

test('a connection that says nothing is closed when the time for the handshake is up', async () => {
  const clock = new VirtualClock();
  const { near, far } = await connect(clock);
  const b = new End(clock, { node: 'b' });
  b.start('listener', far);
  const silent = raw(near);
  await clock.advance(1990);
  assert.ok(!silent.closed());
  await clock.advance(20);
  assert.ok(silent.closed());
  assert.equal(b.reason?.code, 'HANDSHAKE_REFUSED');
});

test('before it is proven, an end takes only small frames', async () => {
  const clock = new VirtualClock();
  const { near, far } = await connect(clock);
  const b = new End(clock, { node: 'b' });
  b.start('listener', far);
  const attacker = raw(near);
  attacker.send({ ...helloOf('a'), cluster: 'x'.repeat(5000) });
  await clock.advance(10);
  assert.equal(b.reason?.code, 'PROTOCOL_ERROR');
});

test('idle sessions stay open by their pings, and one that is cut dies after the suspect time', async () => {
  const clock = new VirtualClock();
  const { network, near, far } = await connect(clock);
  const [a, b] = [new End(clock, { node: 'a' }), new End(clock, { node: 'b' })];
  a.start('dialler', near);
  b.start('listener', far);
  await clock.advance(60_000);
  assert.ok(a.opened);
  assert.deepEqual([a.reason, b.reason], [undefined, undefined]);
  network.cut('near', 'far', 'forth');
  await clock.advance(3100);
  assert.equal(b.reason?.code, 'NODE_UNREACHABLE');
});

test('a link is pinged when it has sent nothing, and silent when it has heard nothing', () => {
  const limits = { ping: 1000, suspect: 3000 };
  assert.equal(judgeLink({ lastSent: 0, lastReceived: 0 }, limits, 999), 'fine');
  assert.equal(judgeLink({ lastSent: 0, lastReceived: 900 }, limits, 1000), 'ping');
  assert.equal(judgeLink({ lastSent: 2900, lastReceived: 0 }, limits, 3000), 'silent');
  assert.equal(nextLook({ lastSent: 500, lastReceived: 0 }, limits, 600), 900);
  assert.equal(nextLook({ lastSent: 5000, lastReceived: 2500 }, limits, 5400), 100);
});
