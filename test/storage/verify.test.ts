import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createBus } from '../../src/bus/bus.ts';
import { PermanentError } from '../../src/core/errors.ts';
import type { BusEvent } from '../../src/core/events.ts';
import { silentLogger } from '../../src/core/log.ts';
import { LevelStore } from '../../src/storage/level.ts';
import { mendFolder } from '../../src/storage/mending.ts';
import { unsnap } from '../../src/storage/snappy.ts';
import { everything } from '../../src/storage/statistics.ts';
import { verifyFolder } from '../../src/storage/verify.ts';
import { refusal } from '../core/testbed.ts';
import { diceOf, filesOf, tempFolder } from './disk.ts';

/** More: MAILVAN_FLIPS=300 */
const flips = Number(process.env.MAILVAN_FLIPS ?? 40);
const seed = Number(process.env.MAILVAN_TEST_SEED ?? 7);

/** A node's data folder with a bit of everything in it, closed in order. */
const template = mkdtempSync(join(tmpdir(), 'mailvan-verify-'));
before(async () => {
  for (let round = 0; round < 4; round++) {
    const bus = await createBus({ dataDir: template, node: 'n', logger: silentLogger, durability: 'os' });
    const retry = { attempts: 2, delay: 3_600_000 };
    const sub = await bus.subscribe(
      'work',
      ({ payload }) => {
        const n = Number((payload as { n: number }).n);
        if (n % 50 === 0) throw new PermanentError(`no ${n}`);
        if (n % 30 === 0) throw new Error('later');
      },
      { name: 'work', durable: true, retry, concurrency: 4 },
    );
    await bus.subscribe('kept', null, { name: 'kept', durable: true });
    for (let i = 0; i < 40; i++) {
      const n = round * 1000 + i * 10;
      await bus.publishMany(
        Array.from({ length: 5 }, (_, j) => ({
          topic: 'work',
          payload: { n: n + j, text: 'x'.repeat((n * 7) % 300) },
        })),
      );
      await bus.publish('kept', { n, text: `${n}`.repeat(20) });
      if (i % 10 === 0) await bus.publish('kept', n, { delay: 3_600_000 });
    }
    if (round === 2) await sub.close();
    await bus.close();
  }
  // A compaction that the end came upon leaves files behind that count no more: an opening removes them.
  const store = join(template, 'store');
  for (let i = 0; i < 10 && (await verifyFolder(store)).notes.length > 0; i++)
    await tamper(store, async () => undefined);
});
after(() => rmSync(template, { recursive: true, force: true }));

function copyOf(t: Parameters<typeof tempFolder>[0]): string {
  const folder = join(tempFolder(t), 'store');
  cpSync(join(template, 'store'), folder, { recursive: true });
  return folder;
}

/** What tells of damage: the report, in words. */
async function told(folder: string): Promise<string[]> {
  const { whole, problems } = await verifyFolder(folder);
  assert.equal(whole, problems.length === 0);
  return problems.map(({ where, problem }) => `${where}: ${problem}`);
}

/** Changes the records of a store behind its back. */
async function tamper(folder: string, change: (store: LevelStore) => Promise<void>): Promise<void> {
  const store = await LevelStore.open(folder);
  await change(store);
  await store.close();
}

async function keysOf(folder: string): Promise<string[]> {
  const keys: string[] = [];
  await tamper(folder, async (store) => {
    for await (const [key] of store.scan(everything)) keys.push(key);
  });
  return keys;
}

describe('verify', () => {
  test('finds nothing wrong with a store that was closed in order, and counts what it holds', async (t) => {
    const folder = copyOf(t);
    const { whole, problems, notes, statistics } = await verifyFolder(folder);
    assert.deepEqual([whole, problems, notes], [true, [], []]);
    const { node, starts, mailboxes = [], deadLetters } = statistics ?? {};
    assert.deepEqual([node, starts], ['n', 4]);
    assert.deepEqual(
      mailboxes.map(({ name }) => name),
      ['default/kept', 'default/work'],
    );
    const [kept, work] = mailboxes;
    assert.deepEqual([kept?.messages, kept?.parked], [176, 16]);
    assert.ok((work?.stubs ?? 0) > 0 && (work?.parked ?? 0) > 0 && (deadLetters?.count ?? 0) > 0);
    const bus = await createBus({ dataDir: template, logger: silentLogger });
    const status = await bus.status();
    await bus.close();
    for (const { name, waiting, bytes, parked } of status.mailboxes) {
      const counted = mailboxes.find((each) => each.name === name);
      assert.deepEqual([counted?.messages, counted?.bytes, counted?.parked], [waiting, bytes, parked], name);
    }
    assert.equal(deadLetters?.count, status.deadLetters.size);
    const { folder: dataDir, failed, gaps, bytes = 0 } = status.store ?? assert.fail('it has a store');
    assert.deepEqual([dataDir, failed, gaps], [template, false, 0]);
    assert.ok(bytes > 1000, String(bytes));
  });

  test('changes nothing, and leaves nothing behind', async (t) => {
    const folder = copyOf(t);
    const files = filesOf(folder);
    await verifyFolder(folder);
    assert.deepEqual(filesOf(folder), files);
    assert.deepEqual(readdirSync(join(folder, '..')), ['store']);
  });

  test('finds nothing wrong with the store of a process that was killed', async (t) => {
    const folder = tempFolder(t);
    const file = fileURLToPath(new URL('../bus/durable-child.ts', import.meta.url));
    for (let round = 0; round < 3; round++) {
      const args = ['--import', 'tsx', file, folder, String(round * 1_000_000), round === 1 ? 'fsync' : 'os'];
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
      t.after(() => child.kill('SIGKILL'));
      await once(child.stdout, 'data');
      await new Promise((done) => setTimeout(done, 100 + 150 * round));
      child.kill('SIGKILL');
      await once(child, 'exit');
      assert.deepEqual(await told(join(folder, 'data', 'store')), []);
    }
  });

  test(`finds each of ${flips} flipped bits, anywhere in the files`, async (t) => {
    const roll = diceOf(seed);
    const folder = copyOf(t);
    const files = [...filesOf(folder)];
    assert.ok(files.some(([name]) => name.endsWith('.ldb')));
    const total = files.reduce((sum, [, { length }]) => sum + length, 0);
    for (let i = 0; i < flips; i++) {
      // Half of them anywhere, half of them in one of the files: a small one, too, has its turn.
      let at = roll(total);
      let place = i % 2 === 0 ? 0 : roll(files.length);
      if (i % 2 === 0) while (at >= (files[place]?.[1].length ?? 0)) at -= files[place++]?.[1].length ?? 0;
      const [name, bytes] = files[place] ?? assert.fail();
      at %= bytes.length;
      const bit = roll(8);
      const flipped = Buffer.from(bytes);
      flipped[at] = (flipped[at] ?? 0) ^ (1 << bit);
      writeFileSync(join(folder, name), flipped);
      const problems = await told(folder);
      assert.notDeepEqual(problems, [], `seed ${seed}, flip ${i}: ${name}, byte ${at} of ${bytes.length}, bit ${bit}`);
      writeFileSync(join(folder, name), bytes);
    }
    assert.deepEqual(await told(folder), []);
  });

  test('finds a table or a MANIFEST that was cut, and any file that is gone', async (t) => {
    const roll = diceOf(seed);
    const folder = copyOf(t);
    for (const [name, bytes] of filesOf(folder)) {
      const path = join(folder, name);
      if (name.endsWith('.ldb')) {
        truncateSync(path, roll(bytes.length));
        assert.notDeepEqual(await told(folder), [], name);
      }
      if (name.startsWith('MANIFEST')) {
        truncateSync(path, roll(20));
        assert.notDeepEqual(await told(folder), [], name);
      }
      rmSync(path);
      assert.notDeepEqual(await told(folder), [], `${name} is gone`);
      writeFileSync(path, bytes);
    }
  });

  test('tells of a file that nothing refers to any more, and takes no damage to it for damage', async (t) => {
    const folder = copyOf(t);
    const [, bytes] = [...filesOf(folder)].find(([each]) => each.endsWith('.ldb')) ?? assert.fail();
    for (const name of ['000001.ldb', '000001.log']) writeFileSync(join(folder, name), bytes.subarray(1));
    const { whole, notes } = await verifyFolder(folder);
    assert.ok(whole);
    assert.deepEqual(notes, [
      '000001.ldb: nothing refers to it any more; the next opening removes it',
      '000001.log: nothing refers to it any more; the next opening removes it',
    ]);
    await tamper(folder, async () => undefined);
    assert.deepEqual(
      [...filesOf(folder).keys()].filter((each) => each.startsWith('000001')),
      [],
    );
  });

  test('takes a log that was cut for one of earlier: what is there is whole', async (t) => {
    const roll = diceOf(seed);
    const folder = copyOf(t);
    const [name, bytes] = [...filesOf(folder)].find(([each]) => each.endsWith('.log')) ?? assert.fail();
    for (let i = 0; i < 5; i++) {
      writeFileSync(join(folder, name), bytes.subarray(0, roll(bytes.length)));
      assert.deepEqual(await told(folder), []);
    }
  });

  test('finds every record that is gone, but stubs that nobody needs', async (t) => {
    const folder = copyOf(t);
    const keys = (await keysOf(folder)).filter((key) => key !== 'probe');
    const roll = diceOf(seed);
    const chosen = keys
      .filter((key) => !key.startsWith('sg/') || roll(8) === 0)
      .filter((_, i) => i % (flips > 40 ? 1 : 5) === 0);
    assert.ok(chosen.length > 10);
    for (const key of new Set([...chosen, 'dl', 'node'])) {
      let value: Uint8Array | undefined;
      await tamper(folder, async (store) => {
        value = await store.get(key);
        await store.write([{ type: 'del', key }], true);
      });
      const isStub = key.startsWith('sg/') && value?.[1] === 2;
      if (!isStub) assert.notDeepEqual(await told(folder), [], key);
      await tamper(folder, (store) => store.write([{ type: 'put', key, value: value ?? new Uint8Array(0) }], true));
    }
    assert.deepEqual(await told(folder), []);
  });

  test('finds every record that was changed, or stands under a wrong key', async (t) => {
    const folder = copyOf(t);
    const keys = await keysOf(folder);
    for (const prefix of ['sg/', 'st/', 'pk/', 'box/', 'dead/', 'dl', 'node']) {
      const key = keys.find((each) => each.startsWith(prefix)) ?? assert.fail(`nothing at ${prefix}`);
      let value: Uint8Array = new Uint8Array(0);
      await tamper(folder, async (store) => {
        value = Uint8Array.from((await store.get(key)) ?? []);
        const changed = Uint8Array.from(value);
        changed[changed.length - 1] = (changed[changed.length - 1] ?? 0) ^ 4;
        await store.write([{ type: 'put', key, value: changed }], true);
      });
      const problems = await told(folder);
      assert.ok(
        problems.some((problem) => problem.includes(`'${key}' has a wrong checksum`)),
        `${key}: ${problems}`,
      );
      await tamper(folder, (store) => store.write([{ type: 'put', key, value }], true));
      if (!key.includes('/')) continue;
      const wrong = `${key.slice(0, -1)}z`;
      await tamper(folder, (store) => store.write([{ type: 'put', key: wrong, value }], true));
      const { whole, notes } = await verifyFolder(folder);
      // A state that belongs to nobody holds nothing: it is worth telling, and no damage.
      // A file that a compaction has left is another note.
      const remains = notes.filter((note) => note.includes('remains of a mailbox')).length;
      assert.ok(!whole || (prefix === 'st/' && remains === 1), wrong);
      await tamper(folder, (store) => store.write([{ type: 'del', key: wrong }], true));
    }
  });

  test('names the mailbox and what is missing in it', async (t) => {
    const folder = copyOf(t);
    await tamper(folder, async (store) => {
      const kept = (await keysOfBoxes(store)).get('default/kept');
      const segments: string[] = [];
      for await (const [key] of store.scan({ gte: `sg/${kept}/`, lt: `sg/${kept}/~` })) segments.push(key);
      await store.write([{ type: 'del', key: segments[10] ?? '' }], true);
    });
    const [problem, ...others] = await told(folder);
    assert.match(problem ?? '', /^default\/kept: 1 message is missing: \d+ to \d+$/);
    assert.deepEqual(others, []);
  });

  test('is STORE_LOCKED while somebody has it open, and OPTION_INVALID where there is none', async (t) => {
    const folder = copyOf(t);
    const store = await LevelStore.open(folder);
    await assert.rejects(verifyFolder(folder), refusal('STORE_LOCKED'));
    await store.close();
    const nowhere = join(tempFolder(t), 'nothing');
    await assert.rejects(verifyFolder(nowhere), refusal('OPTION_INVALID', nowhere));
    assert.ok(!existsSync(nowhere));
  });
});

async function keysOfBoxes(store: LevelStore): Promise<Map<string, string>> {
  const { decodeControl } = await import('../../src/wire/codec.ts');
  const found = new Map<string, string>();
  for await (const [key, value] of store.scan({ gte: 'box/', lt: 'box0' })) {
    found.set(String(decodeControl(value.subarray(8)).name), key.slice(4));
  }
  return found;
}

describe('repair', () => {
  test('does nothing to a store that is whole', async (t) => {
    const folder = copyOf(t);
    const { original, changes } = await mendFolder(folder);
    assert.deepEqual([original, changes, readdirSync(join(folder, '..'))], [undefined, [], ['store']]);
  });

  test('leaves a store that is whole and opens without a gap, whatever was broken, and keeps the original', async (t) => {
    const roll = diceOf(seed);
    for (let i = 0; i < Math.max(4, flips / 10); i++) {
      const folder = copyOf(t);
      const keys = (await keysOf(folder)).filter((key) => !/^(probe|node|box\/.*)$/.test(key));
      for (let n = 0; n < 3; n++) {
        const key = keys[roll(keys.length)] ?? '';
        await tamper(folder, async (store) => {
          const value = Uint8Array.from((await store.get(key)) ?? []);
          if (value.length > 0) value[roll(value.length)] = 77;
          await store.write([roll(2) === 0 ? { type: 'del', key } : { type: 'put', key, value }], true);
        });
      }
      if (i % 2 === 1) {
        const [name, bytes] = [...filesOf(folder)].find(([each]) => each.endsWith('.ldb')) ?? assert.fail();
        const at = roll(bytes.length);
        bytes[at] = (bytes[at] ?? 0) ^ 16;
        writeFileSync(join(folder, name), bytes);
      }
      const found = filesOf(folder);
      const { before: was, original, after: is } = await mendFolder(folder);
      if (was.whole) continue;
      assert.deepEqual(is.problems, [], `seed ${seed}, round ${i}: ${was.problems.map(({ problem }) => problem)}`);
      assert.ok(original !== undefined);
      assert.deepEqual(new Set(filesOf(original).keys()), new Set(found.keys()));
      const events: BusEvent[] = [];
      const data = join(folder, '..');
      const bus = await createBus({ dataDir: data, logger: silentLogger });
      bus.on('store.gap', (event) => events.push(event));
      const seen = new Map<string, number>();
      for (const name of ['work', 'kept']) {
        if ((await bus.mailboxes.list()).every((info) => info.name !== `default/${name}`)) continue;
        await bus.subscribe(name, () => void seen.set(name, (seen.get(name) ?? 0) + 1), { name, durable: true });
      }
      const waited = async (): Promise<boolean> =>
        (await bus.mailboxes.list()).every((info) => info.waiting === info.parked);
      for (let turn = 0; turn < 200 && !(await waited()); turn++) await new Promise((done) => setTimeout(done, 10));
      const rest = (await bus.mailboxes.list()).map(({ name, waiting, parked }) => [name, waiting - parked]);
      await bus.close();
      assert.deepEqual(events, [], `seed ${seed}, round ${i}`);
      assert.deepEqual(
        rest.filter(([, waiting]) => waiting !== 0),
        [],
      );
      assert.deepEqual(await told(folder), []);
    }
  });
});

test('Snappy: blocks as LevelDB writes them are read, and nonsense is refused', () => {
  assert.deepEqual(unsnap(Uint8Array.of(5, 16, 104, 101, 108, 108, 111)), Uint8Array.from(Buffer.from('hello')));
  // 'ab' and then a copy of 8 bytes from 2 back.
  assert.deepEqual(unsnap(Uint8Array.of(10, 4, 97, 98, (4 << 2) | 1, 2)), Uint8Array.from(Buffer.from('ababababab')));
  for (const bad of [[], [5], [5, 16, 104], [200, 200, 200, 200, 200, 1], [4, 0, 97, 1, 9], [3, 4, 97, 98]]) {
    assert.equal(unsnap(Uint8Array.from(bad)), undefined, String(bad));
  }
});
