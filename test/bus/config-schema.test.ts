import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { type JsonSchema, Place } from '../../src/bus/options/config-rules.ts';
import { configRule, configSchema } from '../../src/bus/options/config-schema.ts';
import { resolveOptions } from '../../src/bus/options/options.ts';
import { BusError } from '../../src/core/errors.ts';
import { silentLogger } from '../../src/core/log.ts';
import { defaultOutage } from '../../src/core/outage.ts';
import { defaultRetry } from '../../src/core/retry.ts';
import { checkName } from '../../src/core/topic.ts';
import { VirtualClock } from '../../src/core/virtual-clock.ts';
import { parseAddress } from '../../src/transport/address.ts';
import { MemoryNetwork } from '../../src/transport/memory.ts';

const keywords = new Set(
  'description default type enum pattern minLength properties required dependentRequired additionalProperties propertyNames items anyOf oneOf'.split(
    ' ',
  ),
);

/** Whether a value is right by the part of JSON Schema that ours uses. */
function valid(schema: JsonSchema, value: unknown): boolean {
  const is = (type: JsonSchema['type']): boolean => {
    if (type === 'integer') return Number.isInteger(value);
    if (type === 'array') return Array.isArray(value);
    if (type === 'object') return typeof value === 'object' && value !== null && !Array.isArray(value);
    return typeof value === type;
  };
  if (schema.type !== undefined && !is(schema.type)) return false;
  if (schema.enum !== undefined && !schema.enum.some((known) => isDeepStrictEqual(known, value))) return false;
  if (schema.anyOf?.some((branch) => valid(branch, value)) === false) return false;
  if (schema.oneOf !== undefined && schema.oneOf.filter((branch) => valid(branch, value)).length !== 1) return false;
  if (typeof value === 'string') {
    if (schema.pattern !== undefined && !new RegExp(schema.pattern, 'u').test(value)) return false;
    if (schema.minLength !== undefined && [...value].length < schema.minLength) return false;
  }
  if (Array.isArray(value)) return value.every((entry) => valid(schema.items ?? {}, entry));
  if (typeof value !== 'object' || value === null) return true;
  const has = (name: string): boolean => Object.hasOwn(value, name);
  if (schema.required?.every(has) === false) return false;
  for (const [name, others] of Object.entries(schema.dependentRequired ?? {})) {
    if (has(name) && !others.every(has)) return false;
  }
  return Object.entries(value).every(([name, member]) => {
    const { properties = {}, additionalProperties, propertyNames } = schema;
    if (propertyNames !== undefined && !valid(propertyNames, name)) return false;
    const known = Object.hasOwn(properties, name) ? properties[name] : additionalProperties;
    return known === undefined || (known !== false && valid(known, member));
  });
}

/** Whether the loader lets a document through. */
function loads(document: unknown): boolean {
  try {
    configRule.check(document, new Place('mailvan.config.json'));
    return true;
  } catch (error) {
    assert.ok(error instanceof BusError, String(error));
    return false;
  }
}

/** A place in the file: what describes it, and how to make a document with a value just there. */
interface Spot {
  readonly path: string;
  readonly schema: JsonSchema;
  readonly with: (value: unknown) => unknown;
}

/** A value that is right, as small as it can be. */
function sample(schema: JsonSchema): unknown {
  const { type, enum: values, anyOf, properties = {}, required = [], oneOf = [] } = schema;
  if (values !== undefined) return values[0];
  if (anyOf !== undefined) return sample(anyOf[0] ?? {});
  if (type === 'array') return [];
  if (type !== 'object') return candidates.find((value) => valid(schema, value));
  const names = [...required, ...(oneOf[0]?.required ?? [])];
  return Object.fromEntries(names.map((name) => [name, sample(properties[name] ?? {})]));
}

function spotsOf(spot: Spot): Spot[] {
  const { schema, path } = spot;
  const spots = [spot];
  for (const branch of schema.anyOf ?? []) spots.push(...spotsOf({ ...spot, schema: branch }).slice(1));
  if (schema.items !== undefined) {
    spots.push(...spotsOf({ path: `${path}[]`, schema: schema.items, with: (value) => spot.with([value]) }));
  }
  if (typeof schema.additionalProperties === 'object') {
    const put = (value: unknown) => spot.with({ any: value });
    spots.push(...spotsOf({ path: `${path}.*`, schema: schema.additionalProperties, with: put }));
  }
  for (const [name, member] of Object.entries(schema.properties ?? {})) {
    const chosen = schema.oneOf?.some(({ required }) => required?.[0] === name) === true;
    const others = (chosen ? {} : sample(schema)) as object;
    const put = (value: unknown) => spot.with({ ...others, [name]: value });
    spots.push(...spotsOf({ path: `${path}.${name}`, schema: member, with: put }));
  }
  return spots;
}

/** Whatever anybody might write anywhere, as JSON lists. */
const candidates: readonly unknown[] = [
  '[null, true, false, 0, 1, 1.5, -3, "", " ", "x", "i", "isu", "ii", "g", "a b", "a\\n", "A_1", "1A", "10s", "5"]',
  '["tcp://h:1", "unix:/s", "unix:", "http://h", "fsync", "os", "topic", "block", "drop-newest", "none"]',
  '[[], [1], ["x"], [[]], [{ "maxSize": 1 }], [{ "name": "a", "pattern": "b" }], [{ "name": "a" }]]',
  '[{}, { "x": 1 }, { "toString": 1 }, { "__proto__": {} }, { "env": "A" }, { "env": "A", "file": "b" }, { "folder": "a" }]',
  '[{ "regex": "a" }, { "regex": "a", "flags": "i" }, { "flags": "i" }, { "wildcard": "a" }]',
  '[{ "wildcard": "a", "flags": "i" }, { "wildcard": "a", "regex": "a" }, { "ping": 1 }, { "delay": 1 }]',
  '[{ "maxSize": 1 }, { "minPeriod": 1 }, { "maxSize": 1, "minPeriod": 1 }]',
].flatMap((line) => JSON.parse(line) as unknown[]);

const root = configSchema();
const spots = spotsOf({ path: '', schema: root, with: (value) => value });

describe('the schema and the loader', () => {
  test('have every key of the file', () => {
    const paths = new Set(spots.map(({ path }) => path));
    const keys = (prefix: string, names: string): string[] => names.split(' ').map((name) => `${prefix}.${name}`);
    const expected = [
      ...['', '.subscriptions[]', '.subscriptions[].filters[]'],
      ...keys(
        '',
        '$schema node cluster service leader listen shared secret secrets access tls insecure joinTimeout liveness redial limits store',
      ),
      ...keys('', 'subscriptions capabilities syslog'),
      '.capabilities.*',
      ...keys('.secret', 'env file'),
      '.secrets.*',
      ...keys('.secrets.*', 'env file'),
      '.access[]',
      ...keys('.access[]', 'nodes publish subscribe spawn manage'),
      ...keys('.access[].nodes', 'regex flags wildcard'),
      ...['publish', 'subscribe', 'spawn'].flatMap((action) => [
        ...keys(`.access[].${action}`, 'allow deny'),
        ...['allow', 'deny'].flatMap((which) => [
          `.access[].${action}.${which}[]`,
          ...keys(`.access[].${action}.${which}[]`, 'regex flags wildcard'),
        ]),
      ]),
      ...keys('.tls', 'cert key ca'),
      ...keys('.liveness', 'ping suspect down'),
      ...keys('.redial', 'delay maxDelay timeout'),
      ...keys(
        '.limits',
        'frame payload connections connectionsPerAddress handshakes handshake deadLetters deadLetterBytes',
      ),
      ...keys('.syslog', 'address level facility'),
      ...keys('.store', 'folder durability'),
      ...keys('.subscriptions[]', 'name pattern durability retry outage limits latestOnly filters'),
      ...keys('.subscriptions[].pattern', 'regex flags wildcard'),
      ...keys('.subscriptions[].retry', 'attempts delay factor maxDelay jitter'),
      ...keys('.subscriptions[].outage', 'failures messages grace'),
      ...keys('.subscriptions[].limits', 'messages bytes age overflow deadLetters'),
      ...keys('.subscriptions[].filters[]', 'maxSize minPeriod'),
    ];
    assert.deepEqual([...paths].sort(), expected.sort());
  });

  for (const { path, schema, with: put } of spots) {
    test(`agree on what may stand at ${path === '' ? 'the top' : path.slice(1)}, and that something may and something not`, () => {
      let accepted = 0;
      for (const value of [sample(schema), ...candidates]) {
        const document = put(value);
        const says = valid(root, document);
        assert.equal(loads(document), says, `${JSON.stringify(document)} is ${says ? 'right' : 'wrong'} by the schema`);
        if (says) accepted++;
      }
      assert.ok(accepted > 0, 'nothing is right');
      assert.ok(accepted < candidates.length * 0.7, 'nearly everything is right');
    });
  }

  test('agree on whole documents', () => {
    const a = { name: 'a', pattern: 'orders\\..*' };
    const right = [
      {},
      { $schema: './schema.json', leader: true, listen: 'tcp://0.0.0.0:1900', secret: { env: 'SECRET' } },
      { capabilities: {} },
      { capabilities: { writer: true, gpu: 1.5, region: 'eu' } },
      { store: { folder: './data' }, subscriptions: [a, { ...a, name: 'b', latestOnly: true, filters: [] }] },
    ];
    const wrong = [
      [],
      { store: {} },
      { capabilities: ['writer'] },
      { capabilities: { 'a b': true } },
      { capabilities: { writer: null } },
      { capabilities: { region: ['eu'] } },
      { secret: 'a literal of sixteen bytes' },
      { tls: { cert: 'a.crt', key: 'a.key' } },
      { tls: { cert: 'a.crt', key: '-----BEGIN PRIVATE KEY-----', ca: 'ca.crt' } },
      { subscriptions: [{ name: 'a' }] },
      { subscriptions: [a, { ...a, durable: true }] },
      { subscriptions: [{ ...a, filters: [{ maxSize: 1 }, {}] }] },
      { subscriptions: [{ ...a, pattern: { wildcard: '#', flags: 'i' } }] },
      { subscriptions: { a } },
    ];
    for (const document of right) assert.deepEqual([valid(root, document), loads(document)], [true, true]);
    for (const document of wrong) assert.deepEqual([valid(root, document), loads(document)], [false, false]);
  });

  test('know no number beyond all numbers, which JSON can write', () => {
    assert.equal(
      loads(JSON.parse('{ "subscriptions": [{ "name": "a", "pattern": "b", "retry": { "factor": 1e999 } }] }')),
      false,
    );
  });

  test('let the names through that checkName() does', () => {
    const names = [
      'a',
      'A-z_0.9',
      'x'.repeat(128),
      'x'.repeat(129),
      '',
      'a b',
      'ä',
      'a\n',
      'a/b',
      '\u{1f600}',
      '-',
      '$a',
    ];
    for (const node of names) {
      let right = true;
      try {
        checkName('node', node);
      } catch {
        right = false;
      }
      assert.deepEqual([valid(root, { node }), loads({ node })], [right, right], JSON.stringify(node));
    }
  });
});

describe('the schema', () => {
  test('describes every place, refuses strangers everywhere, and uses no keyword that this test does not know', () => {
    const { $schema, title, ...rest } = root;
    assert.deepEqual([$schema, title], ['https://json-schema.org/draft/2020-12/schema', 'mailvan.config.json']);
    const visit = (schema: JsonSchema): void => {
      for (const keyword of Object.keys(schema)) assert.ok(keywords.has(keyword), keyword);
      assert.ok(schema.description?.endsWith('.'), JSON.stringify(schema).slice(0, 100));
      // A map lets any name through that is right; what stands under it is described.
      if (schema.propertyNames !== undefined) {
        assert.ok(typeof schema.additionalProperties === 'object');
        visit(schema.additionalProperties);
      } else if (schema.type === 'object') assert.equal(schema.additionalProperties, false);
      if (schema.default !== undefined) assert.ok(valid(schema, schema.default), schema.description);
      for (const member of Object.values(schema.properties ?? {})) visit(member);
      for (const branch of schema.anyOf ?? []) visit(branch);
      if (schema.items !== undefined) visit(schema.items);
    };
    visit(rest);
  });

  test('tells the defaults that the library has', () => {
    const defaults = ({ properties = {} }: JsonSchema): Record<string, unknown> =>
      Object.fromEntries(
        Object.entries(properties).flatMap(([name, { default: value }]) =>
          value === undefined ? [] : [[name, value]],
        ),
      );
    const { joinTimeout, cluster, insecure, listen, liveness, redial, limits } = root.properties ?? {};
    const clock = new VirtualClock();
    const transport = new MemoryNetwork({ clock }).transport('here');
    const options = resolveOptions({ leader: true, logger: silentLogger }, { clock, transport });
    assert.deepEqual([joinTimeout?.default, cluster?.default], [options.joinTimeout, options.cluster]);
    assert.equal(insecure?.default, false);
    assert.deepEqual(parseAddress(listen?.default), options.listen);
    assert.deepEqual(defaults(liveness ?? {}), options.liveness);
    assert.deepEqual(defaults(redial ?? {}), options.redial);
    const { frame, payload, connections, handshake } = options.limits;
    assert.deepEqual(defaults(limits ?? {}), { frame, payload, connections, handshake });
    const { retry, outage } = root.properties?.subscriptions?.items?.properties ?? {};
    assert.deepEqual(defaults(retry ?? {}), defaultRetry);
    assert.deepEqual(defaults(outage?.anyOf?.[0] ?? {}), defaultOutage);
  });

  test('is the published mailvan.config.schema.json', () => {
    const file = 'mailvan.config.schema.json';
    const { files } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
    assert.ok(files.includes(file));
    assert.deepEqual(
      JSON.parse(readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')),
      root,
      `write it anew: node --import tsx src/cli/main.ts config schema > ${file} && npx biome format --write ${file}`,
    );
  });
});
