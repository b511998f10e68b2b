import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BusError } from '../core/errors.ts';
import { VirtualClock } from '../core/virtual-clock.ts';
import { type KeyRange, prefixRange, type Store, type StoreOperation } from '../storage/store.ts';

/** What {@link storeSuite} needs of a driver; made anew for each test, and empty. */
export interface StoreFixture {
  readonly store: Store;
  /** Called after the test; the store is closed by then. */
  close?(): Promise<void>;
}

/**
 * The contract of {@link Store} as tests of node:test: call it in a test file of your own driver.
 *
 * @example storeSuite('in memory', async () => ({ store: new MemoryStore() }));
 */
export function storeSuite(name: string, create: () => Promise<StoreFixture>): void {
  const check: Check = (title, body) => {
    test(title, async () => {
      const fixture = await create();
      try {
        await body(fixture.store);
      } finally {
        await fixture.store.close();
        await fixture.close?.();
      }
    });
  };
  describe(`store: ${name}`, () => {
    valueTests(check);
    batchTests(check);
    orderTests(check);
    scanTests(check);
    closingTests(check);
    for (const state of ['open', 'closing', 'closed'] as const) stateTests(check, state);
    randomTests(check);
  });
}

type Check = (title: string, body: (store: Store) => Promise<void>) => void;

const everything: KeyRange = { gte: '', lt: '\u{10ffff}\u{10ffff}' };

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function put(key: string, value = key): StoreOperation {
  return { type: 'put', key, value: bytes(value) };
}

function del(key: string): StoreOperation {
  return { type: 'del', key };
}

/** What a range holds, as `key=value`. */
async function list(store: Store, range: KeyRange = everything): Promise<string[]> {
  const found: string[] = [];
  for await (const [key, value] of store.scan(range)) found.push(`${key}=${new TextDecoder().decode(value)}`);
  return found;
}

async function keys(store: Store, range: KeyRange = everything): Promise<string[]> {
  const found: string[] = [];
  for await (const [key] of store.scan(range)) found.push(key);
  return found;
}

/** The order of UTF-8 bytes. */
function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function valueTests(check: Check): void {
  check('what was put is there; what was not, is undefined', async (store) => {
    assert.equal(await store.get('a'), undefined);
    await store.write([put('a', 'one')], true);
    assert.deepEqual(Buffer.from((await store.get('a')) ?? []).toString(), 'one');
    await store.write([put('a', 'two')], false);
    assert.deepEqual(await list(store), ['a=two']);
    await store.write([del('a')], true);
    assert.equal(await store.get('a'), undefined);
    assert.deepEqual(await list(store), []);
  });

  check('any bytes are a value, none included; any text is a key', async (store) => {
    const value = Uint8Array.from({ length: 256 }, (_, i) => i);
    const odd = ['', ' ', 'a/b', '\u0000', 'ä', '日本', '😀', '__proto__', 'x'.repeat(1000)];
    await store.write(
      odd.map((key) => ({ type: 'put', key, value })),
      true,
    );
    await store.write([{ type: 'put', key: 'none', value: new Uint8Array(0) }], true);
    for (const key of odd) assert.deepEqual(Buffer.from((await store.get(key)) ?? []), Buffer.from(value), key);
    assert.equal((await store.get('none'))?.length, 0);
    assert.equal((await keys(store)).length, odd.length + 1);
  });

  check('deleting what is not there is harmless', async (store) => {
    await store.write([del('nope')], true);
    assert.deepEqual(await list(store), []);
  });
}

function batchTests(check: Check): void {
  check('the operations of a batch are applied in order, so the last of a key counts', async (store) => {
    await store.write([put('a', '1'), del('a'), put('a', '2'), put('b', '1'), del('b')], true);
    assert.deepEqual(await list(store), ['a=2']);
  });

  check('an empty batch changes nothing', async (store) => {
    await store.write([], true);
    assert.deepEqual(await list(store), []);
  });

  check('a batch is seen whole or not at all', async (store) => {
    const size = 50;
    const rounds = 20;
    const writing = (async () => {
      for (let round = 1; round <= rounds; round++) {
        await store.write(
          Array.from({ length: size }, (_, i) => put(`k${i}`, `${round}`)),
          false,
        );
      }
    })();
    const seen = new Set<string>();
    for (let look = 0; look < 3 * rounds; look++) {
      const values = new Set((await list(store)).map((entry) => entry.slice(entry.indexOf('=') + 1)));
      assert.ok(values.size <= 1, `a mixture of rounds ${[...values].join(', ')}`);
      for (const value of values) seen.add(value);
    }
    await writing;
    assert.equal((await list(store)).length, size);
    assert.ok(seen.size > 0);
  });

  check('batches are applied in the order in which they were given, awaited or not', async (store) => {
    const writes = Array.from({ length: 50 }, (_, i) => store.write([put('a', `${i}`)], i % 7 === 0));
    await Promise.all(writes);
    assert.deepEqual(await list(store), ['a=49']);
  });
}

function orderTests(check: Check): void {
  check('keys come in the order of their UTF-8 bytes, not of their UTF-16 units', async (store) => {
    const mixed = [
      'a',
      'B',
      'a/',
      'a0',
      'ab',
      'z',
      'ä',
      '\ue000',
      '\uffff',
      '\u{10000}',
      '😀',
      '\u{10ffff}',
      '',
      '\u0001',
    ];
    await store.write(
      mixed.map((key) => put(key)),
      true,
    );
    assert.deepEqual(await keys(store), [...mixed].sort(byBytes));
    assert.ok((await keys(store)).indexOf('\uffff') < (await keys(store)).indexOf('😀'));
  });

  check('a range begins at gte and ends before lt', async (store) => {
    await store.write(
      ['a', 'b', 'c', 'd'].map((key) => put(key)),
      true,
    );
    assert.deepEqual(await keys(store, { gte: 'b', lt: 'd' }), ['b', 'c']);
    assert.deepEqual(await keys(store, { gte: 'b', lt: 'b' }), []);
    assert.deepEqual(await keys(store, { gte: 'c', lt: 'a' }), []);
    assert.deepEqual(await keys(store, { gte: 'bb', lt: 'cc' }), ['c']);
    assert.deepEqual(await keys(store, { gte: 'x', lt: 'z' }), []);
  });

  check('a range can be read from its end', async (store) => {
    await store.write(
      ['a', 'b', 'c', 'd'].map((key) => put(key)),
      true,
    );
    assert.deepEqual(await keys(store, { gte: 'b', lt: 'd', reverse: true }), ['c', 'b']);
    assert.deepEqual(await keys(store, { ...everything, reverse: true }), ['d', 'c', 'b', 'a']);
    assert.deepEqual(await keys(store, { ...everything, reverse: false }), ['a', 'b', 'c', 'd']);
  });

  check('prefixRange() holds the keys with that beginning, and no others', async (store) => {
    const inside = ['dead/', 'dead/1', 'dead/ä', 'dead/😀', 'dead/\uffff'];
    await store.write(
      ['dead', 'dead0', 'deae', 'a', ...inside].map((key) => put(key)),
      true,
    );
    assert.deepEqual(await keys(store, prefixRange('dead/')), [...inside].sort(byBytes));
  });
}

function scanTests(check: Check): void {
  check('a scan shows the range as it was when it began', async (store) => {
    await store.write(
      ['a', 'b', 'c'].map((key) => put(key, '1')),
      true,
    );
    const found: string[] = [];
    for await (const [key, value] of store.scan(everything)) {
      found.push(`${key}=${new TextDecoder().decode(value)}`);
      if (key === 'a') await store.write([put('aa', '2'), put('b', '2'), del('c'), put('d', '2')], true);
    }
    assert.deepEqual(found, ['a=1', 'b=1', 'c=1']);
    assert.deepEqual(await list(store), ['a=1', 'aa=2', 'b=2', 'd=2']);
  });

  check('a scan can be left early, and several run side by side', async (store) => {
    await store.write(
      Array.from({ length: 1000 }, (_, i) => put(`k${String(i).padStart(4, '0')}`)),
      true,
    );
    for await (const [key] of store.scan(everything)) {
      if (key === 'k0003') break;
    }
    await assert.rejects(async () => {
      for await (const _ of store.scan(everything)) throw new Error('enough');
    }, /enough/);
    const both = await Promise.all([keys(store), keys(store, { ...everything, reverse: true })]);
    assert.equal(both[0].length, 1000);
    assert.deepEqual(both[1], [...both[0]].reverse());
  });

  check('a value that was read stays what it was when its key is written again', async (store) => {
    await store.write([put('a', 'one')], true);
    const value = await store.get('a');
    await store.write([put('a', 'two')], true);
    assert.equal(new TextDecoder().decode(value), 'one');
  });
}

function closingTests(check: Check): void {
  check('close() waits for writes under way, and twice is harmless', async (store) => {
    let written = false;
    const write = store.write([put('a')], true).then(() => {
      written = true;
    });
    const closing = store.close();
    await write;
    await closing;
    assert.equal(written, true);
    await store.close();
    await Promise.all([store.close(), store.close()]);
  });

  check('close() is not held up by a scan that nobody finishes', async (store) => {
    await store.write(
      ['a', 'b', 'c'].map((key) => put(key)),
      true,
    );
    const scan = store.scan(everything)[Symbol.asyncIterator]();
    assert.equal((await scan.next()).value?.[0], 'a');
    await store.close();
    await assert.rejects(async () => {
      await scan.next();
    }, closed);
  });
}

function closed(error: unknown): boolean {
  assert.ok(error instanceof BusError, String(error));
  assert.equal(error.code, 'CLOSED');
  return true;
}

/** What each verb does in a state of the store. */
function stateTests(check: Check, state: 'open' | 'closing' | 'closed'): void {
  const verbs: Readonly<Record<string, (store: Store) => Promise<unknown>>> = {
    'write()': (store) => store.write([put('a')], true),
    'an empty write()': (store) => store.write([], false),
    'get()': (store) => store.get('a'),
    'scan()': (store) => keys(store),
  };
  for (const [verb, act] of Object.entries(verbs)) {
    check(`${state}: ${verb} ${state === 'open' ? 'works' : 'is CLOSED'}`, async (store) => {
      const closing = state === 'open' ? undefined : store.close();
      if (state === 'closed') await closing;
      if (state === 'open') await act(store);
      else await assert.rejects(async () => act(store), closed);
      await closing;
    });
  }
}

const runs = 30;

function randomTests(check: Check): void {
  check(`in ${runs} random runs it holds what a sorted map would`, async (store) => {
    for (let seed = 1; seed <= runs; seed++) {
      try {
        await randomRun(store, seed);
      } catch (error) {
        throw new Error(`with seed ${seed}: ${String(error)}`, { cause: error });
      }
    }
  });
}

async function randomRun(store: Store, seed: number): Promise<void> {
  const clock = new VirtualClock(seed);
  const dice = (sides: number): number => Math.floor(clock.random() * sides);
  const letters = ['a', 'b', 'c', '/', 'ä', '\uffff', '😀'];
  const key = (): string => `${seed}/${Array.from({ length: dice(4) }, () => letters[dice(letters.length)]).join('')}`;
  const model = new Map<string, string>();
  for (let step = 0; step < 30; step++) {
    const batch = Array.from({ length: dice(6) }, (_, i) => (dice(3) === 0 ? del(key()) : put(key(), `${step}.${i}`)));
    for (const operation of batch) {
      if (operation.type === 'del') model.delete(operation.key);
      else model.set(operation.key, new TextDecoder().decode(operation.value));
    }
    await store.write(batch, dice(2) === 0);
    const [gte, lt] = dice(2) === 0 ? [`${seed}/`, `${seed}/\u{10ffff}`] : [key(), key()];
    const reverse = dice(2) === 0;
    const expected = [...model]
      .filter(([k]) => byBytes(k, gte) >= 0 && byBytes(k, lt) < 0)
      .sort(([a], [b]) => byBytes(a, b))
      .map(([k, v]) => `${k}=${v}`);
    assert.deepEqual(await list(store, { gte, lt, reverse }), reverse ? expected.reverse() : expected);
    const some = key();
    const value = await store.get(some);
    assert.equal(value === undefined ? undefined : new TextDecoder().decode(value), model.get(some));
  }
}
