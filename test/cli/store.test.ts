import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { createBus } from '../../src/bus/bus.ts';
import { silentLogger } from '../../src/core/log.ts';
import { type Owner, run } from './child.ts';

/** The dataDir of a node that does not run, with a mailbox that holds 30 messages. */
async function stored(owner: Owner): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'mailvan-store-cli-'));
  owner.after(() => rmSync(folder, { recursive: true, force: true }));
  const data = join(folder, 'data');
  for (let round = 0; round < 3; round++) {
    await using bus = await createBus({ dataDir: data, node: 'home', logger: silentLogger, durability: 'os' });
    await bus.mailboxes.add({ name: 'work', pattern: 'in' });
    for (let i = 0; i < 10; i++) await bus.publish('in', `message ${i} of ${round}`);
  }
  return data;
}

/** Flips a bit in the middle of the first table. */
function damage(data: string): void {
  const folder = join(data, 'store');
  const name = readdirSync(folder).find((each) => each.endsWith('.ldb')) ?? assert.fail('there is a table');
  const bytes = readFileSync(join(folder, name));
  bytes[100] = (bytes[100] ?? 0) ^ 1;
  writeFileSync(join(folder, name), bytes);
}

describe('mailvan store', { concurrency: 3 }, () => {
  it('verify ends with 0 when a store is whole, and with 7, saying what is wrong, when it is not', async (t) => {
    const data = await stored(t);
    const whole = await run(t, ['store', 'verify', '--data', data]);
    assert.deepEqual([whole.code, whole.stderr], [0, '']);
    assert.match(whole.stdout, /store is whole: \d+ records, 1 mailbox with 30 messages, 0 dead letters\n$/);
    damage(data);
    const wrong = await run(t, ['store', 'verify', '--data', data]);
    assert.equal(wrong.code, 7);
    assert.match(wrong.stdout, /^\d+\.ldb\n {2}is damaged: wrong checksum of the block at \d+\n/);
    assert.match(wrong.stderr, /mailvan store repair/);
    const json = await run(t, ['store', 'verify', '--data', data, '--json']);
    assert.equal(json.code, 7);
    const report = JSON.parse(json.stdout);
    assert.deepEqual([report.whole, report.problems.length], [false, report.problemCount]);
  });

  it('repair saves what can be saved, keeps the original, and verifies the rest', async (t) => {
    const data = await stored(t);
    damage(data);
    const repaired = await run(t, ['store', 'repair', '--data', data]);
    assert.equal(repaired.code, 0, repaired.stdout + repaired.stderr);
    const [, original = ''] = /as it was found it is kept in (\S+)/.exec(repaired.stdout) ?? [];
    assert.ok(existsSync(original), repaired.stdout);
    assert.equal((await run(t, ['store', 'verify', '--data', data])).code, 0);
    const again = await run(t, ['store', 'repair', '--data', data, '--json']);
    const { original: none, changes, whole } = JSON.parse(again.stdout);
    assert.deepEqual([none, changes, whole], [undefined, [], true]);
  });

  it('backup makes a dataDir that a node can be opened with, of a folder or of a node that runs', async (t) => {
    const data = await stored(t);
    const target = join(data, '..', 'copy');
    const made = await run(t, ['store', 'backup', target, '--data', data]);
    assert.equal(made.code, 0, made.stderr);
    assert.match(made.stdout, /records .* are in .*copy, a dataDir itself\n$/);
    const twice = await run(t, ['store', 'backup', target, '--data', data]);
    assert.equal(twice.code, 2);
    assert.match(twice.stderr, /empty folder/);
    const bus = await createBus({ dataDir: target, logger: silentLogger, leader: true, listen: 'tcp://127.0.0.1:0' });
    t.after(() => bus.close());
    assert.deepEqual([bus.node, (await bus.mailboxes.stats('work')).waiting], ['home', 30]);
    const asked = await run(t, ['store', 'backup', 'monday', '--connect', bus.address ?? '', '--json']);
    assert.equal(asked.code, 0, asked.stderr);
    const { folder, node } = JSON.parse(asked.stdout);
    assert.deepEqual([folder, node], [join(target, 'backups', 'monday'), 'home']);
    const elsewhere = await run(t, ['store', 'backup', 'x', '--connect', bus.address ?? '', '--node', 'nobody']);
    assert.equal(elsewhere.code, 3, elsewhere.stderr);
    assert.match(elsewhere.stderr, /nobody/);
    const wicked = await run(t, ['store', 'backup', '../../etc', '--connect', bus.address ?? '']);
    assert.equal(wicked.code, 2, wicked.stderr);
    const locked = await run(t, ['store', 'verify', '--data', target]);
    assert.deepEqual([locked.code, /STORE_LOCKED/.test(locked.stderr)], [1, true]);
    await bus.close();
    assert.equal((await run(t, ['store', 'verify', '--data', folder])).code, 0);
  });

  it('stats counts what each mailbox holds, and what that takes on disk', async (t) => {
    const data = await stored(t);
    const text = await run(t, ['store', 'stats', '--data', data]);
    assert.match(text.stdout, /^node home, started 3 times\n\d+ records of [\d,]+ bytes; [\d,]+ bytes on disk\n/);
    assert.match(
      text.stdout,
      /\n {2}MAILBOX +MESSAGES +BYTES +PARKED +SEGMENTS +STUBS +OLDEST\n {2}default\/work +30 /,
    );
    const { mailboxes, files } = JSON.parse((await run(t, ['store', 'stats', '--data', data, '--json'])).stdout);
    assert.deepEqual([mailboxes[0].messages, mailboxes[0].parked, files > 1000], [30, 0, true]);
  });

  it('is refused where it is wrong, and where there is no store', async (t) => {
    const data = await stored(t);
    for (const [args, text] of [
      [['verfy', '--data', data], /did you mean verify\?/],
      [['verify'], /verify needs --data <folder>/],
      [['backup', '--data', data], /<target> is missing/],
      [['verify', '--connect', 'tcp://127.0.0.1:1'], /--connect is for backup/],
      [['verify', '--data', join(data, 'nothing')], /there is no store in/],
    ] as const) {
      const { code, stderr } = await run(t, ['store', ...args]);
      assert.equal(code, 2, stderr);
      assert.match(stderr, text);
    }
  });
});
