import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Bus } from '../../src/bus/bus.ts';
import { registryLimits } from '../../src/bus/network/registry-allowance.ts';
import { BusError, type ErrorCode } from '../../src/core/errors.ts';
import type { BusEvent } from '../../src/core/events.ts';
import { TestCluster, type TestClusterOptions } from '../../src/testing/cluster.ts';

function withCluster(name: string, run: (cluster: TestCluster) => Promise<void>, options?: TestClusterOptions): void {
  test(name, { timeout: 30_000 }, async () => {
    const cluster = new TestCluster(options);
    await run(cluster);
    await cluster.close();
  });
}

function eventsOf(bus: Bus): BusEvent[] {
  const events: BusEvent[] = [];
  bus.on('*', (event) => events.push(event));
  return events;
}

const failsWith = (code: ErrorCode) => (error: unknown) => error instanceof BusError && error.code === code;

withCluster('a message reaches its subscribers on the leader, on other leaves and on its own node', async (cluster) => {
  const lead = await cluster.leader();
  const [a, b] = [await cluster.leaf('a'), await cluster.leaf('b')];
  const got: string[] = [];
  for (const bus of [lead, a, b]) {
    await cluster.until(
      bus.subscribe('t\\..*', (message) => got.push(`${bus.node}:${message.payload}:${message.source}`)),
    );
  }
  for (const bus of [lead, a, b]) {
    const receipt = await cluster.until(bus.publish('t.x', bus.node));
    assert.deepEqual(
      { ...receipt, id: '' },
      { id: '', matched: 3, stored: 0, spooled: 0, level: 'memory', unreachable: [] },
    );
  }
  await cluster.clock.advance(10);
  const expected = ['lead', 'a', 'b'].flatMap((to) => ['lead', 'a', 'b'].map((from) => `${to}:${from}:${from}`));
  assert.deepEqual(got.sort(), expected.sort());
});

withCluster('once createBus has resolved, a leaf routes to everything that is subscribed', async (cluster) => {
  const lead = await cluster.leader();
  await cluster.until(lead.subscribe('t', () => {}));
  const a = await cluster.leaf('a');
  assert.equal(a.explain('t').routes.length, 1);
  await cluster.until(a.subscribe('t', () => {}));
  for (let i = 0; i < 1500; i++) await cluster.until(lead.subscribe(`many\\.${i}`, () => {}));
  const b = await cluster.leaf('b');
  assert.equal(b.explain('t').routes.length, 2);
  assert.equal(b.explain('many.1499').routes.length, 1);
});

withCluster(
  'once subscribe has resolved, a publish on any node that can be reached matches it',
  async (cluster) => {
    await cluster.leader();
    const [a, b] = [await cluster.leaf('a'), await cluster.leaf('b')];
    for (let i = 0; i < 20; i++) {
      await cluster.until(a.subscribe(`only\\.${i}`, () => {}));
      assert.equal(b.explain(`only.${i}`).routes.length, 1);
    }
  },
  { delay: { min: 1, max: 20 } },
);

withCluster('key, headers, id and payload arrive as they were published', async (cluster) => {
  const lead = await cluster.leader();
  const a = await cluster.leaf('a');
  const got: Record<string, unknown>[] = [];
  await cluster.until(lead.subscribe('.*', (message) => got.push(message.toJSON())));
  const payload = { n: 1n, at: new Date(5), bytes: new Uint8Array([1, 2]), list: [null, true, 'ü', 1.5] };
  await cluster.until(a.publish('x', payload, { id: 'my-id', key: 'k', headers: { trace: 't' } }));
  await cluster.until(a.publish('y', 'plain'));
  const [x, y] = got;
  assert.deepEqual(
    { ...x, publishedAt: 0 },
    { id: 'my-id', topic: 'x', payload, headers: { trace: 't' }, key: 'k', publishedAt: 0, source: 'a' },
  );
  assert.equal(y?.payload, 'plain');
  assert.match(String(y?.id), /^[0-9a-f]{16}\.\d+$/);
});

withCluster(
  'a cut link: both sides report suspect, publishes name whom they cannot reach, and nothing is lost or doubled',
  async (cluster) => {
    const lead = await cluster.leader();
    const a = await cluster.leaf('a');
    const [leadEvents, aEvents] = [eventsOf(lead), eventsOf(a)];
    const got: unknown[] = [];
    await cluster.until(lead.subscribe('n', (message) => got.push(message.payload), { name: 'counter' }));
    const owed: number[] = [];
    let named = 0;
    let next = 0;
    const publish = async (): Promise<void> => {
      const n = next++;
      const receipt = await a.publish('n', n);
      if (receipt.unreachable.length === 0) owed.push(n);
      else {
        assert.deepEqual(receipt.unreachable, ['lead/counter']);
        named++;
      }
    };
    const pending: Promise<void>[] = [];
    const during = async (ms: number): Promise<void> => {
      for (let t = 0; t < ms; t += 50) {
        pending.push(publish());
        await cluster.clock.advance(50);
      }
    };
    await during(1000);
    cluster.network.cut('lead', 'a');
    await during(10_000);
    assert.ok(leadEvents.some((event) => event.type === 'node.suspect' && event.node === 'a'));
    assert.ok(aEvents.some((event) => event.type === 'node.suspect' && event.node === 'lead'));
    assert.ok(aEvents.some((event) => event.type === 'leader.lost'));
    cluster.network.heal('lead', 'a');
    await during(5000);
    await cluster.until(Promise.all(pending));
    assert.ok(aEvents.some((event) => event.type === 'leader.found'));
    assert.ok(named > 100, `${named} named`);
    assert.ok(owed.length > 100, `${owed.length} owed`);
    assert.deepEqual(
      got.filter((n) => owed.includes(n as number)),
      owed,
    );
    assert.equal(new Set(got).size, got.length);
    assert.ok(!leadEvents.some((event) => event.type === 'node.down'));
  },
);

withCluster('what was emitted while a node is suspect waits and arrives in order when it is back', async (cluster) => {
  await cluster.leader();
  const [a, b] = [await cluster.leaf('a'), await cluster.leaf('b')];
  const got: unknown[] = [];
  await cluster.until(b.subscribe('n', (message) => got.push(message.payload)));
  cluster.network.cut('lead', 'b');
  await cluster.clock.advance(5000);
  for (let n = 0; n < 100; n++) assert.equal(a.emit('n', n), true);
  await cluster.clock.advance(1000);
  assert.deepEqual(got, []);
  cluster.network.heal('lead', 'b');
  await cluster.clock.advance(5000);
  assert.deepEqual(
    got,
    Array.from({ length: 100 }, (_, n) => n),
  );
});

withCluster(
  'a node that stays away is down: its routes go, what was emitted to it is counted as dropped, and it may return',
  async (cluster) => {
    const lead = await cluster.leader();
    const [a, b] = [await cluster.leaf('a'), await cluster.leaf('b')];
    const got: unknown[] = [];
    await cluster.until(b.subscribe('n', (message) => got.push(message.payload), { name: 'sub-b' }));
    const [leadEvents, aEvents] = [eventsOf(lead), eventsOf(a)];
    cluster.network.cut('lead', 'b');
    await cluster.clock.advance(5000);
    for (let n = 0; n < 10; n++) a.emit('n', n);
    await cluster.clock.advance(15_000);
    for (const events of [leadEvents, aEvents])
      assert.ok(events.some((event) => event.type === 'node.down' && event.node === 'b'));
    assert.deepEqual(
      aEvents.find((event) => event.type === 'message.dropped'),
      { type: 'message.dropped', subscription: 'sub-b', node: 'b', count: 10, reason: 'unreachable' },
    );
    assert.equal((await cluster.until(a.publish('n', 'nobody'))).matched, 0);
    cluster.network.heal('lead', 'b');
    await cluster.clock.advance(5000);
    const receipt = await cluster.until(a.publish('n', 'back'));
    assert.deepEqual([receipt.matched, receipt.unreachable], [1, []]);
    await cluster.clock.advance(100);
    assert.deepEqual(got, ['back']);
  },
);

withCluster(
  'a leader that returns learns everything again, and what was subscribed meanwhile is not lost',
  async (cluster) => {
    const first = await cluster.leader();
    const [a, b] = [await cluster.leaf('a'), await cluster.leaf('b')];
    const got: unknown[] = [];
    await cluster.until(b.subscribe('before', (message) => got.push(message.payload), { name: 'before' }));
    const epoch = (await a.status()).leader?.epoch;
    cluster.crash(first, [a, b]);
    await cluster.clock.advance(2000);
    // Without a leader, subscribing holds up nobody and publishing names whom it cannot reach.
    await cluster.until(
      b.subscribe('meanwhile', (message) => got.push(message.payload), { name: 'meanwhile' }),
      10,
    );
    assert.deepEqual((await cluster.until(a.publish('before', 0), 10)).unreachable, ['b/before']);
    assert.equal((await cluster.until(b.publish('meanwhile', 'own node'), 10)).matched, 1);
    await first.close({ timeout: 0 }).catch(() => {});
    cluster.network.heal('lead', 'a');
    cluster.network.heal('lead', 'b');
    const second = await cluster.leader();
    await cluster.clock.advance(6000);
    for (const node of [second, a]) {
      for (const topic of ['before', 'meanwhile']) {
        const receipt = await cluster.until(node.publish(topic, `${topic} from ${node.node}`));
        assert.deepEqual([receipt.matched, receipt.unreachable], [1, []]);
      }
    }
    await cluster.clock.advance(100);
    assert.equal(got.length, 5);
    const later = (await a.status()).leader?.epoch;
    assert.ok(epoch !== undefined && later !== undefined);
    assert.ok(Number(later.split('.')[1]) > Number(epoch.split('.')[1]), `${later} is above ${epoch}`);
  },
);

withCluster(
  'until a new leader has settled, a member keeps those that it does not name yet, as unreachable',
  async (cluster) => {
    const first = await cluster.leader();
    const [a, b] = [await cluster.leaf('a'), await cluster.leaf('b')];
    await cluster.until(b.subscribe('t', () => {}, { name: 's' }));
    cluster.crash(first, [a, b]);
    await cluster.clock.advance(1000);
    await first.close({ timeout: 0 }).catch(() => {});
    cluster.network.heal('lead', 'a'); // b stays away
    await cluster.leader();
    await cluster.clock.advance(3000);
    assert.equal((await a.status()).leader?.linked, true);
    assert.deepEqual((await cluster.until(a.publish('t', 1))).unreachable, ['b/s']);
    await cluster.clock.advance(8000);
    assert.equal((await cluster.until(a.publish('t', 2))).matched, 0);
  },
);

withCluster(
  'a name whose link is alive refuses a newcomer; when the link has gone, the newcomer replaces it',
  async (cluster) => {
    const lead = await cluster.leader();
    const a = await cluster.leaf('a');
    await assert.rejects(cluster.leaf('a', { joinTimeout: 2000 }), failsWith('NAME_TAKEN'));
    await assert.rejects(cluster.leaf('lead', { joinTimeout: 2000 }), failsWith('NAME_TAKEN'));
    const events = eventsOf(lead);
    cluster.crash(a, [lead]);
    await cluster.clock.advance(10);
    cluster.network.heal('a', 'lead');
    await cluster.leaf('a');
    const joined = events.filter((event) => event.type === 'node.joined');
    assert.equal(joined.length, 1);
  },
);

withCluster('a wrong secret, another cluster and other frame limits are refused at once', async (cluster) => {
  await cluster.leader('lead', { secret: 'a secret of the cluster' });
  const refused = failsWith('HANDSHAKE_REFUSED');
  await assert.rejects(cluster.leaf('a', { secret: 'another secret of it' }), refused);
  await assert.rejects(cluster.leaf('a'), refused);
  await assert.rejects(cluster.leaf('a', { secret: 'a secret of the cluster', cluster: 'other' }), refused);
  await assert.rejects(cluster.leaf('a', { secret: 'a secret of the cluster', limits: { frame: 2_000_000 } }), refused);
  await cluster.leaf('a', { secret: 'a secret of the cluster' });
});

withCluster('with larger frames, larger payloads travel: up to half of a frame', async (cluster) => {
  const mebibyte = 1024 * 1024;
  const limits = { frame: 24 * mebibyte, payload: 12 * mebibyte };
  const lead = await cluster.leader('lead', { limits });
  const a = await cluster.leaf('a', { limits });
  const sizes: number[] = [];
  await cluster.until(lead.subscribe<Uint8Array>('t', ({ payload }) => void sizes.push(payload.length)));
  // The largest payload of the usual frame has four.
  await cluster.until(a.publish('t', new Uint8Array(11 * mebibyte)));
  assert.deepEqual(sizes, [11 * mebibyte]);
  await assert.rejects(cluster.until(a.publish('t', new Uint8Array(12 * mebibyte))), failsWith('PAYLOAD_TOO_LARGE'));
});

withCluster('without a leader, opening a bus fails with NO_LEADER after joinTimeout', async (cluster) => {
  const before = cluster.clock.monotonic();
  await assert.rejects(cluster.leaf('a', { joinTimeout: 3000 }), failsWith('NO_LEADER'));
  assert.ok(cluster.clock.monotonic() - before <= 4000);
});

withCluster(
  'a full mailbox on another node holds publishers back, and every message arrives once and in order',
  async (cluster) => {
    const lead = await cluster.leader();
    const a = await cluster.leaf('a');
    const got: unknown[] = [];
    const sub = await cluster.until(
      lead.subscribe('n', (message) => got.push(message.payload), { limits: { messages: 100 } }),
    );
    sub.pause();
    let emitted = 0;
    while (a.emit('n', emitted)) emitted++;
    assert.ok(emitted >= 8192 && emitted < 9000, `${emitted} fit into the outbox`);
    const blocked = a.publish('n', 'waits', { timeout: 500 });
    blocked.catch(() => {});
    await cluster.clock.advance(1000);
    await assert.rejects(blocked, failsWith('TIMEOUT'));
    assert.equal(sub.stats().waiting, 100);
    sub.resume();
    await cluster.clock.advance(20_000);
    assert.deepEqual(
      got,
      Array.from({ length: emitted }, (_, n) => n),
    );
  },
);

withCluster('a full mailbox behind the leader holds publishers back through the relay', async (cluster) => {
  await cluster.leader();
  const [a, b, c] = [await cluster.leaf('a'), await cluster.leaf('b'), await cluster.leaf('c')];
  const got: string[] = [];
  const sub = await cluster.until(
    b.subscribe('n', (message) => got.push(`${message.source}${message.payload}`), { limits: { messages: 100 } }),
  );
  sub.pause();
  const pending: Promise<unknown>[] = [];
  for (let n = 0; n < 3000; n++) for (const bus of [a, c, b]) pending.push(bus.publish('n', n, { timeout: 60_000 }));
  const outcomes = Promise.allSettled(pending);
  await cluster.clock.advance(1000);
  assert.equal(sub.stats().waiting, 100);
  sub.resume();
  const refused = (await cluster.until(outcomes)).filter(({ status }) => status === 'rejected').length;
  await cluster.clock.advance(1000);
  // Publishers on b itself wait in the mailbox's own queue, which is bounded too: those are told MAILBOX_FULL.
  assert.equal(got.length + refused, 9000);
  for (const source of ['a', 'c']) {
    const numbers = got.filter((text) => text.startsWith(source)).map((text) => Number(text.slice(1)));
    assert.deepEqual(
      numbers,
      Array.from({ length: 3000 }, (_, n) => n),
    );
  }
});

withCluster(
  'a mailbox that rejects says so to a publisher on another node, and what is emitted is counted as refused',
  async (cluster) => {
    const lead = await cluster.leader();
    const a = await cluster.leaf('a');
    const sub = await cluster.until(
      lead.subscribe('n', () => {}, { name: 'small', limits: { messages: 2, overflow: 'reject' } }),
    );
    sub.pause();
    const events = eventsOf(a);
    await cluster.until(a.publish('n', 1));
    await cluster.until(a.publish('n', 2));
    await assert.rejects(cluster.until(a.publish('n', 3)), (error: BusError) => {
      assert.equal(error.code, 'MAILBOX_FULL');
      assert.deepEqual(error.failures, [{ subscription: 'small', node: 'lead', code: 'MAILBOX_FULL' }]);
      assert.equal(error.receipt?.matched, 1);
      return true;
    });
    assert.equal(a.emit('n', 4), true);
    await cluster.clock.advance(100);
    assert.deepEqual(
      events.filter((event) => event.type === 'message.dropped'),
      [{ type: 'message.dropped', subscription: 'small', node: 'lead', count: 1, reason: 'refused' }],
    );
    assert.equal(sub.stats().refused, 2);
  },
);

withCluster('closing a leaf sends what it has emitted first, and the others see it leave', async (cluster) => {
  const lead = await cluster.leader();
  const [a, b] = [await cluster.leaf('a'), await cluster.leaf('b')];
  const got: unknown[] = [];
  await cluster.until(b.subscribe('n', (message) => got.push(message.payload)));
  const events = eventsOf(b);
  for (let n = 0; n < 3000; n++) a.emit('n', n);
  await cluster.until(a.close());
  await cluster.clock.advance(100);
  assert.equal(got.length, 3000);
  assert.deepEqual(
    events.map((event) => event.type),
    ['node.left'],
  );
  assert.equal((await lead.status()).members.length, 2);
});

withCluster(
  'status and unsubscribe reach other nodes through the leader, and say when they cannot',
  async (cluster) => {
    const lead = await cluster.leader();
    const [a, b] = [await cluster.leaf('a'), await cluster.leaf('b')];
    await cluster.until(b.subscribe('t', () => {}, { name: 's' }));
    const status = await cluster.until(a.status({ node: 'b' }));
    assert.deepEqual(
      status.subscriptions.map(({ name, pattern }) => [name, pattern]),
      [['s', 't']],
    );
    assert.deepEqual((await cluster.until(lead.status({ node: 'a' }))).node, 'a');
    await cluster.until(a.unsubscribe('s', { node: 'b' }));
    assert.equal(a.explain('t').routes.length, 0);
    await assert.rejects(cluster.until(a.unsubscribe('s', { node: 'b' })), failsWith('NOT_FOUND'));
    await assert.rejects(cluster.until(a.status({ node: 'nobody' })), failsWith('NODE_UNREACHABLE'));
    cluster.network.cut('a', 'lead');
    await cluster.clock.advance(4000);
    await assert.rejects(cluster.until(a.status({ node: 'b' })), failsWith('NO_LEADER'));
  },
);

withCluster('what a node has confirmed before it left is confirmed, also through the relay', async (cluster) => {
  await cluster.leader();
  const [a, b] = [await cluster.leaf('a'), await cluster.leaf('b')];
  for (let round = 0; round < 20; round++) {
    let handled = 0;
    let closed: Promise<void> | undefined;
    const sub = await cluster.until(
      b.subscribe('t', () => {
        if (++handled === 3) closed = sub.close({ timeout: 1000 });
      }),
    );
    const receipts = await cluster.until(Promise.all([1, 2, 3].map((n) => a.publish('t', n))));
    assert.equal(handled, 3);
    assert.deepEqual(
      receipts.map(({ unreachable }) => unreachable),
      [[], [], []],
    );
    await cluster.until(closed ?? Promise.reject(new Error('the third message did not come')));
  }
});

withCluster('a node that closes because its subscription was removed answers first', async (cluster) => {
  const lead = await cluster.leader();
  const a = await cluster.leaf('a');
  await cluster.until(lead.subscribe('t', () => {}, { name: 'writer' }));
  lead.on('subscription.removed', () => void lead.close());
  await cluster.until(a.unsubscribe('writer', { node: 'lead' }), 1000);
});

withCluster('what was asked over a link that closes fails at once', async (cluster) => {
  const lead = await cluster.leader();
  const a = await cluster.leaf('a');
  await cluster.until(lead.subscribe('t', () => new Promise(() => {}), { name: 'busy' }));
  await cluster.until(a.publish('t', 1));
  const asked = assert.rejects(a.unsubscribe('busy', { node: 'lead', timeout: 20_000 }), failsWith('NODE_UNREACHABLE'));
  await cluster.clock.advance(50);
  cluster.network.reset('lead', 'a');
  await cluster.until(asked, 1000);
});

withCluster('a status of another node lists its first 1,000 subscriptions, and counts them all', async (cluster) => {
  const lead = await cluster.leader();
  const a = await cluster.leaf('a');
  for (let i = 0; i < 1100; i++) await cluster.until(lead.subscribe(`t\\.${i}`, () => {}));
  const status = await cluster.until(a.status({ node: 'lead' }));
  assert.equal(status.subscriptions.length, 1000);
  assert.equal(status.tree.children.find(({ name }) => name === 'subs')?.size, 1100);
  assert.equal((await a.status()).members.find(({ node }) => node === 'lead')?.subscriptions, 1100);
  assert.equal((await lead.status()).subscriptions.length, 1100);
});

withCluster('a link that takes nothing for a second is told of', async (cluster) => {
  const lead = await cluster.leader();
  const a = await cluster.leaf('a');
  await cluster.until(lead.subscribe('n', () => {}));
  const events = eventsOf(a);
  cluster.network.cut('a', 'lead', 'forth');
  const payload = 'x'.repeat(10_000);
  for (let n = 0; n < 100; n++) {
    a.emit('n', payload);
    await cluster.clock.advance(1);
  }
  await cluster.clock.advance(1500);
  assert.deepEqual(
    events.filter((event) => event.type === 'link.slow').map((event) => ({ ...event, waiting: 0 })),
    [{ type: 'link.slow', node: 'lead', waiting: 0 }],
  );
  cluster.network.heal('a', 'lead', 'forth');
  await cluster.clock.advance(1000);
  assert.equal((await lead.status()).subscriptions[0]?.handled, 100);
});

withCluster('a leader takes as many connections as it was told, and one more when one has gone', async (cluster) => {
  await cluster.leader('lead', { limits: { connections: 1 } });
  const a = await cluster.leaf('a');
  await assert.rejects(cluster.leaf('b', { joinTimeout: 2000 }), failsWith('NO_LEADER'));
  await cluster.until(a.close());
  await cluster.leaf('b');
});

withCluster('a leader takes as many members as a cluster may have, and those that it knows again', async (cluster) => {
  const { members } = registryLimits;
  registryLimits.members = 2;
  try {
    await cluster.leader();
    const a = await cluster.leaf('a');
    await assert.rejects(cluster.leaf('b'), failsWith('HANDSHAKE_REFUSED'));
    await cluster.until(a.close());
    await cluster.leaf('b');
  } finally {
    registryLimits.members = members;
  }
});

withCluster('what is emitted to a node that is suspect waits up to 4 MiB', async (cluster) => {
  const lead = await cluster.leader();
  const a = await cluster.leaf('a');
  const got: unknown[] = [];
  await cluster.until(lead.subscribe('n', ({ payload }) => got.push((payload as Uint8Array).length)));
  cluster.network.cut('lead', 'a');
  await cluster.clock.advance(3_500);
  let emitted = 0;
  while (a.emit('n', new Uint8Array(100_000))) emitted++;
  assert.ok(emitted >= 40 && emitted <= 42, `${emitted} fit into the outbox`);
  cluster.network.heal('lead', 'a');
  await cluster.clock.advance(5_000);
  assert.equal(got.length, emitted);
});

withCluster(
  'a refusal that was lost with its link is told again, so a receipt never claims what was refused',
  async (cluster) => {
    const lead = await cluster.leader();
    const a = await cluster.leaf('a');
    const sub = await cluster.until(
      lead.subscribe('n', () => {}, { name: 'small', limits: { messages: 1, overflow: 'reject' } }),
    );
    sub.pause();
    await cluster.until(a.publish('n', 1));
    cluster.network.cut('lead', 'a', 'forth'); // what the leader answers does not arrive
    const refused = assert.rejects(a.publish('n', 2, { timeout: 60_000 }), failsWith('MAILBOX_FULL'));
    await cluster.clock.advance(100);
    cluster.network.reset('lead', 'a');
    cluster.network.heal('lead', 'a', 'forth');
    await cluster.until(refused);
  },
);

withCluster(
  'many publishers on many nodes wait for a mailbox of one place, and none waits for ever',
  async (cluster) => {
    const lead = await cluster.leader();
    const leaves = [await cluster.leaf('a'), await cluster.leaf('b'), await cluster.leaf('c')];
    const got: unknown[] = [];
    await cluster.until(
      lead.subscribe(
        'n',
        (message) => {
          got.push(message.payload);
          return new Promise<void>((done) => cluster.clock.timer(2, done));
        },
        { limits: { messages: 2 } },
      ),
    );
    const pending = [lead, ...leaves].flatMap((bus) => [1, 2, 3, 4, 5].map((n) => bus.publish('n', `${bus.node}${n}`)));
    const outcomes = await cluster.until(Promise.allSettled(pending));
    await cluster.until(lead.drain());
    const taken = outcomes.filter(({ status }) => status === 'fulfilled').length;
    assert.equal(got.length, taken);
    assert.ok(taken >= 15, `${taken} of 20 were taken`);
  },
);

withCluster('a handler on one node may publish to another: its delivery settles after the receipt', async (cluster) => {
  const lead = await cluster.leader();
  const [a, b] = [await cluster.leaf('a'), await cluster.leaf('b')];
  const got: unknown[] = [];
  await cluster.until(b.subscribe('out', (message) => got.push(message.payload)));
  const sub = await cluster.until(
    a.subscribe('in', async (message, context) => context.publish('out', message.payload)),
  );
  await cluster.until(lead.publish('in', 'x'));
  await cluster.until(sub.drain());
  await cluster.clock.advance(10);
  assert.deepEqual(got, ['x']);
});

for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
  withCluster(
    `links that break at random lose nothing, double nothing and keep each publisher's order (seed ${seed})`,
    async (cluster) => {
      const lead = await cluster.leader();
      const leaves = [await cluster.leaf('a'), await cluster.leaf('b'), await cluster.leaf('c')];
      const got = new Map<string, number[]>();
      for (const bus of [leaves[1], lead]) {
        await cluster.until(
          (bus as Bus).subscribe(
            'n',
            (message) => {
              const key = `${bus?.node}<${message.source}`;
              got.set(key, [...(got.get(key) ?? []), message.payload as number]);
              // Now and then slow enough for the mailbox to fill, so that messages are refused and sent again.
              if (cluster.clock.random() < 0.35) return new Promise<void>((done) => cluster.clock.timer(10, done));
              return undefined;
            },
            { limits: { messages: 40 } },
          ),
        );
      }
      const owed = new Map<string, number[]>();
      const pending: Promise<void>[] = [];
      let n = 0;
      for (let round = 0; round < 200; round++) {
        for (const bus of [leaves[0], leaves[2], lead] as Bus[]) {
          for (let i = 0; i < 5; i++) {
            const number = n++;
            pending.push(
              bus.publish('n', number).then(
                ({ unreachable }) => {
                  for (const to of ['b', 'lead']) {
                    if (unreachable.some((name) => name.startsWith(`${to}/`))) continue;
                    owed.set(`${to}<${bus.node}`, [...(owed.get(`${to}<${bus.node}`) ?? []), number]);
                  }
                },
                (error: unknown) => assert.ok(error instanceof BusError),
              ),
            );
          }
        }
        if (cluster.clock.random() < 0.1)
          cluster.network.reset('lead', ['a', 'b', 'c'][Math.floor(cluster.clock.random() * 3)] as string);
        if (cluster.clock.random() < 0.03) {
          const name = ['a', 'b', 'c'][Math.floor(cluster.clock.random() * 3)] as string;
          cluster.network.cut('lead', name);
          cluster.clock.timer(4000, () => cluster.network.heal('lead', name));
        }
        await cluster.clock.advance(50);
      }
      await cluster.clock.advance(15_000);
      await cluster.until(Promise.all(pending));
      await cluster.clock.advance(1000);
      for (const [key, numbers] of got) {
        assert.deepEqual(
          numbers,
          [...numbers].sort((x, y) => x - y),
          `${key} in order, once`,
        );
        assert.equal(new Set(numbers).size, numbers.length);
      }
      for (const [key, numbers] of owed) {
        const have = new Set(got.get(key));
        assert.deepEqual(
          numbers.filter((number) => !have.has(number)),
          [],
          `${key} has all that its receipts say`,
        );
      }
      assert.ok([...owed.values()].flat().length > 1000);
    },
    { seed, delay: { min: 1, max: 15 } },
  );
}
