import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { tempFolder } from '../storage/disk.ts';
import { leader, mailvan, moduleOf, ownerOfSuite, run } from './child.ts';

describe('how a command finds its cluster', { concurrency: 2 }, () => {
  const owner = ownerOfSuite();
  const secret = 'sixteen bytes at least';
  let address = '';
  before(async () => {
    ({ address } = await leader(owner, '--secret', secret, '--cluster', 'shop'));
  });

  it('--cluster has to be the name of it', async (t) => {
    const to = ['--leader', address, '--secret', secret];
    const other = await run(t, ['status', ...to]);
    assert.equal(other.code, 3, other.stdout);
    assert.match(other.stderr, /HANDSHAKE_REFUSED/);
    const { code, stdout } = await run(t, ['status', '--cluster', 'shop', ...to]);
    assert.equal(code, 0);
    assert.match(stdout, /^Cluster shop, led by hub/);
  });

  it('--secret-file names a file with the secret', async (t) => {
    const folder = tempFolder(t);
    writeFileSync(join(folder, 'right'), `${secret}\n`);
    writeFileSync(join(folder, 'wrong'), 'another secret of mine\n');
    const status = (file: string) =>
      run(t, ['status', '--cluster', 'shop', '--leader', address, '--secret-file', join(folder, file)]);
    const [right, wrong, missing] = await Promise.all(['right', 'wrong', 'missing'].map(status));
    assert.deepEqual([right?.code, wrong?.code, missing?.code], [0, 3, 2]);
    assert.match(missing?.stderr ?? '', /--secret-file cannot be read/);
  });

  it('MAILVAN_LEADER and MAILVAN_SECRET stand in for --leader and --secret', async (t) => {
    const env = { MAILVAN_LEADER: address, MAILVAN_SECRET: secret };
    const there = await mailvan(t, ['status', '--cluster', 'shop'], env).ends();
    assert.deepEqual([there.code, there.stderr], [0, '']);
    const wrong = { ...env, MAILVAN_SECRET: 'another secret of mine' };
    assert.equal((await mailvan(t, ['status', '--cluster', 'shop'], wrong).ends()).code, 3);
    const nowhere = ['status', '--leader', 'tcp://127.0.0.1:1', '--timeout', '200ms'];
    assert.equal((await mailvan(t, nowhere, env).ends()).code, 3, 'what is given counts');
  });
});

it('--log-level says how much of the log of the bus is on stderr: errors, unless it is told otherwise', async (t) => {
  const said = async (...level: string[]): Promise<string> => {
    const alone = ['run', moduleOf('talking.mjs'), '--lead', '--listen', 'tcp://127.0.0.1:0', '--node', 'hub'];
    const child = mailvan(t, [...alone, ...level]);
    await child.says('stderr', 'Ctrl-C');
    child.kill('SIGTERM');
    return (await child.ends()).stderr;
  };
  const [plain, debug] = await Promise.all([said(), said('--log-level', 'debug')]);
  assert.doesNotMatch(plain, /"level"/);
  assert.match(debug, /"level":20,.*"node":"hub"/);
});
