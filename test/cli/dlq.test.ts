import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { createBus } from '../../src/bus/bus.ts';
import { PermanentError } from '../../src/core/errors.ts';
import { silentLogger } from '../../src/core/log.ts';
import { decodePayload } from '../../src/wire/codec.ts';
import { type Owner, run } from './child.ts';

interface Options {
  leader?: true;
  listen?: string;
}

/** The dataDir of a node with four dead letters of the durable subscription 'work', and that node. */
async function buried(owner: Owner, options: Options = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'mailvan-dlq-'));
  const data = join(folder, 'data');
  const bus = await createBus({ dataDir: data, node: 'home', logger: silentLogger, durability: 'os', ...options });
  owner.after(async () => {
    await bus.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const handler = ({ payload }: { payload: unknown }): never => {
    throw new PermanentError(payload === 'odd' ? 'timeout' : `no order ${String(payload)}`);
  };
  const sub = await bus.subscribe('orders\\..*', handler, { name: 'work', durable: true });
  for (const [topic, payload] of [
    ['orders.a', 1],
    ['orders.b', { n: 2n }],
    ['orders.c', new Uint8Array([1, 2])],
    ['orders.d', 'odd'],
  ] as const) {
    await bus.publish(topic, payload, { headers: { h: topic } });
    await bus.drain();
  }
  await sub.close();
  return { data, bus };
}

async function closed(owner: Owner): Promise<string> {
  const { data, bus } = await buried(owner);
  await bus.close();
  return data;
}

const parsed = (text: string) =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));

describe('mailvan dlq', { concurrency: 3 }, () => {
  it('ls, show and groups tell what a folder holds', async (t) => {
    const data = await closed(t);
    const [list, found, groups] = await Promise.all([run(t, ['dlq', 'ls', '--data', data])]).then(async ([first]) => [
      first,
      await run(t, [
        'dlq',
        'ls',
        '--data',
        data,
        '--json',
        '--error',
        'TIMEOUT',
        '--since',
        '1h',
        '--subscription',
        'work',
      ]),
      await run(t, ['dlq', 'groups', '--data', data]),
    ]);
    assert.deepEqual([list?.code, list?.stderr], [0, '']);
    assert.match(list?.stdout ?? '', /^ {2}ID +GIVEN UP +SUBSCRIPTION +TOPIC/);
    assert.match(list?.stdout ?? '', /default\/work +orders\.a +permanent +1 +PermanentError: no order 1\n/);
    const [letter, ...others] = parsed(found?.stdout ?? '');
    assert.deepEqual([letter.topic, letter.payload, others.length], ['orders.d', 'odd', 0]);
    assert.match(groups?.stdout ?? '', /\n {2}[0-9a-f]{16} +2 +default\/work .* no order #|no order/);
    const show = await run(t, ['dlq', 'show', letter.id, '--data', data]);
    assert.match(show.stdout, /\nlastError +\S+ PermanentError: timeout\n/);
    assert.match(show.stdout, /\npayload +odd\n$/);
    const nothing = await run(t, ['dlq', 'show', 'nope', '--data', data]);
    assert.equal(nothing.code, 1);
    assert.match(nothing.stderr, /NOT_FOUND/);
  });

  it('ls finds letters by reason, time, place and number, and topics by wildcards', async (t) => {
    const data = await closed(t);
    const topics = async (...filter: string[]): Promise<string[]> => {
      const { code, stdout, stderr } = await run(t, ['dlq', 'ls', '--json', '--data', data, ...filter]);
      assert.equal(code, 0, stderr);
      return stdout === '' ? [] : parsed(stdout).map(({ topic }) => topic);
    };
    const all = ['orders.a', 'orders.b', 'orders.c', 'orders.d'];
    const [first, second] = parsed((await run(t, ['dlq', 'ls', '--json', '--data', data])).stdout);
    assert.deepEqual(await topics('--reason', 'permanent'), all);
    assert.deepEqual(await topics('--reason', 'crash'), []);
    assert.deepEqual(await topics('--since', new Date(second.deadAt + 60_000).toISOString()), []);
    assert.deepEqual(await topics('--until', '1h'), []);
    assert.deepEqual(await topics('--until', new Date(second.deadAt + 60_000).toISOString()), all);
    assert.deepEqual(await topics('--after', first.id), all.slice(1));
    assert.deepEqual(await topics('--limit', '2'), all.slice(0, 2));
    assert.deepEqual(await topics('--topic', 'orders.#', '--wildcard'), all);
    assert.deepEqual(await topics('--topic', 'orders.[ab]', '--wildcard'), []);
  });

  it('export writes every letter as one line of JSON from which its payload can be had back', async (t) => {
    const data = await closed(t);
    const { code, stdout, stderr } = await run(t, ['dlq', 'export', '--data', data]);
    assert.deepEqual([code, stderr], [0, '4 exported\n']);
    const [a, b, c, d] = parsed(stdout);
    assert.deepEqual([a.payload, a.encoding, a.headers], [1, undefined, { h: 'orders.a' }]);
    assert.deepEqual([b.encoding, decodePayload(Buffer.from(b.payload, 'base64'))], ['msgpack', { n: 2n }]);
    assert.deepEqual([c.encoding, c.payload], ['base64', 'AQI=']);
    assert.equal(d.payload, 'odd');
  });

  it('retry moves letters into the mailbox of a node that does not run; drop throws them away', async (t) => {
    const data = await closed(t);
    const retried = await run(t, ['dlq', 'retry', '--topic', 'orders.[ab]', '--data', data]);
    assert.deepEqual([retried.code, retried.stdout], [0, '2 dead letters retried\n'], retried.stderr);
    const dropped = await run(t, ['dlq', 'drop', '--error', 'timeout', '--data', data, '--json']);
    assert.deepEqual(parsed(dropped.stdout), [{ dropped: 1 }]);
    const handled: unknown[] = [];
    const bus = await createBus({ dataDir: data, logger: silentLogger });
    await bus.subscribe('orders\\..*', ({ topic }, { attempt }) => void handled.push([topic, attempt]), {
      name: 'work',
      durable: true,
    });
    await bus.drain();
    const left = (await bus.deadLetters.list()).map(({ topic }) => topic);
    await bus.close();
    assert.deepEqual(handled, [
      ['orders.a', 1],
      ['orders.b', 1],
    ]);
    assert.deepEqual(left, ['orders.c']);
  });

  it('retry and drop want to be told what: an id, a filter, or --all', async (t) => {
    const data = await closed(t);
    for (const [args, text] of [
      [['retry'], /needs ids or a filter, or --all/],
      [['drop', 'x', '--all'], /leave the filters out/],
      [['show'], /<id> is missing/],
      [['ls', 'x'], /ls takes no id/],
      [['lst'], /did you mean ls\?/],
      [['ls', '--since', 'noon'], /--since "noon" is no time/],
      [['ls', '--reason', 'bored'], /reason "bored" must be one of/],
    ] as const) {
      const { code, stderr } = await run(t, ['dlq', ...args, '--data', data]);
      assert.equal(code, 2, stderr);
      assert.match(stderr, text);
    }
    assert.equal((await run(t, ['dlq', 'drop', '--all', '--data', data])).stdout, '4 dead letters dropped\n');
  });

  it('asks a node that runs by --connect, and refuses its folder with STORE_LOCKED', async (t) => {
    const { data, bus } = await buried(t, { leader: true, listen: 'tcp://127.0.0.1:0' });
    const to = ['--connect', bus.address ?? '', '--node', 'home'];
    const locked = await run(t, ['dlq', 'ls', '--data', data]);
    assert.equal(locked.code, 1);
    assert.match(locked.stderr, /STORE_LOCKED.*\n.*--connect/s);
    const list = parsed((await run(t, ['dlq', 'ls', '--json', ...to])).stdout);
    assert.deepEqual(
      list.map(({ topic }) => topic),
      ['orders.a', 'orders.b', 'orders.c', 'orders.d'],
    );
    assert.deepEqual(
      parsed((await run(t, ['dlq', 'groups', '--error', 'timeout', '--json', ...to])).stdout)[0].count,
      1,
    );
    assert.equal((await run(t, ['dlq', 'show', list[3].id, '--json', ...to])).stdout, `${JSON.stringify(list[3])}\n`);
    const exported = await run(t, ['dlq', 'export', '--topic', 'orders.[cd]', ...to]);
    assert.equal(exported.stdout, `${JSON.stringify(list[2])}\n${JSON.stringify(list[3])}\n`);
    const two = `${list[0].id},${list[1].id}`;
    assert.equal((await run(t, ['dlq', 'retry', two, ...to])).stdout, '2 dead letters retried\n');
    assert.equal((await run(t, ['dlq', 'drop', '--subscription', 'work', ...to])).stdout, '2 dead letters dropped\n');
    assert.equal((await bus.status()).deadLetters.size, 0);
    assert.equal((await bus.mailboxes.stats('work')).waiting, 2);
    const stranger = await run(t, ['dlq', 'ls', '--connect', bus.address ?? '', '--node', 'nobody']);
    assert.equal(stranger.code, 3, stranger.stderr);
  });
});
