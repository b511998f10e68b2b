import assert from 'node:assert/strict';
import { readdirSync, utimesSync } from 'node:fs';
import { test } from 'node:test';
import { FolderLock } from '../../src/storage/folder-lock.ts';
import { Child, pathOf } from '../cli/child.ts';
import { tempFolder } from './disk.ts';

const holds = `
  import { FolderLock } from './src/storage/folder-lock.ts';
  const lock = await FolderLock.take(process.argv[1]);
  console.log(lock === undefined ? 'refused' : 'held');
  if (lock !== undefined) setInterval(() => {}, 1000);
`;

test('the lock of a folder is held by one part of one process at a time', async (t) => {
  const folder = tempFolder(t);
  const lock = await FolderLock.take(folder);
  assert.ok(lock !== undefined);
  assert.equal(await FolderLock.take(`${folder}/.`), undefined, 'another part of this process');
  const other = (): Child =>
    new Child(t, process.execPath, ['--import', 'tsx', '--input-type=module', '-e', holds, folder]);
  const refused = await other().ends();
  assert.equal(
    refused.stdout,
    'refused\n',
    `another process; being refused here must not have cost the lock: ${refused.stderr}`,
  );
  await lock.release();
  const again = await FolderLock.take(folder);
  assert.ok(again !== undefined);
  await again.release();
  assert.deepEqual(readdirSync(folder), ['LOCK']);
});

test('the lock is free when its holder was killed, and what that has left is swept away', async (t) => {
  const folder = tempFolder(t);
  const child = new Child(t, process.execPath, ['--import', 'tsx', '--input-type=module', '-e', holds, folder]);
  await child.says('stdout', 'held');
  assert.equal(await FolderLock.take(folder), undefined);
  child.kill('SIGKILL');
  await child.ends();
  const lock = await FolderLock.take(folder);
  assert.ok(lock !== undefined);
  const places = (): string[] => readdirSync(folder).filter((name) => name.startsWith('lock-'));
  assert.equal(places().length, 2, 'what is new may be that of somebody who tries');
  await lock.release();
  const [left = ''] = places();
  utimesSync(`${folder}/${left}`, 1, 1);
  await (await FolderLock.take(folder))?.release();
  assert.deepEqual(places(), []);
});

test('of many who try at once one takes the lock', async (t) => {
  const folder = tempFolder(t);
  for (let round = 0; round < 10; round++) {
    const taken = await Promise.all(Array.from({ length: 8 }, () => FolderLock.take(folder)));
    const [lock, ...more] = taken.filter((each) => each !== undefined);
    assert.ok(lock !== undefined);
    assert.equal(more.length, 0);
    await lock.release();
  }
});

test('a folder that does not exist has no lock', async () => {
  await assert.rejects(FolderLock.take(pathOf('no/such/folder')), { code: 'STORE_FAILED' });
});
