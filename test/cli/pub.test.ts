import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { leader, mailvan, ownerOfSuite, run } from './child.ts';

describe('mailvan pub', { concurrency: 3 }, () => {
  const owner = ownerOfSuite();
  let address = '';
  const secret = 'sixteen bytes at least';
  let to: string[] = [];
  before(async () => {
    ({ address } = await leader(owner, '--secret', secret));
    to = ['--leader', address, '--secret', secret];
  });

  it('publishes an argument and says where it went', async (t) => {
    const { code, stdout, stderr } = await run(t, ['pub', 'orders.created', 'hello', ...to]);
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(stdout, /^published \w+\.1 to 1 subscription\n$/);
  });

  it('prints its receipt as JSON', async (t) => {
    const { code, stdout } = await run(t, [
      'pub',
      'orders.created',
      '7',
      '--id',
      'seven',
      '--json-payload',
      '--json',
      ...to,
    ]);
    assert.equal(code, 0);
    const { topic, id, matched, unreachable } = JSON.parse(stdout);
    assert.deepEqual([topic, id, matched, unreachable], ['orders.created', 'seven', 1, []]);
  });

  it('publishes lines of stdin in order, with key and headers', async (t) => {
    const sub = mailvan(t, ['sub', 'lines\\.test', '--json', ...to]);
    await sub.says('stderr', 'listening');
    const pub = ['pub', 'lines.test', '--key', 'k', '--header', 'a=1', '--header', 'b=c=d', ...to];
    const { code, stdout, stderr } = await run(t, pub, 'first\r\nsecond\n\u{1F600} third');
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(stdout, /^published 3 messages on 'lines\.test' in \d\.\d s/);
    const lines = (await sub.says('stdout', /third.*\n/)).trim().split('\n');
    const got = lines.map((line) => JSON.parse(line));
    assert.deepEqual(
      got.map(({ payload }) => payload),
      ['first', 'second', '\u{1F600} third'],
    );
    for (const { key, headers } of got) assert.deepEqual([key, headers], ['k', { a: '1', b: 'c=d' }]);
  });

  it('publishes ten thousand lines, and counts them', async (t) => {
    const input = Array.from({ length: 10_000 }, (_, i) => `{"n":${i}}\n`).join('');
    const { code, stdout } = await run(t, ['pub', 'orders.many', '--json-payload', '--json', ...to], input);
    assert.equal(code, 0);
    const { published, failed } = JSON.parse(stdout);
    assert.deepEqual([published, failed], [10_000, 0]);
  });

  it('stops at the first line that fails, and names it', async (t) => {
    const { code, stdout, stderr } = await run(t, ['pub', 'orders.many', '--json-payload', ...to], '1\n2\nthree\n4\n');
    assert.equal(code, 1);
    assert.match(stderr, /line 3: "three" is no JSON \[PAYLOAD_INVALID\]/);
    assert.match(stdout, /^published 2 messages .*; 1 failed\n$/);
  });

  it('ends with 5 when nobody subscribed, unless that is allowed', async (t) => {
    const nobody = await run(t, ['pub', 'nobody.there', 'x', ...to]);
    assert.equal(nobody.code, 5);
    assert.match(nobody.stderr, /NO_SUBSCRIBERS\]\n {2}→ start a subscriber/);
    const lines = await run(t, ['pub', 'nobody.there', '--json', ...to], 'x\ny\n');
    assert.equal(lines.code, 5);
    assert.equal(JSON.parse(lines.stderr).error.line, 1);
    assert.equal((await run(t, ['pub', 'nobody.there', 'x', '--at-least', '0', ...to])).code, 0);
  });

  it('ends with 6 when the time is up', async (t) => {
    const { code, stderr } = await run(t, ['pub', 'stuck', '--timeout', '2s', ...to], '1\n2\n3\n');
    assert.equal(code, 6);
    assert.match(stderr, /TIMEOUT\]\n {2}→ give it longer by --timeout/);
  });

  it('ends with 1 when a mailbox refuses', async (t) => {
    const { code, stderr } = await run(t, ['pub', 'full', ...to], '1\n2\n3\n4\n');
    assert.equal(code, 1);
    assert.match(stderr, /MAILBOX_FULL\]\n {2}→ a subscriber is behind/);
  });

  it('ends with 3 when it cannot connect', async (t) => {
    const refused = await run(t, ['pub', 'orders.a', 'x', '--leader', 'tcp://127.0.0.1:1', '--timeout', '200ms']);
    assert.equal(refused.code, 3);
    assert.match(refused.stderr, /NO_LEADER\]\n {2}→ is a leader running there\?/);
    const stranger = await run(t, [
      'pub',
      'orders.a',
      'x',
      '--leader',
      address,
      '--secret',
      'another secret of mine',
      '--json',
    ]);
    assert.equal(stranger.code, 3);
    const { error } = JSON.parse(stranger.stderr);
    assert.deepEqual([error.code, error.exitCode], ['HANDSHAKE_REFUSED', 3]);
    assert.match(error.hint, /--secret/);
    const twin = await run(t, ['pub', 'orders.a', 'x', '--node', 'hub', '--timeout', '300ms', ...to]);
    assert.equal(twin.code, 3);
    assert.match(twin.stderr, /NAME_TAKEN|HANDSHAKE_REFUSED/);
  });

  it('ends with 3 when the only subscriber is away', async (t) => {
    const sub = mailvan(t, ['sub', 'away', '--node', 'absent', ...to]);
    await sub.says('stderr', 'listens');
    sub.kill('SIGKILL');
    await sub.ends();
    const { code, stderr } = await run(t, ['pub', 'away', 'x', ...to]);
    assert.equal(code, 3);
    assert.match(stderr, /1 of 1 subscriptions could not be reached and will not get .*: absent\/sub-1/);
  });

  it('sends what it has read when a signal ends it', async (t) => {
    const child = mailvan(t, ['pub', 'orders.tail', ...to]);
    const sub = mailvan(t, ['sub', 'orders\\.tail', ...to]);
    await sub.says('stderr', 'listens');
    child.write('one\ntwo\n');
    await sub.says('stdout', 'two');
    child.kill('SIGINT');
    const { code, stdout } = await child.ends();
    assert.equal(code, 0);
    assert.match(stdout, /^published 2 messages/);
  });
});
