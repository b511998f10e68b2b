import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type BusOptions, resolveOptions } from '../../src/bus/options/options.ts';
import type { PublishOptions } from '../../src/bus/options/publish-options.ts';
import type { SubscriptionOptions } from '../../src/bus/options/subscription-options.ts';
import { BusError } from '../../src/core/errors.ts';
import { silentLogger } from '../../src/core/log.ts';
import { VirtualClock } from '../../src/core/virtual-clock.ts';
import { MemoryNetwork } from '../../src/transport/memory.ts';
import { refusal, world } from '../core/testbed.ts';

type Wrong = readonly [value: unknown, ...texts: string[]];

/** Resolves options as given, over parts that do nothing. */
function resolve(options: unknown) {
  const clock = new VirtualClock();
  return resolveOptions(options as BusOptions, { clock, transport: new MemoryNetwork({ clock }).transport('here') });
}

const day = '86400000';
const tenYears = '315360000000';

describe('createBus()', () => {
  test('without options every default is filled in', () => {
    const { node, logger, flush, clock, transport, ...rest } = resolve({ logger: silentLogger });
    assert.match(node, /^[A-Za-z0-9_.-]+-\d+-[0-9a-z]{4}$/);
    assert.ok(node.includes(String(process.pid)));
    assert.deepEqual(rest, {
      capabilities: {},
      promote: undefined,
      cluster: 'default',
      service: 'default',
      ownService: false,
      sharing: 'none',
      dataDir: undefined,
      durability: 'fsync',
      role: 'alone',
      leader: undefined,
      listen: undefined,
      secret: undefined,
      secrets: undefined,
      access: undefined,
      joinTimeout: 10_000,
      liveness: { ping: 1000, suspect: 3000, down: 15_000 },
      redial: { delay: 100, maxDelay: 2000, timeout: 2000 },
      limits: {
        frame: 8_388_608,
        payload: 1_048_576,
        connections: 1024,
        connectionsPerAddress: 512,
        handshakes: 256,
        handshake: 2000,
        deadLetters: 10_000,
        deadLetterBytes: 67_108_864,
      },
    });
    assert.equal(resolve(undefined).role, 'alone');
  });

  test('an option that is undefined is one that was left out', () => {
    const options: Record<string, unknown> = { logger: silentLogger, service: undefined, nonsense: undefined };
    for (const key of [
      'node',
      'cluster',
      'dataDir',
      'durability',
      'leader',
      'listen',
      'secret',
      'secrets',
      'access',
      'insecure',
      'joinTimeout',
      'liveness',
    ])
      options[key] = undefined;
    assert.equal(resolve(options).role, 'alone');
  });

  const wrong: Record<string, readonly Wrong[]> = {
    joinTimeout: [
      [0, 'joinTimeout 0', `from 1 to ${day}`],
      [1.5, 'joinTimeout 1.5', 'whole number'],
      [Number.NaN, 'joinTimeout NaN'],
      ['5', 'joinTimeout "5"'],
      [null, 'joinTimeout null'],
      [86_400_001, 'joinTimeout 86400001'],
    ],
    dataDir: [
      ['', 'dataDir ""', 'a folder'],
      [5, 'dataDir 5'],
      [null, 'dataDir null'],
      [{}, 'dataDir an object'],
    ],
    durability: [
      ['memory', 'durability "memory"', "'fsync'", "'os'"],
      ['', 'durability ""'],
      [true, 'durability true'],
      [null, 'durability null'],
    ],
    leader: [
      [false, 'leader false', "'tcp://10.0.8.1:1900'"],
      [5, 'leader 5'],
      [null, 'leader null'],
      ['', 'leader ""'],
      ['10.0.8.1:1900', 'leader "10.0.8.1:1900"', 'tcp://'],
      ['http://10.0.8.1:1900', 'http://'],
    ],
    insecure: [
      ['yes', 'insecure "yes"'],
      [1, 'insecure 1'],
      [null, 'insecure null'],
    ],
    liveness: [
      [5, 'liveness', '5'],
      [null, 'liveness', 'null'],
      [[], 'liveness', 'an array of 0'],
      [{ ping: 0 }, 'liveness.ping 0'],
      [{ suspect: 10 }, 'liveness.suspect 10'],
      [{ down: '5' }, 'liveness.down "5"'],
      [{ ping: 2000 }, 'ping 2000', '2 * ping <= suspect <= down'],
      [{ suspect: 20_000 }, 'suspect 20000', 'down 15000'],
      [{ pong: 5 }, "'pong'", "'ping'"],
    ],
    redial: [
      [true, 'redial', 'true'],
      [{ delay: 0 }, 'redial.delay 0'],
      [{ delay: 500, maxDelay: 400 }, 'redial.maxDelay 400', 'from 500'],
      [{ timeout: -1 }, 'redial.timeout -1'],
      [{ maxdelay: 5 }, "'maxdelay'", "'maxDelay'"],
    ],
    limits: [
      ['none', 'limits', '"none"'],
      [{ frame: 1000 }, 'limits.frame 1000', 'from 1048576'],
      [{ payload: 0 }, 'limits.payload 0'],
      [{ payload: 5_000_000 }, 'limits.payload 5000000', 'to 4194304'],
      [{ connections: 0 }, 'limits.connections 0'],
      [{ handshake: 1 }, 'limits.handshake 1'],
      [{ connections: 10, handshakes: 11 }, 'limits.handshakes 11', 'from 1 to 10'],
      [{ connectionsPerAddress: 1025 }, 'limits.connectionsPerAddress 1025', 'from 1 to 1024'],
      [{ deadLetters: 0 }, 'limits.deadLetters 0'],
      [{ deadLetterBytes: 0.5 }, 'limits.deadLetterBytes 0.5', 'whole number'],
      [{ deadletters: 5 }, "'deadletters'", "'deadLetters'"],
      [
        { messages: 5 },
        "'messages'",
        'it has frame, payload, connections, connectionsPerAddress, handshakes, handshake, deadLetters',
      ],
    ],
    syslog: [
      ['localhost:514', 'localhost:514', 'udp://127.0.0.1:514'],
      ['udp://127.0.0.1:0', 'port 0'],
      ['tcp://a b', 'names no IP address or host'],
      [{ address: 'udp://h', level: 'trace' }, 'syslog.level', 'trace', "'debug', 'info', 'warn', 'error'"],
      [{ address: 'udp://h', facility: 'kern' }, 'syslog.facility', 'kern', 'daemon'],
      [{ adress: 'udp://h' }, "'adress'", "'address'"],
      ['udp://h', "'logger' and 'syslog'"],
    ],
    logger: [
      [null, 'debug()', 'pino'],
      [{}, 'debug()'],
      [{ ...silentLogger, child: undefined }, 'child()'],
      [{ ...silentLogger, warn: 'loud' }, 'warn()'],
    ],
    secret: [
      ['short', '5 bytes', 'at least 16'],
      [new Uint8Array(15), '15 bytes'],
      [5, 'a string or a Uint8Array'],
      [null, 'a string or a Uint8Array'],
    ],
  };
  for (const [name, cases] of Object.entries(wrong)) {
    test(`${name}: a wrong value is refused, with the value and the way out`, () => {
      for (const [value, ...texts] of cases) {
        assert.throws(() => resolve({ logger: silentLogger, [name]: value }), refusal('OPTION_INVALID', ...texts));
      }
    });
  }

  for (const name of ['node', 'cluster', 'service']) {
    test(`${name}: what is no name is refused, with the value and the rule`, () => {
      for (const value of ['', 'a b', 'ä', 'a/b', 'x'.repeat(129), 5, null, {}]) {
        assert.throws(
          () => resolve({ logger: silentLogger, [name]: value }),
          refusal('NAME_INVALID', name, 'A-Z a-z 0-9 _ . -'),
        );
      }
      assert.equal(resolve({ logger: silentLogger, node: 'x'.repeat(128) }).node.length, 128);
    });
  }

  test('listen: only within a cluster; beyond loopback it needs a secret, or insecure', () => {
    const logger = silentLogger;
    assert.throws(
      () => resolve({ logger, listen: 'tcp://127.0.0.1:1' }),
      refusal('OPTION_INVALID', "'listen'", 'leader: true'),
    );
    const standby = resolve({ logger, leader: 'tcp://10.0.0.1:1900', listen: 'tcp://127.0.0.1:1' });
    assert.deepEqual([standby.role, standby.listen], ['leaf', { scheme: 'tcp', host: '127.0.0.1', port: 1 }]);
    assert.throws(
      () => resolve({ logger, leader: 'tcp://10.0.0.1:1900', listen: 'tcp://10.0.0.2:1' }),
      refusal('OPTION_INVALID', '"tcp://10.0.0.2:1"', 'secret'),
    );
    assert.throws(() => resolve({ logger, leader: true, promote: 'b' }), refusal('OPTION_INVALID', "'promote'"));
    assert.equal(resolve({ logger, leader: 'tcp://10.0.0.1:1900', promote: 'b' }).promote, 'b');
    assert.throws(
      () => resolve({ logger, leader: true, listen: 'tcp://0.0.0.0:1900' }),
      refusal('OPTION_INVALID', '"tcp://0.0.0.0:1900"', 'secret', 'insecure: true'),
    );
    for (const listen of [5, null, '', 'nonsense', 'tcp://127.0.0.1:99999', 'tls://127.0.0.1:1']) {
      assert.throws(() => resolve({ logger, leader: true, listen }), refusal('OPTION_INVALID', 'listen'));
    }
    const secret = 'x'.repeat(16);
    assert.equal(resolve({ logger, leader: true, listen: 'tcp://0.0.0.0:1900', secret }).role, 'leader');
    assert.equal(resolve({ logger, leader: true, listen: 'tcp://0.0.0.0:1900', insecure: true }).role, 'leader');
    assert.equal(resolve({ logger, leader: true }).listen !== undefined, true, 'a leader listens by default');
    assert.equal(resolve({ logger, leader: 'tcp://10.0.0.1:1900' }).role, 'leaf');
  });

  test('a payload limit follows a small frame limit', () => {
    assert.equal(resolve({ logger: silentLogger, limits: { frame: 1_048_576 } }).limits.payload, 524_288);
  });

  test('with a dataDir more dead letters are kept, unless limits say otherwise', () => {
    const given = { logger: silentLogger, dataDir: './never-opened' };
    const { dataDir, limits } = resolve(given);
    assert.equal(dataDir, './never-opened');
    assert.deepEqual([limits.deadLetters, limits.deadLetterBytes], [100_000, 268_435_456]);
    const small = resolve({ ...given, limits: { deadLetters: 5, deadLetterBytes: 1000 } }).limits;
    assert.deepEqual([small.deadLetters, small.deadLetterBytes], [5, 1000]);
  });

  test('a service that is named is known to be so, even by the name that is the default', () => {
    for (const service of ['billing', 'default']) {
      const resolved = resolve({ logger: silentLogger, service, durability: 'os' });
      assert.deepEqual([resolved.service, resolved.ownService, resolved.durability], [service, true, 'os']);
    }
  });

  test('an option that does not exist is refused, naming the nearest one', () => {
    for (const [given, near] of [
      ['nod', 'node'],
      ['joinTimout', 'joinTimeout'],
      ['jointimeout', 'joinTimeout'],
      ['Secret', 'secret'],
      ['livenes', 'liveness'],
    ]) {
      assert.throws(
        () => resolve({ logger: silentLogger, [given as string]: 5 }),
        refusal('OPTION_INVALID', `'${given}'`, `did you mean '${near}'?`),
      );
    }
    assert.throws(() => resolve({ zookeeper: 5 }), refusal('OPTION_INVALID', "'zookeeper'", 'it has', 'node, cluster'));
    for (const name of ['constructor', 'toString', '__proto__']) {
      const options = Object.defineProperty({}, name, { value: 5, enumerable: true });
      assert.throws(() => resolve(options), refusal('OPTION_INVALID', `'${name}'`));
    }
  });

  test('what is no options object is refused', () => {
    for (const value of [null, 5, 'orders-1', [], true]) {
      assert.throws(() => resolve(value), refusal('OPTION_INVALID', 'createBus()', 'object'));
    }
  });

  test('a secret never appears in an error', () => {
    const secret = 'do-not-tell';
    const long = `${secret}-${'x'.repeat(20)}`;
    const logger = silentLogger;
    const attempts: unknown[] = [
      { logger, secret },
      { logger, secret: Buffer.from(secret) },
      { logger, secret: [long] },
      { logger, secret: { value: long } },
      { logger, secret: long, leader: 'nonsense' },
      { logger, secret: long, leader: true, listen: 'nonsense' },
      { logger, secret: long, joinTimeout: -1 },
      { logger, secrets: long },
      { logger, Secret: long },
    ];
    for (const options of attempts) {
      assert.throws(
        () => resolve(options),
        (error: unknown) => {
          assert.ok(error instanceof BusError);
          for (const text of [error.message, error.stack ?? '', JSON.stringify(error), String(error.cause)]) {
            assert.ok(!text.includes(secret), text);
          }
          return true;
        },
      );
    }
  });

  test('a secret is copied: changing the given bytes changes nothing', () => {
    const given = new Uint8Array(16).fill(7);
    const { secret } = resolve({ logger: silentLogger, secret: given });
    given.fill(0);
    assert.deepEqual(secret, new Uint8Array(16).fill(7));
  });
});

describe('subscribe()', () => {
  const wrong: Record<string, readonly Wrong[]> = {
    concurrency: [
      [0, 'concurrency 0', 'from 1 to 1000000'],
      [1.5, 'concurrency 1.5', 'whole number'],
      ['2', 'concurrency "2"'],
      [null, 'concurrency null'],
      [Number.POSITIVE_INFINITY, 'concurrency Infinity'],
    ],
    timeout: [
      [0, 'timeout 0', `from 1 to ${day}`],
      [1e12, 'timeout 1000000000000'],
      [{}, 'timeout an object'],
    ],
    retry: [
      [null, 'retry', 'null'],
      [3, 'retry', '3'],
      [{ attempts: 0 }, 'retry.attempts 0', 'from 1'],
      [{ attempts: 2.5 }, 'retry.attempts 2.5'],
      [{ delay: -1 }, 'retry.delay -1'],
      [{ factor: 0.5 }, 'retry.factor 0.5', 'from 1'],
      [{ maxDelay: 50 }, 'retry.maxDelay 50', 'from 100'],
      [{ jitter: 1.1 }, 'retry.jitter 1.1', 'from 0 to 1'],
      [{ atempts: 3 }, "'atempts'", "'attempts'"],
    ],
    outage: [
      [null, 'outage', 'null', 'false'],
      [true, 'outage', 'true', 'false'],
      [{ failures: 0 }, 'outage.failures 0', 'from 1'],
      [{ failures: 1.5 }, 'outage.failures 1.5', 'whole number'],
      [{ messages: 0 }, 'outage.messages 0', 'from 1 to 1000'],
      [{ messages: 1001 }, 'outage.messages 1001'],
      [{ grace: -1 }, 'outage.grace -1', 'from 0'],
      [{ grace: Number.POSITIVE_INFINITY }, 'outage.grace Infinity', 'to 315360000000'],
      [{ failure: 3 }, "'failure'", "'failures'"],
    ],
    limits: [
      [null, 'limits', 'null'],
      [{ messages: 0 }, 'limits.messages 0'],
      [{ bytes: 0.5 }, 'limits.bytes 0.5'],
      [{ overflow: 'dropOldest' }, 'limits.overflow "dropOldest"', "'drop-oldest'", "'block'"],
      [{ overflow: null }, 'limits.overflow null'],
      [{ age: 0 }, 'limits.age 0', 'from 1'],
      [{ age: 1.5 }, 'limits.age 1.5', 'whole number'],
      [{ age: 315_360_000_001 }, 'limits.age 315360000001', 'to 315360000000'],
      [{ age: Number.NaN }, 'limits.age NaN'],
      [{ age: null }, 'limits.age null'],
      [{ deadLetters: 5 }, 'limits.deadLetters 5', 'true or false'],
      [{ deadLetters: null }, 'limits.deadLetters null'],
      [{ message: 5 }, "'message'", "'messages'"],
    ],
    latestOnly: [
      ['key', 'latestOnly "key"', "'topic'", 'true', 'false'],
      [1, 'latestOnly 1'],
      [null, 'latestOnly null'],
    ],
    filters: [
      [null, 'filters', 'a list such as [maxSize(65536)]'],
      [{ maxSize: 5 }, 'filters', 'a list'],
      [[null], 'filters[0] is null', 'maxSize(bytes)'],
      [[() => true, { maxsize: 5 }], "filters[1]: there is no filter 'maxsize'", "did you mean 'maxSize'?"],
      [[{ maxSize: 0 }], 'filters[0].maxSize 0', 'from 1'],
      [[{ minPeriod: 1e12 }], 'filters[0].minPeriod 1000000000000', 'milliseconds'],
      [[async () => true], 'filters[0]', 'async function'],
    ],
    durable: [
      ['yes', 'durable "yes"', 'true or false'],
      [null, 'durable null'],
      [true, 'a durable subscription needs a name'],
    ],
    durability: [['fsync', "'durability' goes only with durable: true"]],
    update: [
      [true, "'update' goes only with durable: true"],
      [false, "'update' goes only with durable: true"],
      ['yes', 'update "yes"', 'true or false'],
    ],
    credit: [[5, "'credit' goes only with durable: true"]],
  };
  for (const [name, cases] of Object.entries(wrong)) {
    test(`${name}: a wrong value is refused, with the value and the way out`, async (t) => {
      const { bus } = await world(t);
      for (const [value, ...texts] of cases) {
        await assert.rejects(
          bus.subscribe('t', () => {}, { [name]: value } as SubscriptionOptions),
          refusal('OPTION_INVALID', ...texts),
        );
      }
      assert.deepEqual((await bus.status()).subscriptions, [], 'nothing is left of them');
    });
  }

  test('with durable: true the options of a durable mailbox are checked, too', async (t) => {
    const { bus } = await world(t);
    for (const [options, ...texts] of [
      [{ credit: 0 }, 'credit 0', 'from 1 to 1000000'],
      [{ credit: 1.5 }, 'credit 1.5', 'whole number'],
      [{ credit: null }, 'credit null'],
      [{ durability: 'memory' }, 'durability "memory"', "'fsync'", "'os'"],
      [{ durability: '' }, 'durability ""'],
      [{ durability: null }, 'durability null'],
      [{ update: 1 }, 'update 1', 'true or false'],
    ] as const) {
      await assert.rejects(
        bus.subscribe('t', () => {}, { name: 'mine', durable: true, ...options } as SubscriptionOptions),
        refusal('OPTION_INVALID', ...texts),
      );
    }
    await assert.rejects(
      bus.subscribe('t', () => {}, { name: 'mine', durable: true }),
      refusal('STORE_REQUIRED', "'default/mine'", 'dataDir'),
    );
    await assert.rejects(
      bus.subscribe('t', 'f' as never, { name: 'mine', durable: true }),
      refusal('OPTION_INVALID', 'not a function'),
    );
  });

  test("a durable name may be of another service, '<service>/<name>'; an ephemeral one may not", async (t) => {
    const { bus } = await world(t);
    const durable = (name: unknown) => bus.subscribe('t', () => {}, { name, durable: true } as SubscriptionOptions);
    await assert.rejects(durable('billing/invoices'), refusal('STORE_REQUIRED', "'billing/invoices'"));
    for (const name of ['/invoices', 'bill ing/invoices', `${'x'.repeat(129)}/a`]) {
      await assert.rejects(durable(name), refusal('NAME_INVALID', 'service'));
    }
    for (const name of ['billing/', 'billing/in/voices', 'billing/a b', '', 5, null]) {
      await assert.rejects(durable(name), refusal('NAME_INVALID', 'subscription'));
    }
    await assert.rejects(
      bus.subscribe('t', () => {}, { name: 'billing/invoices' }),
      refusal('NAME_INVALID', 'subscription'),
    );
  });

  test('the largest and the smallest values that options allow are taken', async (t) => {
    const { bus } = await world(t);
    await bus.subscribe('t', () => {}, { limits: { age: 315_360_000_000, deadLetters: true }, latestOnly: 'topic' });
    await bus.subscribe('t', () => {}, { limits: { age: Number.POSITIVE_INFINITY }, latestOnly: true, filters: [] });
    await bus.subscribe('t', () => {}, { limits: { age: 1, deadLetters: false }, latestOnly: false, durable: false });
  });

  test('a name that is none is refused', async (t) => {
    const { bus } = await world(t);
    for (const name of ['', 'a b', 'x'.repeat(129), 5, null]) {
      await assert.rejects(
        bus.subscribe('t', () => {}, { name } as SubscriptionOptions),
        refusal('NAME_INVALID'),
      );
    }
  });

  test('a group is a name, and not of a durable subscription', async (t) => {
    const { bus } = await world(t);
    for (const group of ['', 'a b', 'other/workers', 5, true]) {
      await assert.rejects(
        bus.subscribe('t', () => {}, { group } as SubscriptionOptions),
        refusal('NAME_INVALID', 'group'),
      );
    }
    await assert.rejects(
      bus.consume('t', { name: 'x', durable: true, group: 'workers' }).ready,
      refusal('OPTION_INVALID', "'group' does not go with durable: true"),
    );
  });

  test('what does not exist is refused, with the nearest name', async (t) => {
    const { bus } = await world(t);
    await assert.rejects(
      bus.subscribe('t', () => {}, { concurency: 2 } as SubscriptionOptions),
      refusal('OPTION_INVALID', "'concurency'", "did you mean 'concurrency'?"),
    );
  });

  test('what is no options object, no handler or no pattern is refused', async (t) => {
    const { bus } = await world(t);
    for (const options of [null, 5, 'name', []] as unknown as SubscriptionOptions[]) {
      await assert.rejects(
        bus.subscribe('t', () => {}, options),
        refusal('OPTION_INVALID', 'must be an object'),
      );
    }
    for (const handler of [undefined, null, {}, 'f'] as unknown as (() => void)[]) {
      await assert.rejects(bus.subscribe('t', handler), refusal('OPTION_INVALID', '"t"', 'not a function'));
    }
    for (const pattern of [undefined, null, 5, '', '(', /(?=x)/, {}] as unknown as string[]) {
      await assert.rejects(
        bus.subscribe(pattern, () => {}),
        refusal('PATTERN_INVALID'),
      );
    }
  });
});

describe('publish() and emit()', () => {
  const wrong: Record<string, readonly Wrong[]> = {
    id: [
      ['', 'id ""', '1 to 128'],
      ['x'.repeat(129), '1 to 128'],
      [5, 'id 5'],
      [null, 'id null'],
    ],
    key: [
      ['', 'key ""', '1 to 255'],
      ['x'.repeat(256), '1 to 255'],
      [{}, 'key an object'],
    ],
    headers: [
      ['x', 'headers', '"x"'],
      [null, 'headers', 'null'],
      [['a'], 'headers', 'an array of 1'],
      [{ n: 5 }, 'header "n" is 5', 'strings'],
      [{ big: 'x'.repeat(65_536) }, 'at most 65536'],
      [JSON.parse('{"__proto__":"x"}'), "'__proto__'"],
    ],
    ttl: [
      [0, 'ttl 0', `from 1 to ${tenYears}`],
      [-1, 'ttl -1'],
      [1.5, 'ttl 1.5', 'whole number'],
      ['1s', 'ttl "1s"'],
      [null, 'ttl null'],
      [Number.POSITIVE_INFINITY, 'ttl Infinity'],
      [315_360_000_001, 'ttl 315360000001'],
    ],
    delay: [
      [-1, 'delay -1', `from 0 to ${tenYears}`],
      [0.5, 'delay 0.5', 'whole number'],
      ['1s', 'delay "1s"'],
      [null, 'delay null'],
      [315_360_000_001, 'delay 315360000001'],
    ],
    deliverAt: [
      [-1, 'deliverAt -1', 'from 0'],
      ['2026-01-01', 'deliverAt "2026-01-01"'],
      [new Date(Number.NaN), 'deliverAt NaN'],
      [null, 'deliverAt null'],
      [8.64e15, 'deliverAt 8640000000000000'],
    ],
  };
  const onlyPublish: Record<string, readonly Wrong[]> = {
    atLeast: [
      [-1, 'atLeast -1'],
      [0.5, 'atLeast 0.5'],
      ['1', 'atLeast "1"'],
    ],
    timeout: [
      [0, 'timeout 0', `from 1 to ${day}`],
      ['1s', 'timeout "1s"'],
    ],
    signal: [
      [{}, 'signal an object', 'AbortSignal'],
      [null, 'signal null'],
      [new AbortController(), 'signal an instance of AbortController'],
    ],
  };
  for (const [name, cases] of Object.entries({ ...wrong, ...onlyPublish })) {
    test(`${name}: a wrong value is refused, with the value and the way out`, async (t) => {
      const { bus } = await world(t);
      for (const [value, ...texts] of cases) {
        const options = { [name]: value } as PublishOptions;
        await assert.rejects(bus.publish('t', 1, options), refusal('OPTION_INVALID', ...texts));
        await assert.rejects(
          bus.publishMany([{ topic: 't', payload: 1, ...options }]),
          refusal('OPTION_INVALID', ...texts),
        );
        if (name in wrong) assert.throws(() => bus.emit('t', 1, options), refusal('OPTION_INVALID', ...texts));
      }
    });
  }

  test('emit() refuses what only publish() can do, saying so', async (t) => {
    const { bus } = await world(t);
    for (const options of [{ atLeast: 1 }, { timeout: 5 }, { signal: AbortSignal.abort() }] as object[]) {
      assert.throws(() => bus.emit('t', 1, options), refusal('OPTION_INVALID', 'use publish()'));
    }
  });

  test('delay and deliverAt say the same thing: only one of them may be given', async (t) => {
    const { bus } = await world(t);
    for (const options of [
      { delay: 5, deliverAt: 0 },
      { delay: 0, deliverAt: new Date(0) },
    ]) {
      const refused = refusal('OPTION_INVALID', "'delay' and 'deliverAt'", 'give one of them');
      assert.throws(() => bus.emit('t', 1, options), refused);
      await assert.rejects(bus.publish('t', 1, options), refused);
      await assert.rejects(bus.publishMany([{ topic: 't', payload: 1, ...options }]), refused);
    }
  });

  test('what never existed is refused, with the nearest one', async (t) => {
    const { bus } = await world(t);
    await assert.rejects(
      bus.publish('t', 1, { atleast: 1 } as PublishOptions),
      refusal('OPTION_INVALID', "did you mean 'atLeast'?"),
    );
    assert.throws(
      () => bus.emit('t', 1, { header: {} } as object),
      refusal('OPTION_INVALID', "did you mean 'headers'?"),
    );
  });

  test('what is no options object is refused', async (t) => {
    const { bus } = await world(t);
    for (const options of [null, 5, 'id', []] as unknown as PublishOptions[]) {
      assert.throws(() => bus.emit('t', 1, options), refusal('OPTION_INVALID', 'must be an object'));
      await assert.rejects(bus.publish('t', 1, options), refusal('OPTION_INVALID', 'must be an object'));
    }
  });

  test('what publishMany() is given is checked to be a list of messages', async (t) => {
    const { bus } = await world(t);
    for (const list of [undefined, null, 5, {}, 'x', [null], [undefined], [5], ['topic']] as unknown as never[][]) {
      await assert.rejects(bus.publishMany(list), (error: unknown) => {
        assert.ok(error instanceof BusError, String(error));
        assert.ok(error.code === 'OPTION_INVALID' || error.code === 'TOPIC_INVALID', error.code);
        return true;
      });
    }
  });

  test('headers are copied: changing the given object changes nothing', async (t) => {
    const { bus, clock } = await world(t);
    const seen: unknown[] = [];
    await bus.subscribe('t', ({ headers }) => void seen.push(headers));
    const headers = { a: '1' };
    bus.emit('t', 1, { headers });
    headers.a = '2';
    await clock.settle();
    assert.deepEqual(seen, [{ a: '1' }]);
    assert.ok(Object.isFrozen(seen[0]));
  });
});

describe('the other calls', () => {
  test('a wait is refused when it is none', async (t) => {
    const { bus } = await world(t);
    const sub = await bus.subscribe('t', () => {});
    for (const options of [
      { timeout: -1 },
      { timeout: '5' },
      { timeout: 1e12 },
      { timeOut: 5 },
      5000,
      null,
    ] as object[]) {
      await assert.rejects(async () => bus.drain(options), refusal('OPTION_INVALID', 'drain()'));
      await assert.rejects(async () => bus.close(options), refusal('OPTION_INVALID', 'close()'));
      await assert.rejects(async () => sub.drain(options), refusal('OPTION_INVALID', 'drain()'));
      await assert.rejects(async () => sub.close(options), refusal('OPTION_INVALID', 'close()'));
    }
    assert.equal(bus.state, 'running');
    assert.equal(sub.state, 'active');
  });

  test('unsubscribe() and status() refuse what they do not know', async (t) => {
    const { bus } = await world(t);
    await bus.subscribe('t', () => {}, { name: 'a' });
    for (const discard of [1, 'yes', null]) {
      await assert.rejects(
        bus.unsubscribe('a', { discard } as object),
        refusal('OPTION_INVALID', 'discard', 'true or false'),
      );
    }
    await assert.rejects(bus.unsubscribe('a', { discrad: true } as object), refusal('OPTION_INVALID', "'discard'"));
    for (const name of [5, null, undefined, {}] as unknown as string[]) {
      await assert.rejects(bus.unsubscribe(name), refusal('NAME_INVALID'));
    }
    await assert.rejects(bus.unsubscribe('a', { nodes: 'x' } as object), refusal('OPTION_INVALID', "'node'"));
    await assert.rejects(bus.unsubscribe('a', { timeout: -1 }), refusal('OPTION_INVALID', 'timeout -1'));
    await assert.rejects(bus.unsubscribe('a', null as unknown as object), refusal('OPTION_INVALID'));
    await assert.rejects(bus.unsubscribe('a b'), refusal('NAME_INVALID', '"a b"'));
    await assert.rejects(bus.unsubscribe('a', { node: '' }), refusal('NAME_INVALID'));
    await assert.rejects(bus.status({ nod: 'x' } as object), refusal('OPTION_INVALID', "'node'"));
    await assert.rejects(bus.status(null as unknown as object), refusal('OPTION_INVALID'));
    await assert.rejects(bus.status({ node: 5 } as unknown as object), refusal('NAME_INVALID'));
    assert.equal((await bus.status()).subscriptions.length, 1);
  });

  test('on() refuses what is no event and what is no listener', async (t) => {
    const { bus } = await world(t);
    assert.throws(
      () => bus.on('message.died' as '*', () => {}),
      refusal('OPTION_INVALID', '"message.died"', 'message.dead'),
    );
    assert.throws(
      () => bus.on('message.dead', undefined as unknown as () => void),
      refusal('OPTION_INVALID', 'listener'),
    );
  });

  test('register() refuses what has no marked methods', async (t) => {
    const { bus } = await world(t);
    class Plain {
      handle(): void {}
    }
    for (const value of [new Plain(), {}, Plain, null, undefined, 5] as object[]) {
      await assert.rejects(bus.register(value), refusal('OPTION_INVALID', '@subscribe'));
    }
  });
});
