import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { createBus } from '../../src/bus/bus.ts';
import { silentLogger } from '../../src/core/log.ts';
import { leader, type Owner, run } from './child.ts';

/** A folder with the store of a node that does not run, and a durable mailbox that holds two messages. */
async function stored(owner: Owner): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'mailvan-mailbox-'));
  owner.after(() => rmSync(folder, { recursive: true, force: true }));
  const data = join(folder, 'data');
  await using bus = await createBus({ dataDir: data, node: 'home', logger: silentLogger, durability: 'os' });
  await bus.mailboxes.add({ name: 'work', pattern: 'in' });
  await bus.publish('in', 'first', { ttl: 1 });
  await bus.publish('in', { n: 2n, bytes: new Uint8Array([1, 2]) });
  return data;
}

describe('mailvan mailbox', { concurrency: 3 }, () => {
  it('ls, stats and peek show what a folder holds', async (t) => {
    const data = await stored(t);
    const list = await run(t, ['mailbox', 'ls', '--data', data]);
    assert.deepEqual([list.code, list.stderr], [0, '']);
    assert.match(list.stdout, /^ {2}NAME +PATTERN +HOME +WAITING/);
    assert.match(list.stdout, /\n {2}default\/work +in +home +2 +0 +0 /);
    const json = await run(t, ['mailbox', 'ls', '--data', data, '--json']);
    const { name, waiting } = JSON.parse(json.stdout);
    assert.deepEqual([name, waiting], ['default/work', 2]);
    const stats = await run(t, ['mailbox', 'stats', 'work', '--data', data]);
    assert.match(stats.stdout, /^name {7}default\/work\n/);
    assert.match(stats.stdout, /\nwaiting {4}2\n/);
    const peek = await run(t, ['mailbox', 'peek', 'work', '--data', data, '--limit', '1']);
    assert.equal(peek.stdout, 'in  first  (attempt 1)\n');
    const lines = (await run(t, ['mailbox', 'peek', 'work', '--data', data, '--json'])).stdout.trimEnd().split('\n');
    const [first, second] = lines.map((line) => JSON.parse(line));
    assert.deepEqual(second.payload, { n: '2', bytes: { base64: 'AQI=' } });
    const from = await run(t, ['mailbox', 'peek', 'work', '--data', data, '--json', '--from', second.position]);
    assert.equal(from.stdout, `${lines[1]}\n`);
    assert.notEqual(first.position, second.position);
  });

  it('prune and clear say how many have left', async (t) => {
    const data = await stored(t);
    assert.equal((await run(t, ['mailbox', 'prune', 'work', '--data', data])).stdout, '1 message pruned\n');
    const clear = await run(t, ['mailbox', 'clear', 'work', '--data', data, '--json']);
    assert.deepEqual(JSON.parse(clear.stdout), { name: 'work', cleared: 1 });
    assert.equal((await run(t, ['mailbox', 'clear', 'work', '--data', data])).stdout, '0 messages cleared\n');
  });

  it('add and rm make and remove one, rm only what is empty unless it is told to discard', async (t) => {
    const data = await stored(t);
    const added = await run(t, ['mailbox', 'add', 'mail', 'a.#', '--wildcard', '--data', data, '--service', 'post']);
    assert.deepEqual([added.code, added.stdout], [0, 'post/mail created, on node home\n']);
    const again = await run(t, ['mailbox', 'add', 'post/mail', 'b', '--data', data]);
    assert.equal(again.code, 1);
    assert.match(again.stderr, /exists with other options.*\[NAME_TAKEN\]/);
    const updated = await run(t, ['mailbox', 'add', 'post/mail', 'b', '--update', '--data', data]);
    assert.deepEqual([updated.code, updated.stdout], [0, 'post/mail changed, on node home\n']);
    assert.equal((await run(t, ['mailbox', 'rm', 'post/mail', '--data', data])).stdout, 'post/mail removed\n');
    const full = await run(t, ['mailbox', 'rm', 'work', '--data', data]);
    assert.equal(full.code, 2);
    assert.match(full.stderr, /holds 2 messages/);
    assert.equal((await run(t, ['mailbox', 'rm', 'work', '--discard', '--data', data])).code, 0);
    assert.match((await run(t, ['mailbox', 'ls', '--data', data])).stdout, /^There is no durable mailbox/);
  });

  it('tells what to do about a folder that a node has open, and makes none by mistake', async (t) => {
    const data = await stored(t);
    await using _ = await createBus({ dataDir: data, logger: silentLogger });
    const locked = await run(t, ['mailbox', 'ls', '--data', data]);
    assert.equal(locked.code, 1);
    assert.match(locked.stderr, /\[STORE_LOCKED\]\n {2}→ a node that runs has it open: ask it by --connect <address/);
    const none = await run(t, ['mailbox', 'ls', '--data', `${data}-typo`, '--json']);
    assert.equal(none.code, 1);
    const { error } = JSON.parse(none.stderr);
    assert.deepEqual([error.code, error.message], ['NOT_FOUND', `there is no store in ${data}-typo`]);
  });

  it('--connect asks the nodes that run', async (t) => {
    const { address } = await leader(t);
    const data = await stored(t);
    await using home = await createBus({ dataDir: data, leader: address, logger: silentLogger });
    const list = await run(t, ['mailbox', 'ls', '--connect', address, '--json']);
    assert.equal(list.code, 0, list.stderr);
    assert.deepEqual([JSON.parse(list.stdout).home, JSON.parse(list.stdout).waiting], ['home', 2]);
    const peek = await run(t, ['mailbox', 'peek', 'work', '--limit', '1', '--connect', address]);
    assert.equal(peek.stdout, 'in  first  (attempt 1)\n', peek.stderr);
    const clear = await run(t, ['mailbox', 'clear', 'work', '--connect', address]);
    assert.equal(clear.stdout, '2 messages cleared\n', clear.stderr);
    assert.equal((await home.mailboxes.stats('work')).waiting, 0);
  });

  it('rm --lost gives up a home that will not return: what was spooled for it becomes dead letters', async (t) => {
    const { address } = await leader(t);
    const data = await stored(t);
    const here = await run(t, ['mailbox', 'rm', 'work', '--lost', '--data', data]);
    assert.equal(here.code, 2);
    assert.match(here.stderr, /is at home on this node: it is not lost/);
    const home = await createBus({ dataDir: data, leader: address, logger: silentLogger });
    const folder = `${data}-publisher`;
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    await using publisher = await createBus({ node: 'pub', dataDir: folder, leader: address, logger: silentLogger });
    await home.close();
    const { spooled } = await publisher.publish('in', 'for nobody');
    assert.equal(spooled, 1);
    const lost = await run(t, ['mailbox', 'rm', 'work', '--lost', '--connect', address]);
    assert.deepEqual([lost.code, lost.stdout], [0, 'work removed: its home counts as lost\n'], lost.stderr);
    const end = Date.now() + 10_000;
    while ((await publisher.deadLetters.list()).length === 0 && Date.now() < end)
      await new Promise((done) => setTimeout(done, 10));
    const [letter] = await publisher.deadLetters.list();
    assert.deepEqual([letter?.payload, letter?.reason], ['for nobody', 'unreachable']);
    assert.match((await run(t, ['mailbox', 'ls', '--connect', address])).stdout, /^There is no durable mailbox/);
  });

  it('is refused with 2 where it is not called as it should be, naming the nearest', async (t) => {
    const [none, action, name, many, both] = await Promise.all([
      run(t, ['mailbox']),
      run(t, ['mailbox', 'clera', 'work']),
      run(t, ['mailbox', 'clear']),
      run(t, ['mailbox', 'ls', 'work']),
      run(t, ['mailbox', 'ls', '--data', 'a', '--connect', 'tcp://127.0.0.1:1']),
    ]);
    assert.deepEqual(
      [none, action, name, many, both].map(({ code, stdout }) => [code, stdout]),
      Array(5).fill([2, '']),
    );
    assert.match(none.stderr, /<action> is missing/);
    assert.match(action.stderr, /no action "clera"; did you mean clear\?/);
    assert.match(name.stderr, /<name> is missing/);
    assert.match(many.stderr, /ls takes no name/);
    assert.match(both.stderr, /give one of them/);
  });
});
