import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../src/core/clock.ts';
import { VirtualClock } from '../../src/core/virtual-clock.ts';
import { transportSuite } from '../../src/testing/transport-suite.ts';
import { parseAddress } from '../../src/transport/address.ts';
import { MemoryNetwork } from '../../src/transport/memory.ts';
import { type Connection, highWaterMark } from '../../src/transport/transport.ts';

for (const delay of [0, { min: 0, max: 3 }]) {
  transportSuite(`memory, delay ${JSON.stringify(delay)}`, async () => ({
    transport: new MemoryNetwork({ clock: systemClock, delay }).transport('a'),
    address: () => parseAddress('tcp://a:0'),
    dead: parseAddress('tcp://a:1'),
  }));
}

interface Side {
  connection: Connection;
  heard: string[];
}

function side(connection: Connection): Side {
  const heard: string[] = [];
  connection.open({
    data: (chunk) => heard.push(Buffer.from(chunk).toString()),
    drain: () => heard.push('<drain>'),
    closed: (error) => heard.push(`<closed ${error === undefined ? 'in order' : error.message}>`),
  });
  return { connection, heard };
}

/** Two hosts, a connection from a to b, and a virtual clock. */
async function world(delay: number | { min: number; max: number } = 0, seed = 1) {
  const clock = new VirtualClock(seed);
  const network = new MemoryNetwork({ clock, delay });
  const accepted: Connection[] = [];
  await network.transport('b').listen(parseAddress('tcp://b:1'), (connection) => accepted.push(connection));
  const dial = (timeout = 2000): Promise<Connection> =>
    network.transport('a').dial(parseAddress('tcp://b:1'), { timeout });
  const dialled = dial();
  await clock.advance(100);
  const a = side(await dialled);
  const b = side(accepted[0] as Connection); // the dial came through
  return { clock, network, dial, accepted, a, b };
}

const bytes = (text: string): Uint8Array => Buffer.from(text);

test('bytes take the configured delay', async () => {
  const { clock, a, b } = await world(50);
  a.connection.write(bytes('x'));
  await clock.advance(49);
  assert.deepEqual(b.heard, []);
  await clock.advance(1);
  assert.deepEqual(b.heard, ['x']);
});

test('the same seed gives the same run, and order survives a delay that varies', async () => {
  const run = async (seed: number): Promise<string[]> => {
    const { clock, a, b } = await world({ min: 1, max: 40 }, seed);
    for (let i = 0; i < 50; i++) a.connection.write(bytes(`${i},`));
    const steps: string[] = [];
    while (b.heard.length < 50) {
      await clock.advance(1);
      steps.push(b.heard.join(''));
    }
    assert.equal(b.heard.join(''), Array.from({ length: 50 }, (_, i) => `${i},`).join(''));
    return steps;
  };
  assert.deepEqual(await run(7), await run(7));
  assert.notDeepEqual(await run(7), await run(8));
});

test('while a link is cut nothing arrives and nobody is told; after it is healed the stream goes on without a hole', async () => {
  const { clock, network, a, b } = await world(5);
  a.connection.write(bytes('under way,'));
  network.cut('a', 'b');
  a.connection.write(bytes('meanwhile,'));
  b.connection.write(bytes('back,'));
  await clock.advance(60_000);
  assert.deepEqual([a.heard, b.heard], [[], []]);
  network.heal('a', 'b');
  a.connection.write(bytes('after'));
  await clock.advance(5);
  assert.equal(a.heard.join(''), 'back,');
  assert.equal(b.heard.join(''), 'under way,meanwhile,after');
});

test('a cut in one direction lets the other through', async () => {
  const { clock, network, a, b } = await world();
  network.cut('a', 'b', 'forth');
  a.connection.write(bytes('lost'));
  b.connection.write(bytes('heard'));
  await clock.settle();
  assert.deepEqual([a.heard, b.heard], [['heard'], []]);
  network.heal('a', 'b', 'forth');
  await clock.settle();
  assert.deepEqual(b.heard, ['lost']);
});

test('over a cut link the writer is stopped, and goes on after it is healed', async () => {
  const { clock, network, a } = await world();
  network.cut('a', 'b');
  assert.equal(a.connection.write(new Uint8Array(highWaterMark - 1)), true);
  assert.equal(a.connection.write(new Uint8Array(1)), false);
  await clock.advance(10_000);
  assert.deepEqual(a.heard, []);
  network.heal('a', 'b');
  await clock.settle();
  assert.deepEqual(a.heard, ['<drain>']);
});

test('closing over a cut link takes a second and loses what was left; the other end hears of it after the link is healed', async () => {
  const { clock, network, a, b } = await world();
  network.cut('a', 'b');
  a.connection.write(bytes('x'));
  a.connection.close();
  await clock.advance(999);
  assert.deepEqual(a.heard, []);
  await clock.advance(1);
  assert.deepEqual(a.heard, ['<closed b:1 did not take what was left in time>']);
  assert.deepEqual(b.heard, []);
  network.heal('a', 'b');
  await clock.settle();
  assert.equal(b.heard.length, 1);
  assert.match(b.heard.join(), /^<closed the connection to a:\d+ broke: reset>$/);
});

test('dialling over a cut link ends with its timeout, and leaves nothing behind', async () => {
  const { clock, network, dial, accepted } = await world();
  network.cut('a', 'b');
  const dialled = assert.rejects(dial(), { code: 'NODE_UNREACHABLE', message: /tcp:\/\/b:1: TIMEOUT/ });
  await clock.advance(2000);
  await dialled;
  network.heal('a', 'b');
  await clock.settle();
  assert.equal(accepted.length, 1, 'only the first dial came through');
});

test('when only the answer to a dial is lost, the one who accepted hears that it broke', async () => {
  const { clock, network, dial, accepted } = await world();
  network.cut('b', 'a', 'forth');
  const dialled = assert.rejects(dial(), { code: 'NODE_UNREACHABLE' });
  await clock.advance(1000);
  assert.equal(accepted.length, 2);
  const b = side(accepted[1] as Connection); // just counted
  await clock.advance(1000);
  await dialled;
  assert.match(b.heard.join(), /broke: reset/);
});

test('a dial that is healed in time succeeds', async () => {
  const { clock, network, dial } = await world();
  network.cut('a', 'b');
  const dialled = dial();
  await clock.advance(1999);
  network.heal('a', 'b');
  await clock.settle();
  (await dialled).destroy();
});

test('a reset breaks the connections between two hosts, cut or not, and no others', async () => {
  const { clock, network, a, b } = await world();
  const other = await (async () => {
    const dialled = network.transport('c').dial(parseAddress('tcp://b:1'), { timeout: 2000 });
    await clock.settle();
    return side(await dialled);
  })();
  network.cut('a', 'b');
  network.reset('b', 'a');
  await clock.settle();
  assert.match(a.heard.join(), /^<closed the connection to b:1 broke: reset>$/);
  assert.match(b.heard.join(), /^<closed the connection to a:\d+ broke: reset>$/);
  assert.deepEqual(other.heard, []);
});

test('a writer may reuse nothing of what the reader holds: the two share no memory', async () => {
  const { clock, a, b } = await world();
  const chunk = bytes('first');
  a.connection.write(chunk);
  chunk.fill(0x78);
  await clock.settle();
  assert.deepEqual(b.heard, ['first']);
});

test('closing leaves no timer and nothing of the connection behind', async () => {
  const { clock, a, b } = await world();
  a.connection.close();
  await clock.settle();
  assert.deepEqual([a.heard, b.heard], [['<closed in order>'], ['<closed in order>']]);
  assert.equal(clock.pendingTimers, 0);
});
