import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { after, describe, test } from 'node:test';
import { FilterChain } from '../../src/actors/filters.ts';
import { type BusConfig, loadConfig } from '../../src/bus/options/config.ts';
import { BusError, type ErrorCode } from '../../src/core/errors.ts';
import { Pattern } from '../../src/routing/pattern.ts';
import { refusal } from '../core/testbed.ts';

const folder = mkdtempSync(join(tmpdir(), 'mailvan-config-'));
const path = join(folder, 'mailvan.config.json');
const orders = { name: 'orders', pattern: 'orders\\..*' };
after(() => rmSync(folder, { recursive: true }));

/** Loads what is given: a text or bytes as they are, anything else as JSON. */
function load(content: unknown): Promise<BusConfig> {
  const raw = typeof content === 'string' || content instanceof Uint8Array;
  writeFileSync(path, raw ? content : JSON.stringify(content));
  return loadConfig(path);
}

/** What a refused file is told: the text behind the file's name. */
async function problemOf(content: unknown, code: ErrorCode = 'OPTION_INVALID'): Promise<string> {
  const error = await load(content).then(
    () => assert.fail(`${JSON.stringify(content)} was not refused`),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof BusError, String(error));
  assert.equal(error.code, code, error.message);
  assert.ok(error.message.startsWith(`${path}: `), error.message);
  return error.message.slice(path.length + 2);
}

describe('loadConfig()', () => {
  test('gives what createBus() and subscribe() take', async () => {
    const retry = { attempts: 3, delay: 0.5, factor: 1.5, maxDelay: 5, jitter: 0 };
    const limits = { messages: 5, bytes: 6, age: 7, overflow: 'drop-oldest', deadLetters: true };
    const members = {
      ...{ node: 'orders-1', cluster: 'shop', service: 'billing', leader: true, listen: 'tcp://10.0.8.1:1900' },
      ...{
        insecure: true,
        joinTimeout: 5,
        liveness: { ping: 1 },
        redial: { delay: 2 },
        limits: { deadLetterBytes: 3 },
        capabilities: { writer: true, gpu: 1.5, region: 'eu' },
        syslog: { address: 'udp://127.0.0.1', level: 'debug', facility: 'local3' },
      },
    };
    const filters = [{ maxSize: 10 }, { minPeriod: 20 }];
    const outage = { failures: 3, messages: 2, grace: 1000 };
    const first = { ...orders, durability: 'os', retry, outage, limits, latestOnly: 'topic', filters };
    const { file, bus, subscriptions } = await load({
      $schema: './schema.json',
      ...members,
      store: { folder: './data', durability: 'os' },
      subscriptions: [first, { name: 'all', pattern: { wildcard: '#' } }],
    });
    assert.equal(file, path);
    assert.deepEqual(bus, { ...members, dataDir: join(folder, 'data'), durability: 'os' });
    const { pattern: _, ...options } = first;
    assert.deepEqual(
      subscriptions.map(({ name, pattern, options }) => [name, pattern.text, options]),
      [
        ['orders', 'orders\\..*', { ...options, durable: true }],
        ['all', '#', { name: 'all', durable: true }],
      ],
    );
    assert.deepEqual(new FilterChain(subscriptions[0]?.options.filters).declarative, filters);
  });

  test('of an empty object gives a bus without anything', async () => {
    assert.deepEqual(await load({}), { file: path, bus: {}, subscriptions: [] });
    assert.deepEqual(await load('\ufeff{}\r\n'), { file: path, bus: {}, subscriptions: [] });
  });

  test('takes patterns as sources, as expressions to be searched, and as wildcards', async () => {
    const patterns = ['a.*', { regex: 'A', flags: 'i' }, { regex: '^a' }, { wildcard: 'Booking.*' }];
    const { subscriptions } = await load({
      subscriptions: patterns.map((pattern, i) => ({ name: `s${i}`, pattern })),
    });
    const topics = ['ab', 'bab', 'Booking.made', 'Booking.made.late'];
    assert.deepEqual(
      subscriptions.map(({ pattern }) => topics.map((topic) => pattern.test(topic))),
      [
        [true, false, false, false],
        [true, true, true, true],
        [true, false, false, false],
        [false, false, true, false],
      ],
    );
  });

  test("finds folder and secret beside the file, wherever the process' own folder is", async () => {
    writeFileSync(join(folder, 'secret'), 'a secret of some length\n');
    await load({ store: { folder: 'data' }, secret: { file: './secret' } });
    const { file, bus } = await loadConfig(relative(process.cwd(), path));
    assert.deepEqual([file, bus.dataDir, bus.secret], [path, join(folder, 'data'), 'a secret of some length']);
    assert.equal((await load({ store: { folder: '/var/lib/mailvan' } })).bus.dataDir, '/var/lib/mailvan');
  });

  test('finds the files of TLS beside the file; a key itself does not belong there, and is not shown', async () => {
    await load({ tls: { cert: 'pki/a.crt', key: './a.key', ca: '/etc/ca.crt' } });
    const { bus } = await loadConfig(path);
    assert.deepEqual(bus.tls, { cert: join(folder, 'pki/a.crt'), key: join(folder, 'a.key'), ca: '/etc/ca.crt' });
    const pem = '-----BEGIN PRIVATE KEY-----\nMIGH';
    await assert.rejects(load({ tls: { cert: 'a.crt', key: pem, ca: 'ca.crt' } }), (error: Error) => {
      assert.match(error.message, /tls\.key: the value must be the path of a PEM file/);
      assert.ok(!error.message.includes('MIGH'));
      return true;
    });
  });

  test('takes rules of access, and secrets of single nodes', async () => {
    writeFileSync(join(folder, 'shop-secret'), 'the secret of the shop\n');
    const { bus } = await load({
      leader: true,
      secrets: { shop: { file: './shop-secret' } },
      access: [
        { nodes: 'shop', publish: { allow: ['a', { wildcard: 'b.#' }], deny: [{ regex: '^c', flags: 'i' }] } },
        { nodes: { wildcard: '#' }, subscribe: { allow: [] }, spawn: { allow: ['k'] }, manage: true },
      ],
    });
    assert.deepEqual(bus.secrets, { shop: 'the secret of the shop' });
    assert.deepEqual(
      JSON.parse(JSON.stringify(bus.access, (_, value) => (value instanceof Pattern ? `${value}` : value))),
      [
        { nodes: 'shop', publish: { allow: ['a', 'b.#'], deny: ['/^c/i'] } },
        { nodes: '#', subscribe: { allow: [], deny: [] }, spawn: { allow: ['k'], deny: [] }, manage: true },
      ],
    );
    assert.match(
      await problemOf({ access: [{ nodes: 'a', spawn: { allow: ['('] } }] }, 'PATTERN_INVALID'),
      /^access\[0\]\.spawn\.allow\[0\]: /,
    );
    assert.match(
      await problemOf({ secrets: { shop: { file: 'none' } } }),
      /^secrets\.shop\.file: the file cannot be read/,
    );
    assert.match(await problemOf({ secrets: { shop: 'hunter2' } }), /^secrets\.shop: a secret does not belong/);
  });

  test('takes the secret from the environment', async (t) => {
    t.after(() => delete process.env.MAILVAN_TEST_SECRET);
    const document = { secret: { env: 'MAILVAN_TEST_SECRET' } };
    assert.equal(await problemOf(document), 'secret.env: the environment variable MAILVAN_TEST_SECRET is not set');
    process.env.MAILVAN_TEST_SECRET = '';
    assert.equal(await problemOf(document), 'secret.env: the environment variable MAILVAN_TEST_SECRET is empty');
    process.env.MAILVAN_TEST_SECRET = 'a secret of some length';
    assert.equal((await load(document)).bus.secret, 'a secret of some length');
  });

  test('refuses a secret in the file, says why, and never repeats it', async () => {
    const literal = 'hunter2-hunter2-hunter2';
    for (const secret of [literal, [literal], { env: literal }, { value: literal }, { env: '', file: literal }]) {
      const problem = await problemOf({ secret });
      assert.ok(problem.startsWith('secret'), problem);
      assert.ok(!problem.includes('hunter2'), problem);
    }
    assert.match(await problemOf({ secret: literal }), /does not belong in this file, .* write \{ "env": "NAME" \} or/);
    assert.ok(!(await problemOf(`{"secret": ${literal}}`)).includes('hunter2'));
  });

  test('refuses a secret that cannot be read, or is empty', async () => {
    assert.match(await problemOf({ secret: { file: 'none' } }), /^secret\.file: the file cannot be read: ENOENT/);
    writeFileSync(join(folder, 'empty'), '\n');
    assert.match(await problemOf({ secret: { file: 'empty' } }), /^secret\.file: .*empty is empty$/);
  });

  test('names the nearest key that exists, with the path to it', async () => {
    const problems: readonly [document: unknown, problem: string][] = [
      [{ clustre: 'a' }, "there is no 'clustre'; did you mean 'cluster'?"],
      [
        { subscriptions: [orders, { ...orders, name: 'b', limits: { mesages: 5 } }] },
        "subscriptions[1].limits: there is no 'mesages'; did you mean 'messages'?",
      ],
      [{ store: { path: 'x' } }, "store: there is no 'path'; it has folder, durability"],
      [{ store: { floder: 'x' } }, "store: there is no 'floder'; did you mean 'folder'?"],
      [
        { subscriptions: [{ name: 'a', pattern: { wildcrad: '#' } }] },
        "subscriptions[0].pattern: there is no 'wildcrad'; did you mean 'wildcard'?",
      ],
      [{ dataDir: './data' }, 'there is no \'dataDir\' here: write "store": { "folder": … }'],
      [
        { subscriptions: [{ ...orders, concurrency: 2 }] },
        "subscriptions[0]: there is no 'concurrency' here: it belongs to the consumer: give it to subscribe()",
      ],
    ];
    for (const [document, problem] of problems) assert.equal(await problemOf(document), problem);
  });

  test('names the place, the value and the way out', async () => {
    const problems: readonly [document: unknown, problem: string][] = [
      [[], 'an array of 0 must be an object: { … }'],
      [{ joinTimeout: '10s' }, 'joinTimeout: "10s" must be a whole number, without quotes and without a unit'],
      [{ limits: { frame: 1.5 } }, 'limits.frame: 1.5 must be a whole number'],
      [{ insecure: 'yes' }, 'insecure: "yes" must be true or false'],
      [{ store: {} }, "store: 'folder' is missing"],
      [{ capabilities: ['writer'] }, 'capabilities: an array of 1 must be an object: { … }'],
      [
        { capabilities: { region: null } },
        'capabilities.region: null must be true, false, a number, or a text that is not empty',
      ],
      [{ store: { folder: 'x', durability: 'none' } }, 'store.durability: "none" must be "fsync" or "os"'],
      [{ subscriptions: { orders } }, 'subscriptions: an object must be a list: [ … ]'],
      [{ subscriptions: [{ name: 'a' }] }, "subscriptions[0]: 'pattern' is missing"],
      [
        { subscriptions: [{ ...orders, filters: [{ maxSize: 1, minPeriod: 1 }] }] },
        "subscriptions[0].filters[0]: give exactly one of 'maxSize' and 'minPeriod'",
      ],
      [
        { subscriptions: [{ name: 'a', pattern: { wildcard: '#', flags: 'i' } }] },
        "subscriptions[0].pattern: 'flags' makes sense only beside 'regex'",
      ],
    ];
    for (const [document, problem] of problems) assert.equal(await problemOf(document), problem);
    assert.match(await problemOf({ leader: 'http://a' }), /^leader: "http:\/\/a" must be true or an address such as/);
    assert.match(await problemOf({ leader: false }), /^leader: false must be true or an address such as/);
    assert.match(await problemOf({ listen: 'tcp://a:99999' }), /^listen: address "tcp:.* has the port 99999/);
    const badName = { subscriptions: [{ ...orders, name: 'a b' }] };
    assert.match(
      await problemOf({ capabilities: { 'a b': 1 } }, 'NAME_INVALID'),
      /^capabilities: "a b" must be 1 to 128/,
    );
    assert.match(await problemOf(badName, 'NAME_INVALID'), /^subscriptions\[0\]\.name: "a b" must be 1 to 128/);
  });

  test('refuses what is no pattern, with its place', async () => {
    const wrong: readonly [pattern: unknown, text: string][] = [
      ['a(', 'pattern "a("'],
      ['(?=a)', 'at position'],
      [{ regex: 'a(' }, 'Invalid regular expression'],
      [{ regex: '(a)\\1' }, 'at position'],
      [{ regex: 'a', flags: 'g' }, '"g" must be some of i, s and u'],
    ];
    for (const [pattern, text] of wrong) {
      const problem = await problemOf({ subscriptions: [orders, { name: 'b', pattern }] }, 'PATTERN_INVALID');
      assert.ok(problem.startsWith('subscriptions[1].pattern'), problem);
      assert.ok(problem.includes(text), problem);
    }
  });

  test('refuses a name given twice, naming both places', async () => {
    const problem = await problemOf({ subscriptions: [orders, { ...orders, name: 'other' }, orders] });
    assert.equal(problem, 'subscriptions[2].name: "orders" is the name of subscriptions[0] already');
  });

  test('names line and column of what is no JSON, and of a key given twice', async () => {
    assert.equal(
      await problemOf('{\n  "node": "a",\n}'),
      'line 3, column 1: a name in double quotes is expected here, not "}"; JSON has no comma before it',
    );
    assert.equal(
      await problemOf('{ "node": "a", "node": "b" }'),
      "line 1, column 16: 'node' stands here for the second time in one object",
    );
  });

  test('says why a file cannot be read', async () => {
    const absent = join(folder, 'absent.json');
    await assert.rejects(loadConfig(absent), refusal('OPTION_INVALID', absent, `no such file in ${folder}`));
    await assert.rejects(loadConfig(folder), refusal('OPTION_INVALID', 'EISDIR'));
    await assert.rejects(loadConfig(''), refusal('OPTION_INVALID', 'the path of a file'));
    assert.match(await problemOf(Buffer.from('{}', 'utf16le').fill(0xff, 0, 1)), /no text in UTF-8/);
  });
});
