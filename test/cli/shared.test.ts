import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { createBus } from '../../src/bus/bus.ts';
import { silentLogger } from '../../src/core/log.ts';
import { tempFolder } from '../storage/disk.ts';
import { run } from './child.ts';

describe('mailvan --shared', { concurrency: 2 }, () => {
  it('takes part in a shared folder, whether or not somebody else does', async (t) => {
    const folder = `${tempFolder(t)}/folder`;
    const shared = ['--shared', folder];
    assert.equal(
      (await run(t, ['mailbox', 'add', 'work', 'in', ...shared])).stdout,
      'default/work created, on node folder\n',
    );
    const bus = await createBus({ shared: folder, node: 'app', logger: silentLogger });
    const pub = await run(t, ['pub', 'in', 'hello', ...shared]);
    assert.equal(pub.code, 0, pub.stderr);
    const status = await run(t, ['status', ...shared]);
    assert.match(status.stdout, /^Cluster default, led by folder at unix:.*run\/2\.sock/);
    await bus.close();
    const list = JSON.parse((await run(t, ['mailbox', 'ls', '--json', ...shared])).stdout);
    assert.deepEqual([list.name, list.home, list.waiting], ['default/work', 'folder', 1]);
    const letters = await run(t, ['dlq', 'ls', '--json', ...shared]);
    assert.deepEqual([letters.code, letters.stdout], [0, '']);
  });

  it('is told by the file of settings, relative to it; init prepares the mailboxes', async (t) => {
    const folder = tempFolder(t);
    const file = `${folder}/mailvan.config.json`;
    writeFileSync(file, JSON.stringify({ shared: './bus', subscriptions: [{ name: 'work', pattern: 'in' }] }));
    const init = await run(t, ['init', '--config', file]);
    assert.deepEqual([init.code, init.stdout], [0, 'default/work created\n']);
    await using bus = await createBus({ config: file, node: 'app', logger: silentLogger });
    assert.equal((await bus.status()).shared?.folder, `${folder}/bus`);
    assert.equal((await bus.publish('in', 1)).stored, 1);
  });

  it('goes with nothing that a process brings to a bus of its own', async (t) => {
    const shared = ['--shared', tempFolder(t)];
    for (const args of [
      ['status', '--leader', 'tcp://127.0.0.1:1'],
      ['mailbox', 'ls', '--data', './data'],
      ['mailbox', 'ls', '--connect', 'tcp://127.0.0.1:1'],
    ]) {
      const { code, stderr } = await run(t, [...args, ...shared]);
      assert.equal(code, 2, stderr);
      assert.match(stderr, /--shared/);
    }
  });
});
