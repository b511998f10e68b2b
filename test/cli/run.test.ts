import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
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
  });
});
