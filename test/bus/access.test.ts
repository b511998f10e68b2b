import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Intruder } from '../../soak/frames/intruder.ts';
import { registryLimits } from '../../src/bus/network/registry-allowance.ts';
import type { AccessRule } from '../../src/bus/options/access.ts';
import { type BusOptions, resolveOptions } from '../../src/bus/options/options.ts';
import type { BusError } from '../../src/core/errors.ts';
import { TestCluster } from '../../src/testing/cluster.ts';
import { parseAddress } from '../../src/transport/address.ts';
import { LogBook, refusal } from '../core/testbed.ts';
import { DurableWorld } from './durable-world.ts';

/** Node 'shop' may deal with orders but for the secret ones, the others with everything. */
const access: readonly AccessRule[] = [
  {
    nodes: 'shop.*',
    publish: { allow: ['orders\\..*'], deny: ['orders\\.secret'] },
    subscribe: { allow: ['orders\\..*', 'replies'], deny: ['orders\\.secret'] },
    spawn: { allow: ['clerk', 'boss'], deny: ['boss'] },
  },
  { nodes: 'lead|home.*', publish: all(), subscribe: all(), spawn: all(), manage: true },
];

function all() {
  return { allow: ['.*'] };
}

/** A leader and a home that enforce the rules, and a shop that does not. */
async function town(options: { direct?: boolean; home?: readonly AccessRule[] | undefined } = {}) {
  const world = new DurableWorld();
  const { direct = false } = options;
  const home = 'home' in options ? options.home : access;
  await world.start('lead', { access });
  await world.start('home', {
    ...(home && { access: home }),
    ...(direct && { listen: 'tcp://10.0.0.2:1900', insecure: true }),
  });
  await world.start('shop', { ...(direct && { listen: 'tcp://10.0.0.3:1900', insecure: true }) });
  const denied = (node: string) =>
    world.seen(node, 'access.denied').map((each) => `${each.node} ${each.action} ${each.what}`);
  const counted = (node: string) =>
    world
      .bus(node)
      .status()
      .then((status) => status.refused?.denied);
  return { world, denied, counted, bus: (node: string) => world.bus(node) };
}

const denied = (...texts: string[]) => refusal('DENIED', ...texts);

test('outside its rules a node is refused, typed and counted, and the rest of its traffic goes on unharmed', async () => {
  const { world, bus, counted, denied: told } = await town();
  const got: string[] = [];
  await world.until(bus('home').subscribe('.*', ({ topic }) => void got.push(topic)));
  bus('home').handlers.define('clerk', () => ({}));
  bus('home').handlers.define('boss', () => ({}));
  const shop = bus('shop');
  const attempts: [string, () => Promise<unknown>, RegExp | undefined][] = [
    ['publish', () => shop.publish('orders.new', 1), undefined],
    ['publish a denied topic', () => shop.publish('orders.secret', 1), /^DENIED$/],
    ['publish what no pattern allows', () => shop.publish('prices.new', 1), /^DENIED$/],
    ['publish a $ topic', () => shop.publish('$sys.node.down', 1), /^TOPIC_INVALID$/],
    ['subscribe', () => shop.subscribe('replies', () => {}), undefined],
    ['subscribe to more', () => shop.subscribe('.*', () => {}), /^DENIED$/],
    ['subscribe to what is denied in part', () => shop.subscribe('orders\\..*', () => {}), /^DENIED$/],
    ['spawn', () => shop.spawn('clerk', { name: 'c' }), undefined],
    ['spawn a denied kind', () => shop.spawn('boss', { name: 'b' }), /^DENIED$/],
    ['spawn a kind that no rule allows', () => shop.spawn('thief', { name: 't' }), /^DENIED$/],
    ['spawn a kind that nobody has registered', () => bus('home').spawn('nobody', { name: 'n' }), /^UNPLACEABLE$/],
    ['publish again', () => shop.publish('orders.new', 2), undefined],
  ];
  for (const [what, attempt, code] of attempts) {
    const outcome = await world.until(
      attempt().then(
        () => undefined,
        (error: BusError) => error.code as string,
      ),
    );
    if (code === undefined) assert.equal(outcome, undefined, what);
    else assert.match(String(outcome), code, what);
  }
  await world.clock.advance(100);
  assert.deepEqual(got, ['orders.new', 'orders.new']);
  assert.deepEqual(told('lead').sort(), [
    'shop publish orders.secret',
    'shop publish prices.new',
    'shop spawn boss',
    'shop spawn thief',
    'shop subscribe .*',
    'shop subscribe orders\\..*',
  ]);
  assert.equal(await counted('lead'), 6);
  await world.close();
});

for (const direct of [false, true]) {
  for (const durable of [false, true]) {
    const how = `${direct ? 'over a direct link' : 'through the leader'}, to a ${durable ? 'durable' : 'memory'} mailbox`;
    test(`what a node may not publish is refused ${how}, among what it may, in order`, async () => {
      const { world, bus, counted } = await town({ direct });
      const got: unknown[] = [];
      const options = { name: 's', ...(durable && { durable: true as const }) };
      await world.until(bus('home').subscribe('.*', ({ payload }) => void got.push(payload), options));
      if (direct) {
        await world.until(bus('shop').publish('orders.new', 'first'));
        await world.clock.advance(1000);
      }
      const topics = Array.from({ length: 90 }, (_, i) => (i % 3 === 0 ? 'orders.secret' : 'orders.new'));
      const sent = topics.map((topic, i) =>
        bus('shop')
          .publish(topic, i)
          .then(
            () => 'taken',
            (error: BusError) => `${error.code} ${error.failures?.map(({ code }) => code)}`,
          ),
      );
      const outcomes = await world.until(Promise.all(sent));
      assert.deepEqual(
        outcomes,
        topics.map((topic) => (topic === 'orders.secret' ? 'DENIED DENIED' : 'taken')),
      );
      await world.clock.advance(1000);
      const numbers = topics.flatMap((topic, i) => (topic === 'orders.secret' ? [] : [i]));
      assert.deepEqual(got, direct ? ['first', ...numbers] : numbers);
      // On the way through the leader it is the leader that refuses; directly only the home can.
      assert.deepEqual([await counted('lead'), await counted('home')], direct ? [0, 30] : [30, 0]);
      await world.close();
    });
  }
}

test('a home holds a publisher to its rules, also where the leader lets everything pass', async () => {
  const cluster = new TestCluster();
  const lead = await cluster.leader('lead');
  const home = await cluster.leaf('home', { access });
  const shop = await cluster.leaf('shop');
  const got: string[] = [];
  await cluster.until(home.subscribe('.*', ({ topic }) => void got.push(topic)));
  await assert.rejects(cluster.until(shop.publish('orders.secret', 1)), denied('home/sub-1 (DENIED)'));
  await cluster.until(shop.publish('orders.new', 1));
  await cluster.until(lead.publish('orders.secret', 1));
  await cluster.clock.advance(100);
  assert.deepEqual(got, ['orders.new', 'orders.secret']);
  await cluster.close();
});

test('what is emitted outside the rules is dropped and told, and counted at the other end', async () => {
  const { world, bus, counted } = await town();
  await world.until(bus('home').subscribe('.*', () => {}, { name: 's' }));
  for (let i = 0; i < 5; i++) bus('shop').emit('orders.secret', i);
  await world.clock.advance(100);
  assert.deepEqual(
    world.seen('shop', 'message.dropped').map(({ subscription, count, reason }) => [subscription, count, reason]),
    [['s', 5, 'refused']],
  );
  assert.equal(await counted('lead'), 5);
  await world.close();
});

test('the same of the same node is told once a minute, with how often it was', async () => {
  const { world, bus } = await town();
  await world.until(bus('home').subscribe('.*', () => {}));
  const knock = async (times: number) => {
    for (let i = 0; i < times; i++)
      await assert.rejects(world.until(bus('shop').publish('orders.secret', i)), denied());
  };
  await knock(7);
  await world.clock.advance(60_000);
  await knock(2);
  assert.deepEqual(
    world.seen('lead', 'access.denied').map(({ node, action, what, count }) => [node, action, what, count]),
    [
      ['shop', 'publish', 'orders.secret', 1],
      ['shop', 'publish', 'orders.secret', 7],
    ],
  );
  await world.close();
});

test('what a relay has refused stays refused when the link breaks before the publisher hears of it', async () => {
  const { world, bus } = await town({ home: undefined });
  const got: unknown[] = [];
  await world.until(bus('home').subscribe('.*', ({ payload }) => void got.push(payload)));
  await world.until(bus('shop').publish('orders.new', 'before'));
  world.network.cut('lead', 'shop', 'forth');
  // So many that the home confirms, over the next link, before the refused one could be sent again.
  const topics = Array.from({ length: 2000 }, (_, i) => (i === 1500 ? 'orders.secret' : 'orders.new'));
  const sent = topics.map((topic, i) => bus('shop').publish(topic, i, { timeout: 30_000 }));
  const codeOf = (error: BusError): string => error.code;
  const outcomes = Promise.all(sent.map((each) => each.then(() => 'taken', codeOf)));
  await world.clock.advance(20);
  assert.equal(got.length, 2000); // the home goes on behind a number whose refusal never arrives
  world.network.reset('lead', 'shop');
  await world.clock.advance(20);
  world.network.heal('lead', 'shop');
  assert.deepEqual(
    await world.until(outcomes),
    topics.map((topic) => (topic === 'orders.secret' ? 'DENIED' : 'taken')),
  );
  assert.equal(got.length, 2000);
  await world.close();
});

describe('a subscription outside the rules', () => {
  test('leaves nothing behind, here or elsewhere, and its name is free', async () => {
    const { world, bus } = await town();
    const shop = bus('shop');
    await assert.rejects(world.until(shop.subscribe('.*', () => {}, { name: 's' })), denied("subscribe to '.*'"));
    assert.deepEqual((await shop.status()).subscriptions, []);
    assert.equal((await world.until(bus('home').publish('orders.secret', 1))).matched, 0);
    await world.until(shop.subscribe('orders\\.(new|old)', () => {}, { name: 's' }));
    assert.equal((await world.until(bus('home').publish('orders.old', 1))).matched, 1);
    await world.close();
  });

  test('takes nothing of what a node may register, however often it is tried', async () => {
    const { subscriptions } = registryLimits;
    registryLimits.subscriptions = 5;
    try {
      const { world, bus } = await town();
      for (let i = 0; i < 20; i++) await assert.rejects(world.until(bus('shop').subscribe('.*', () => {})), denied());
      for (let i = 0; i < 5; i++) await world.until(bus('shop').subscribe('replies', () => {}));
      assert.equal((await world.until(bus('home').publish('replies', 1))).matched, 5);
      await world.close();
    } finally {
      registryLimits.subscriptions = subscriptions;
    }
  });

  test('is refused to one that says what it likes: nobody is told of it, nor of a mailbox of its own or of another home', async () => {
    const { world, bus, denied: told } = await town();
    await world.durable('home', 'mine', null, { pattern: 'orders\\.new' });
    const connection = await world.until(
      world.network.transport('shop-x').dial(parseAddress('tcp://10.0.0.1:1900'), { timeout: 1000 }),
    );
    const intruder = new Intruder(connection, { node: 'shop-x' });
    assert.ok(await world.until(intruder.greet()));
    const retry = { attempts: 5, delay: 100, factor: 2, maxDelay: 30_000, jitter: 0.2 };
    const entry = (id: string, source: string) => ({
      id,
      name: id,
      pattern: { kind: 'string', source, flags: '' },
      retry,
    });
    const limits = { messages: 10, bytes: 1000, overflow: 'reject', deadLetters: false };
    const policy = { retry, limits, latestOnly: false, filters: [], durability: 'os' };
    const durable = (name: string, home: string, source: string) => {
      const { pattern } = entry('', source);
      return { name: `test/${name}`, id: name, version: 9, home, removed: false, pattern, policy };
    };
    const rest = { where: {}, singleton: false, failover: 'auto', restart: true, options: {} } as const;
    const spec = { kind: 'boss', instances: 1, ...rest };
    intruder.say({
      type: 'join',
      version: 1,
      more: false,
      subscriptions: [entry('a', '.*'), entry('b', 'orders\\.new')],
      durables: [
        durable('c', 'shop-x', '.*'),
        durable('d', 'shop-x', 'orders\\.new'),
        durable('mine', 'shop-x', 'orders\\.new'),
      ],
      placements: [{ name: 'p', id: 'p', version: 5, removed: false, spec, generation: 1, assigned: [] }],
    });
    await world.clock.advance(20);
    intruder.say({
      type: 'part',
      version: 2,
      add: [entry('e', 'prices.*'), entry('f', 'replies')],
      remove: [],
      durables: [durable('g', 'shop-x', 'prices'), durable('h', 'home', 'orders\\.new')],
    });
    await world.clock.advance(100);
    const matched = (topic: string) =>
      bus('home')
        .explain(topic)
        .routes.map(({ subscription }) => subscription)
        .sort();
    assert.deepEqual(matched('orders.secret'), []);
    assert.deepEqual(matched('prices'), []);
    assert.deepEqual(matched('orders.new'), ['b', 'test/d', 'test/mine']);
    assert.deepEqual(matched('replies'), ['f']);
    assert.deepEqual(told('lead').sort(), [
      'shop-x manage durable test/h',
      'shop-x manage durable test/mine',
      'shop-x manage placement p',
      'shop-x subscribe .*',
      'shop-x subscribe prices',
      'shop-x subscribe prices.*',
    ]);
    connection.destroy();
    await world.close();
  });

  test('that was made before is not told of by a leader that comes with rules, and the log says so', async () => {
    const world = new DurableWorld();
    await world.start('lead');
    const log = new LogBook();
    await world.start('shop', { stored: false, logger: log });
    const got: string[] = [];
    for (const pattern of ['.*', 'orders\\.new'])
      await world.until(world.bus('shop').subscribe(pattern, ({ topic }) => void got.push(`${pattern} ${topic}`)));
    await world.die('lead');
    await world.start('lead', { access });
    await world.clock.advance(5000);
    const { matched } = await world.until(world.bus('lead').publish('orders.new', 1));
    await world.clock.advance(100);
    assert.deepEqual([matched, got], [1, ['orders\\.new orders.new']]);
    assert.ok(log.lines.some(({ level, text }) => level === 'warn' && text.includes('do not allow this subscription')));
    await world.close();
  });

  test('is refused when it is durable, whoever is to be its home, and so is attaching to one that is there', async () => {
    const { world, bus } = await town();
    const before = async (node: string) => [...(await bus(node).mailboxes.list())].map(({ name }) => name);
    // Its own store is to be the home: the leader gives no name away.
    await assert.rejects(
      world.durable('shop', 'own', () => {}, { pattern: '.*' }),
      denied(),
    );
    assert.deepEqual(await world.until(before('shop')), []);
    await world.durable('shop', 'own', () => {}, { pattern: 'orders\\.new' });
    // The leader's is: a node without a store asks it.
    await world.start('shop-2', { stored: false });
    await assert.rejects(
      world.durable('shop-2', 'far', () => {}, { pattern: 'orders\\..*' }),
      denied(),
    );
    // Another home has one: it may be known, but not taken from.
    await world.durable('home', 'all', null, { pattern: '.*' });
    const got: unknown[] = [];
    await world.durable('shop', 'all', ({ payload }) => void got.push(payload), { pattern: '.*' });
    await world.until(bus('home').publish('orders.secret', 1));
    await world.clock.advance(5000);
    assert.deepEqual(got, []);
    assert.ok(world.seen('home', 'access.denied').some(({ action, what }) => action === 'subscribe' && what === '.*'));
    await assert.rejects(world.until(bus('shop').front('all')), denied());
    await assert.rejects(
      world.durable('shop', 'all', () => {}, { pattern: 'prices', update: true }),
      denied(),
    );
    await world.close();
  });
});

test('a step with a message outside the rules fails as a whole: nothing of it is published or settled', async () => {
  const { world, bus } = await town();
  await world.durable('home', 'in', null, { pattern: 'orders\\.new', retry: { attempts: 2 } });
  const got: string[] = [];
  await world.durable('home', 'out', ({ topic }) => got.push(topic), { pattern: 'orders\\.(old|secret)' });
  let runs = 0;
  await world.until(
    bus('shop').subscribe(
      'orders\\.new',
      async ({ payload }, context) => {
        runs++;
        await context.publish('orders.old', payload);
        if (payload === 'bad') await context.publish('orders.secret', payload);
      },
      { name: 'in', durable: true },
    ),
  );
  for (const payload of ['bad', 'good']) await world.until(bus('home').publish('orders.new', payload));
  await world.clock.advance(5000);
  assert.deepEqual([got, runs], [['orders.old'], 3]);
  const [letter, ...rest] = await world.until(bus('home').deadLetters.list());
  assert.deepEqual([letter?.payload, rest.length], ['bad', 0]);
  await world.close();
});

test('what was spooled for a home whose rules do not allow it becomes dead letters of its publisher', async () => {
  const { world, bus } = await town();
  await world.durable('home', 'm', null, { pattern: 'orders\\..*' });
  await world.die('home');
  await world.clock.advance(20_000);
  for (const topic of ['orders.secret', 'orders.new']) {
    assert.equal((await world.until(bus('shop').publish(topic, topic))).spooled, 1);
  }
  await world.start('home', { access });
  await world.clock.advance(5000);
  assert.equal((await world.until(bus('home').mailboxes.stats('m'))).waiting, 1);
  const letters = await world.until(bus('shop').deadLetters.list());
  assert.deepEqual(
    letters.map(({ topic }) => topic),
    ['orders.secret'],
  );
  await world.close();
});

test('what is none of its business a node does not get to know or change without manage', async () => {
  const { world, bus } = await town();
  bus('home').handlers.define('clerk', () => ({}));
  bus('home').handlers.define('boss', () => ({}));
  await world.until(bus('home').spawn('boss', { name: 'boss' }));
  await world.durable('home', 'm', null, { pattern: 'orders\\.new' });
  await world.until(bus('home').subscribe('orders\\.new', () => {}, { name: 's' }));
  const shop = bus('shop');
  await world.until(shop.publish('orders.new', 1));
  const boss = shop.placements.get('boss');
  const refused: [string, () => Promise<unknown>][] = [
    ['status', () => shop.status({ node: 'home' })],
    ['mailboxes.clear', () => shop.mailboxes.clear('m')],
    ['mailboxes.remove', () => shop.mailboxes.remove('m', { discard: true })],
    ['deadLettersOf', () => shop.deadLettersOf('home').list()],
    ['unsubscribe', () => shop.unsubscribe('s', { node: 'home' })],
    ['placements.drain', () => shop.placements.drain('home')],
    ['tell', async () => boss?.tell('x')],
    ['stop', async () => boss?.stop()],
  ];
  for (const [what, attempt] of refused) {
    await assert.rejects(world.until(attempt()), denied(), what);
  }
  const clerk = await world.until(shop.spawn('clerk', { name: 'clerk' }));
  await world.until(clerk.stop());
  await world.until(bus('lead').mailboxes.clear('m'));
  await world.close();
});

test('the first rule that matches a node decides; whom none matches may do nothing', async () => {
  const cluster = new TestCluster();
  const rules = [
    { nodes: 'a1', publish: { allow: ['x'] } },
    { nodes: 'a.*', publish: all(), manage: true },
  ];
  const lead = await cluster.leader('lead', { access: rules });
  await cluster.until(lead.subscribe('.*', () => {}));
  const codes = async (node: string) => {
    const bus = await cluster.leaf(node);
    const attempts = [
      () => bus.publish('x', 1),
      () => bus.publish('y', 1),
      () => bus.status({ node: 'lead' }),
      () => bus.subscribe('x', () => {}),
    ];
    const codeOf = (error: BusError): string => error.code;
    return Promise.all(attempts.map((attempt) => cluster.until(attempt().then(() => 'fine', codeOf))));
  };
  assert.deepEqual(await codes('a1'), ['fine', 'DENIED', 'DENIED', 'DENIED']);
  assert.deepEqual(await codes('a2'), ['fine', 'fine', 'fine', 'DENIED']);
  assert.deepEqual(await codes('b'), ['DENIED', 'DENIED', 'DENIED', 'DENIED']);
  await cluster.close();
});

test('what makes no rule is refused, saying where and why', () => {
  const given: [access: unknown, code: 'OPTION_INVALID' | 'PATTERN_INVALID', texts: string[]][] = [
    [{}, 'OPTION_INVALID', ['access', 'a list of rules']],
    [['a'], 'OPTION_INVALID', ['access[0]', 'an object']],
    [[{}], 'PATTERN_INVALID', ['access[0].nodes']],
    [[{ nodes: '(' }], 'PATTERN_INVALID', ['access[0].nodes', '(']],
    [[{ nodes: 'a' }, { nodes: 'b', publsh: {} }], 'OPTION_INVALID', ['access[1]', "did you mean 'publish'?"]],
    [[{ nodes: 'a', publish: ['x'] }], 'OPTION_INVALID', ['access[0].publish', 'an object']],
    [[{ nodes: 'a', publish: { deny: ['x'] } }], 'OPTION_INVALID', ['access[0].publish.allow', "'.*'"]],
    [[{ nodes: 'a', spawn: { allow: ['x', '['] } }], 'PATTERN_INVALID', ['access[0].spawn.allow[1]']],
    [[{ nodes: 'a', manage: 1 }], 'OPTION_INVALID', ['access[0].manage', 'true or false']],
  ];
  for (const [rules, code, texts] of given) {
    assert.throws(() => resolveOptions({ leader: true, access: rules as AccessRule[] }), refusal(code, ...texts));
  }
  assert.throws(() => resolveOptions({ access }), refusal('OPTION_INVALID', 'access', 'stands alone'));
  assert.throws(() => resolveOptions({ shared: 'x', access }), refusal('OPTION_INVALID', 'access', 'shared'));
});

describe('a node with a secret of its own', () => {
  const common = 'a secret of the cluster';
  const secrets = { shop: 'the secret of the shop', home: 'the secret of the home' };

  /** What comes of joining a leader. */
  async function joins(lead: BusOptions, node: string, secret: string | undefined): Promise<string> {
    const cluster = new TestCluster();
    await cluster.leader('lead', { insecure: false, ...lead });
    const options = { joinTimeout: 100, ...(secret !== undefined && { secret }) };
    const codeOf = (error: BusError): string => error.code;
    const outcome = await cluster.leaf(node, options).then(() => 'joins', codeOf);
    await cluster.close();
    return outcome;
  }

  test('proves itself with that one, and with no other: not the common one, not that of another node', async () => {
    const lead = { secret: common, secrets };
    const tries: [node: string, secret: string | undefined, outcome: string][] = [
      ['shop', secrets.shop, 'joins'],
      ['home', secrets.home, 'joins'],
      ['shop', common, 'HANDSHAKE_REFUSED'],
      ['shop', secrets.home, 'HANDSHAKE_REFUSED'],
      ['shop', undefined, 'HANDSHAKE_REFUSED'],
      ['other', common, 'joins'],
      ['other', secrets.shop, 'HANDSHAKE_REFUSED'],
      ['other', undefined, 'HANDSHAKE_REFUSED'],
    ];
    for (const [node, secret, outcome] of tries)
      assert.equal(await joins(lead, node, secret), outcome, `${node} ${secret}`);
  });

  test('is let in alone where there is no common one', async () => {
    assert.equal(await joins({ secrets }, 'shop', secrets.shop), 'joins');
    assert.equal(await joins({ secrets }, 'other', secrets.shop), 'HANDSHAKE_REFUSED');
    assert.equal(await joins({ secrets }, 'other', undefined), 'HANDSHAKE_REFUSED');
    assert.equal(await joins({ secrets }, 'shop', undefined), 'HANDSHAKE_REFUSED');
  });

  test('reaches another such node through the leader: the two cannot prove themselves to each other', async () => {
    const cluster = new TestCluster();
    const lead = await cluster.leader('lead', { secrets });
    const home = await cluster.leaf('home', { secret: secrets.home, listen: 'tcp://10.0.0.2:1900' });
    const shop = await cluster.leaf('shop', { secret: secrets.shop, listen: 'tcp://10.0.0.3:1900' });
    const got: unknown[] = [];
    await cluster.until(home.subscribe('x', ({ payload }) => void got.push(payload)));
    for (let i = 0; i < 10; i++) {
      await cluster.until(shop.publish('x', i));
      await cluster.clock.advance(1000);
    }
    assert.deepEqual(got, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert.deepEqual(
      (await home.status()).links.map(({ node }) => node),
      ['lead'],
    );
    assert.deepEqual((await lead.status()).links.map(({ node }) => node).sort(), ['home', 'shop']);
    await cluster.close();
  });

  test('is given as a map of secrets, which no error shows, to a node that listens', () => {
    const given: [secrets: unknown, texts: string[]][] = [
      [['a'], ['secrets', 'an object']],
      [{ shop: 'short' }, ["the secret of 'shop'", 'at least 16']],
      [{ shop: 7 }, ["the secret of 'shop'", 'a string']],
      [{ shop: undefined }, ["secrets has none for 'shop'"]],
    ];
    for (const [each, texts] of given) {
      const options = { leader: true as const, secrets: each as Record<string, string> };
      assert.throws(
        () => resolveOptions(options),
        (error) => {
          assert.ok(!String(error).includes('short'));
          return refusal('OPTION_INVALID', ...texts)(error);
        },
      );
    }
    assert.throws(() => resolveOptions({ leader: true, secrets: { 'a b': common } }), refusal('NAME_INVALID', 'a b'));
    assert.throws(() => resolveOptions({ leader: 'tcp://h:1', secrets }), refusal('OPTION_INVALID', 'listen'));
    assert.throws(() => resolveOptions({ shared: 'x', secrets }), refusal('OPTION_INVALID', 'shared'));
    assert.equal(resolveOptions({ leader: true, listen: 'tcp://0.0.0.0:1', secrets }).secrets?.size, 2);
  });
});

test('who leads is not decided by a node without manage: neither by promoting another one, nor by telling of a later leader', async () => {
  const cluster = new TestCluster();
  const listen = 'tcp://10.0.0.2:1900';
  const lead = await cluster.leader('lead', { access });
  const connection = await cluster.until(
    cluster.network.transport('shop-x').dial(parseAddress('tcp://10.0.0.1:1900'), { timeout: 1000 }),
  );
  const intruder = new Intruder(connection, { node: 'shop-x', epoch: { term: 7, start: 1 } });
  assert.ok(!(await cluster.until(intruder.greet())));
  await cluster.clock.advance(100);
  assert.equal((await lead.status()).role, 'leader');
  const home = await cluster.leaf('home', { access, listen, insecure: true });
  await cluster.kill(lead, ['home']);
  await cluster.clock.advance(1000);
  const promoting = (node: string) => cluster.open({ node, leader: listen, promote: 'home', joinTimeout: 3000 });
  await assert.rejects(promoting('shop'), denied('shop', 'who leads'));
  assert.equal((await home.status()).role, 'leaf');
  await promoting('home-2');
  assert.equal((await home.status()).role, 'leader');
  await cluster.close();
});
