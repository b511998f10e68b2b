import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { createBus } from '../../src/bus/bus.ts';
import { silentLogger } from '../../src/core/log.ts';
import { tempFolder } from '../storage/disk.ts';
import { leader, mailvan, run } from './child.ts';

/** A node whose handler of `bad` fails for good. */
async function failing(t: TestContext, address: string, node: string) {
  const bus = await createBus({ node, leader: address, logger: silentLogger });
  t.after(() => bus.close());
  const retry = { attempts: 1 };
  await bus.subscribe(`${node}.bad`, () => Promise.reject(new Error('no such table')), { name: 'books', retry });
  return bus;
}

describe('mailvan events', { concurrency: 2 }, () => {
  it('prints what happens on any node, and ends by Ctrl-C with 0', async (t) => {
    const { address } = await leader(t);
    const [a, b] = [await failing(t, address, 'a'), await failing(t, address, 'b')];
    const child = mailvan(t, ['events', '--leader', address, '--type', 'message.dead', '--type', 'node']);
    await child.says('stderr', 'following every node; Ctrl-C ends\n');
    await a.publish('a.bad', 1);
    await a.publish('b.bad', 1);
    const line = (node: string): RegExp =>
      new RegExp(
        `^\\d{4}-\\d\\d-\\d\\dT[\\d:.]+Z  ${node}  message\\.dead  subscription=books  id=\\S+  topic=${node}\\.bad  attempts=1  reason=attempts  error=no such table$`,
        'm',
      );
    await child.says('stdout', line('a'));
    await child.says('stdout', line('b'));
    await b.close();
    await child.says('stdout', /^\S+ {2}cli-events-\S+ {2}node\.left {2}node=b {2}incarnation=\S+$/m);
    child.kill('SIGINT');
    const { code, stdout } = await child.ends();
    assert.equal(code, 0);
    assert.equal(stdout.trim().split('\n').length, 3, stdout);
  });

  it('prints JSON, ends after --count, and with --timeout waits no longer', async (t) => {
    const { address } = await leader(t);
    const [bus, other] = [await failing(t, address, 'a'), await failing(t, address, 'b')];
    const child = mailvan(t, [
      'events',
      '--leader',
      address,
      '--type',
      'message',
      '--of',
      'a',
      '--count',
      '1',
      '--json',
    ]);
    await child.says('stderr', '"following":"a"');
    await other.publish('b.bad', 1, { id: 'm0' }); // of another node
    await other.drain();
    await bus.publish('a.bad', 1, { id: 'm1' });
    const { code, stdout } = await child.ends();
    assert.equal(code, 0);
    const { at, node, type, about } = JSON.parse(stdout);
    assert.deepEqual(
      [node, type, about.id, about.error],
      ['a', 'message.dead', 'm1', { name: 'Error', message: 'no such table' }],
    );
    assert.ok(Math.abs(Date.now() - at) < 60_000);
    const late = await run(t, [
      'events',
      '--leader',
      address,
      '--type',
      'store',
      '--count',
      '2',
      '--timeout',
      '1500ms',
    ]);
    assert.equal(late.code, 6);
    assert.match(late.stderr, /0 of 2 events came within 1500ms/);
  });

  it('refuses events and nodes that do not exist', async (t) => {
    const { address } = await leader(t);
    const [type, node] = await Promise.all([
      run(t, ['events', '--type', 'mesage.dead']),
      run(t, ['events', '--leader', address, '--of', 'nobody']),
    ]);
    assert.equal(type.code, 2);
    assert.match(
      type.stderr,
      /there is no event "mesage\.dead"; did you mean message\.dead\?\n {2}→ the events are node\.joined/,
    );
    assert.equal(node.code, 3);
    assert.match(node.stderr, /NODE_UNREACHABLE/);
  });
});

describe('mailvan explain', () => {
  it('says who would get a message, in order, where, and why somebody cannot be reached', async (t) => {
    const hub = await leader(t, '--data', tempFolder(t));
    const { address } = hub;
    const home = await createBus({ node: 'home', leader: address, dataDir: tempFolder(t), logger: silentLogger });
    await home.subscribe('orders\\.(new|old)', null, { name: 'archive', durable: true });
    await using mem = await createBus({ node: 'mem', leader: address, logger: silentLogger });
    (await mem.subscribe(/^orders/i, () => {}, { name: 'audit', retry: { attempts: 7 } })).pause();
    await mem.publish('orders.new', 1);
    const text = await run(t, ['explain', 'orders.new', '--leader', address]);
    assert.equal(text.code, 0, text.stderr);
    const [head, columns, ...rows] = text.stdout.trimEnd().split('\n');
    assert.equal(head, 'A message on orders.new goes to 3 subscriptions, in this order');
    assert.match(columns ?? '', /SUBSCRIPTION +PATTERN +NODE +KEPT +STATE +WAITING +ATTEMPTS/);
    const all = rows.join('\n');
    assert.match(all, /^ +[1-3] {2}orders +orders\\\.\.\* +hub +in memory +active +0 +5$/m);
    assert.match(all, /^ +[1-3] {2}default\/archive +orders\\\.\(new\|old\) +home +on disk +no consumer +1 +5$/m);
    assert.match(all, /^ +[1-3] {2}audit +\/\^orders\/i +mem +in memory +paused +1 +7$/m);
    await home.close();
    const json = await run(t, ['explain', 'orders.new', '--leader', address, '--json']);
    const { topic, routes } = JSON.parse(json.stdout);
    assert.equal(topic, 'orders.new');
    const archive = routes.find(({ subscription }: { subscription: string }) => subscription === 'default/archive');
    assert.deepEqual([archive.durable, archive.reachable, archive.node], [true, false, 'home']);
    assert.match(archive.why, /node 'home' is not in the cluster/);
    const away = await run(t, ['explain', 'orders.new', '--leader', address]);
    assert.match(
      away.stdout,
      /default\/archive: node 'home' is not in the cluster.*; a publisher with a dataDir keeps the message/,
    );
  });

  it('of a topic that nobody has subscribed to it says so, with 5; one that is none is refused', async (t) => {
    const { address } = await leader(t);
    const nobody = await run(t, ['explain', 'nothing', '--leader', address, '--json']);
    assert.equal(nobody.code, 5);
    assert.deepEqual(JSON.parse(nobody.stdout), { topic: 'nothing', routes: [] });
    assert.equal(JSON.parse(nobody.stderr).error.code, 'NO_SUBSCRIBERS');
    assert.equal((await run(t, ['explain', '$sys.x', '--leader', address])).code, 2);
  });
});
