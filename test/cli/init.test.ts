import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { type Owner, run } from './child.ts';

const subscriptions = [
  { name: 'orders', pattern: 'orders\\..*' },
  { name: 'bills', pattern: 'bills' },
];

/** A file of settings in a folder of its own. */
function settings(owner: Owner): { path: string; write(content: object): void } {
  const folder = mkdtempSync(join(tmpdir(), 'mailvan-init-'));
  owner.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'mailvan.config.json');
  return { path, write: (content) => writeFileSync(path, JSON.stringify(content)) };
}

describe('mailvan init', { concurrency: 3 }, () => {
  it('prepares every subscription of a file, and says what existed', async (t) => {
    const { path, write } = settings(t);
    const sound = { node: 'hub', service: 'shop', leader: true, store: { folder: './data' } };
    write({ ...sound, subscriptions: subscriptions.slice(0, 1) });
    const first = await run(t, ['init', '--config', path]);
    assert.deepEqual([first.code, first.stdout, first.stderr], [0, 'shop/orders created\n', '']);
    write({ ...sound, subscriptions });
    const second = await run(t, ['init', '--config', path]);
    assert.deepEqual([second.code, second.stdout], [0, 'shop/orders existed\nshop/bills created\n']);
    const list = await run(t, ['mailbox', 'ls', '--config', path, '--json']);
    assert.deepEqual(
      list.stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line).name),
      ['shop/bills', 'shop/orders'],
    );
  });

  it('fails where one differs, prepares the others, and changes it by --update', async (t) => {
    const { path, write } = settings(t);
    write({ store: { folder: './data' }, subscriptions: subscriptions.slice(0, 1) });
    await run(t, ['init', '--config', path]);
    write({ store: { folder: './data' }, subscriptions: [{ name: 'orders', pattern: 'other' }, subscriptions[1]] });
    const failed = await run(t, ['init', '--config', path]);
    assert.equal(failed.code, 1);
    assert.match(
      failed.stdout,
      /^orders differs: .*the pattern is orders\\\.\.\*, asked for was other.*\ndefault\/bills created\n$/,
    );
    assert.match(
      failed.stderr,
      /^mailvan: orders: exists with other options \[NAME_TAKEN\]\n {2}→ change what exists by --update/,
    );
    const updated = await run(t, ['init', '--config', path, '--update', '--json']);
    assert.equal(updated.code, 0);
    assert.deepEqual(
      updated.stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line)),
      [
        { name: 'default/orders', outcome: 'changed' },
        { name: 'default/bills', outcome: 'existed' },
      ],
    );
  });

  it('refuses a file that is wrong, is missing, or names no store', async (t) => {
    const { path, write } = settings(t);
    write({ leader: 'tcp://10.0.8.1:1900', subscriptions });
    const [storeless, missing] = await Promise.all([
      run(t, ['init', '--config', path]),
      run(t, ['init', '--config', `${path}.not`]),
    ]);
    assert.deepEqual([storeless.code, missing.code], [2, 2]);
    assert.match(storeless.stderr, /names no store: its durable subscriptions live at its leader\n {2}→ .*--connect/);
    assert.match(missing.stderr, /there is no such file/);
  });
});
