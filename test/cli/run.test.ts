import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createBus } from '../../src/bus/bus.ts';
import { silentLogger } from '../../src/core/log.ts';
import { tempFolder } from '../storage/disk.ts';
import { leader, mailvan, moduleOf, run } from './child.ts';

const alone = ['--lead', '--listen', 'tcp://127.0.0.1:0'];

describe('mailvan run', { concurrency: 3 }, () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    it(`says what it runs as, and closes in order on ${signal}`, async (t) => {
      const { child, address } = await leader(t);
      assert.match(address, /^tcp:\/\/127\.0\.0\.1:[1-9]\d*$/);
      assert.match(
        child.stderr,
        /^hub leads cluster 'default' at .*, with 3 subscriptions; Ctrl-C ends\n {2}orders {2}orders/,
      );
      child.kill(signal);
      await child.says('stdout', 'the module has ended');
      // The handlers of 'stuck' and 'full' are idle: nothing holds it up.
      const { code, stderr } = await child.ends();
      assert.equal(code, 0, stderr);
    });
  }

  it('ends at once with 1 on a second signal', async (t) => {
    const child = mailvan(t, ['run', moduleOf('hanging.mjs'), ...alone]);
    await child.says('stderr', 'Ctrl-C');
    child.kill('SIGTERM');
    await child.says('stdout', 'ending');
    // Signals that come together count as one, so this one is repeated until it counts.
    const again = setInterval(() => child.kill('SIGTERM'), 50);
    t.after(() => clearInterval(again));
    assert.equal((await child.ends()).code, 1);
  });

  it('tells a program what it runs as', async (t) => {
    const child = mailvan(t, ['run', moduleOf('orders.mjs'), ...alone, '--node', 'hub', '--json']);
    const { running } = JSON.parse(await child.says('stderr', '\n'));
    assert.deepEqual(
      [running.node, running.role, running.leader, running.cluster],
      ['hub', 'leader', 'hub', 'default'],
    );
    assert.deepEqual(running.subscriptions[0], { name: 'orders', pattern: 'orders\\..*' });
    assert.match(running.address, /^tcp:/);
  });

  it('joins a leader, and reports what it loses', async (t) => {
    const hub = await leader(t);
    const child = mailvan(t, ['run', moduleOf('orders.mjs'), '--leader', hub.address]);
    assert.match(await child.says('stderr', 'Ctrl-C'), /^cli-run-\d+-\w{4} follows hub in cluster 'default', with 3/);
    hub.child.kill('SIGKILL');
    await child.says('stderr', 'the leader hub is lost');
    child.kill('SIGTERM');
    assert.equal((await child.ends()).code, 0);
  });

  it('explains what is wrong with a module', async (t) => {
    const missing = await run(t, ['run', 'no-such-module.js', ...alone]);
    assert.equal(missing.code, 2);
    assert.match(missing.stderr, /there is no file \/.*no-such-module\.js/);
    const empty = await run(t, ['run', moduleOf('empty.mjs'), ...alone]);
    assert.equal(empty.code, 2);
    assert.match(empty.stderr, /exports no default\n {2}→ write: export default/);
    const throwing = await run(t, ['run', moduleOf('throwing.mjs'), ...alone]);
    assert.equal(throwing.code, 1);
    assert.match(throwing.stderr, /TypeError: no such table\n\s+at define \(.*throwing\.mjs/);
  });

  it('refuses what cannot be listened on', async (t) => {
    const { address } = await leader(t);
    const taken = await run(t, ['run', moduleOf('orders.mjs'), '--lead', '--listen', address, '--json']);
    assert.equal(taken.code, 1);
    assert.equal(JSON.parse(taken.stderr).error.code, 'ADDRESS_IN_USE');
    const open = await run(t, ['run', moduleOf('orders.mjs'), '--lead', '--listen', 'tcp://0.0.0.0:0']);
    assert.equal(open.code, 2);
    assert.match(open.stderr, /same secret/);
    const follower = ['run', moduleOf('orders.mjs'), '--leader', address, '--listen', 'tcp://0.0.0.0:0'];
    const openToo = await run(t, follower);
    assert.equal(openToo.code, 2);
    assert.match(openToo.stderr, /same secret/);
    const allowed = mailvan(t, [...follower, '--insecure', '--node', 'f']);
    assert.match(
      await allowed.says('stderr', 'Ctrl-C'),
      /^f follows hub in cluster 'default' and listens at tcp:\/\/0\.0\.0\.0:[1-9]\d*, with 3/,
    );
  });

  it('asks what a node that listens is to be: the leader, or one that follows', async (t) => {
    const { code, stderr } = await run(t, ['run', moduleOf('orders.mjs'), '--listen', 'tcp://127.0.0.1:0']);
    assert.equal(code, 2);
    assert.match(stderr, /to lead, or to follow\?\n {2}→ add --lead, or where the leader is by --leader/);
  });

  it('says which kinds it defines, and what it can do is what --capabilities says', async (t) => {
    const { address } = await leader(t);
    const args = ['run', moduleOf('kinds.mjs'), '--leader', address, '--capabilities', 'region=eu,gpu=2,ssd=true'];
    const child = mailvan(t, [...args, '--node', 'a']);
    const text = await child.says('stderr', 'Ctrl-C');
    assert.match(text, /^a follows hub in cluster 'default', with 0 subscriptions and the kinds idle, writer; Ctrl-C/);
    const json = mailvan(t, [...args, '--node', 'b', '--json']);
    assert.deepEqual(JSON.parse(await json.says('stderr', '\n')).running.kinds, ['idle', 'writer']);
    await using bus = await createBus({ leader: address, logger: silentLogger });
    const nodes = await bus.placements.nodes();
    const capabilities = { region: 'eu', gpu: 2, ssd: true };
    assert.deepEqual(nodes.find(({ node }) => node === 'b')?.capabilities, capabilities);
    const wrong = await run(t, ['run', moduleOf('kinds.mjs'), ...alone, '--capabilities', 'gpu']);
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /"gpu" is no capability\n {2}→ write name=value/);
  });

  it('hands its actors over on SIGTERM before the module ends, and a durable topic loses nothing', async (t) => {
    const { child: hub, address } = await leader(t, '--data', tempFolder(t));
    const start = async (node: string) => {
      const child = mailvan(t, ['run', moduleOf('kinds.mjs'), '--leader', address, '--node', node]);
      await child.says('stderr', 'Ctrl-C');
      return child;
    };
    const [a, b] = await Promise.all([start('a'), start('b')]);
    const spawn = ['actors', 'spawn', 'writer', '--name', 'w', '--pattern', 'work', '--durable', '--leader', address];
    const spawned = await run(t, spawn);
    assert.equal(spawned.code, 0, spawned.stderr);
    const [first, second] = a.stdout.includes('w.0 starts') ? [a, b] : [b, a];

    const count = 300;
    await using bus = await createBus({ leader: address, logger: silentLogger });
    const published = (async () => {
      for (let n = 0; n < count; n++) await bus.publish('work', n, { atLeast: 1 });
    })();
    await first.says('stdout', 'handled 20\n');
    first.kill('SIGTERM');
    const { code, stdout, stderr } = await first.ends();
    assert.equal(code, 0, stderr);
    assert.match(stdout, /handled \d+\nw\.0 stops\nthe module has ended\n$/);
    await second.says('stdout', 'w.0 starts');
    await published;
    const handled = (text: string): number[] => [...text.matchAll(/^handled (\d+)$/gm)].map(([, n]) => Number(n));
    const before = new Set(handled(stdout));
    for (let n = 0; n < count; n++) if (!before.has(n)) await second.says('stdout', `handled ${n}\n`);
    const after = handled(second.stdout);
    assert.deepEqual(
      after.filter((n) => before.has(n)),
      [],
      'what was handled is settled: it does not come again',
    );
    second.kill('SIGTERM');
    assert.equal((await second.ends()).code, 0);
    hub.kill('SIGTERM');
    assert.equal((await hub.ends()).code, 0);
  });
});
