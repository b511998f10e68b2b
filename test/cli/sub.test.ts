import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { type Bus, createBus } from '../../src/bus/bus.ts';
import { silentLogger } from '../../src/core/log.ts';
import { leader, mailvan, ownerOfSuite, run } from './child.ts';

describe('mailvan sub', { concurrency: 3 }, () => {
  const owner = ownerOfSuite();
  let to: string[] = [];
  let bus: Bus;
  before(async () => {
    const { address } = await leader(owner);
    to = ['--leader', address];
    bus = await createBus({ node: 'tester', leader: address, logger: silentLogger });
    owner.after(() => bus.close());
  });

  it('prints a message a line, and ends after --count', async (t) => {
    const sub = mailvan(t, ['sub', 'plain\\..*', '--count', '4', ...to]);
    await sub.says('stderr', 'listens');
    await bus.publish('plain.a', 'text');
    await bus.publish('plain.b', { n: 1, list: [true, null] });
    await bus.publish('plain.c', 'two\nlines \u001b[31mand\u009b a colour');
    await bus.publish('plain.d', Uint8Array.of(1, 2, 3));
    await bus.publish('plain.e', 'one too many');
    const { code, stdout } = await sub.ends();
    assert.equal(code, 0);
    assert.deepEqual(stdout.split('\n'), [
      'plain.a\ttext',
      'plain.b\t{"n":1,"list":[true,null]}',
      'plain.c\t"two\\nlines \\u001b[31mand\\u009b a colour"',
      'plain.d\tbase64:AQID',
      '',
    ]);
  });

  it('prints every field as JSON, binary payloads as base64', async (t) => {
    const sub = mailvan(t, ['sub', 'json\\..*', '--json', '--count', '2', ...to]);
    const note = JSON.parse(await sub.says('stderr', '\n'));
    assert.deepEqual([note.listening.subscription, note.listening.pattern], ['sub-1', 'json\\..*']);
    await bus.publish('json.a', Uint8Array.of(255, 0), { id: 'mine', key: 'k', headers: { h: 'v' } });
    const at = new Date(86_400_000);
    await bus.publish('json.b', { big: 2n ** 60n, bytes: Uint8Array.of(1), at });
    const { stdout } = await sub.ends();
    const [first, second] = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const { publishedAt, ...rest } = first;
    assert.ok(publishedAt > 0);
    assert.deepEqual(rest, {
      id: 'mine',
      topic: 'json.a',
      payload: '/wA=',
      encoding: 'base64',
      headers: { h: 'v' },
      key: 'k',
      source: 'tester',
      attempt: 1,
      subscription: 'sub-1',
    });
    assert.deepEqual(second.payload, { big: '1152921504606846976', bytes: { base64: 'AQ==' }, at: at.toISOString() });
  });

  it('takes AMQP wildcards', async (t) => {
    const sub = mailvan(t, ['sub', 'wild.*.eu.#', '--wildcard', '--count', '2', ...to]);
    await sub.says('stderr', 'listens');
    for (const topic of ['wild.a.eu', 'wild.a.us', 'wild.a.b.eu', 'wild.b.eu.x.y']) await bus.publish(topic, 1);
    assert.equal((await sub.ends()).stdout, 'wild.a.eu\t1\nwild.b.eu.x.y\t1\n');
  });

  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    it(`ends in order on ${signal}`, async (t) => {
      const sub = mailvan(t, ['sub', `ends.${signal}`, '--node', `ends-${signal}`, ...to]);
      await sub.says('stderr', 'listens');
      const left = new Promise<void>((resolve) => {
        bus.on('node.left', ({ node }) => node === `ends-${signal}` && resolve());
      });
      sub.kill(signal);
      assert.equal((await sub.ends()).code, 0);
      await left; // it said goodbye
    });
  }

  it('ends quietly when nobody reads any more', async (t) => {
    const sub = mailvan(t, ['sub', 'pipe', ...to]);
    await sub.says('stderr', 'listens');
    await bus.publish('pipe', 1);
    await sub.says('stdout', '1\n');
    sub.process.stdout?.destroy(); // as `head -1` does
    await bus.publish('pipe', 2);
    const { code, stderr } = await sub.ends();
    assert.equal(code, 0);
    assert.match(stderr, /^cli-sub-\S+ listens to pipe; Ctrl-C ends\n$/);
  });

  it('ends with 6 when --count messages do not come within --timeout', async (t) => {
    const { code, stderr } = await run(t, ['sub', 'silence', '--count', '1', '--timeout', '1500ms', ...to]);
    assert.equal(code, 6);
    assert.match(stderr, /0 of 1 messages came within 1500ms/);
  });

  it('ends with 2 when the pattern is none', async (t) => {
    const { code, stderr } = await run(t, ['sub', 'a(', '--json', ...to]);
    assert.equal(code, 2);
    assert.equal(JSON.parse(stderr).error.code, 'PATTERN_INVALID');
  });
});
