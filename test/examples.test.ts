import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Child, type Owner, pathOf } from './cli/child.ts';

function example(owner: Owner, script: string, ...args: string[]): Child {
  return new Child(owner, process.execPath, ['--import', 'tsx', pathOf(script), ...args]);
}

async function addressOf(child: Child): Promise<string> {
  const [, address = ''] = /listening on (\S+)\n/.exec(await child.says('stdout', /listening on \S+\n/)) ?? [];
  return address;
}

// The cut link comes first: it takes longest, and mostly waits.
describe('the examples', { concurrency: 3 }, () => {
  it('3-two-hosts survives a cut link between two network namespaces', async (t) => {
    const { code, stdout, stderr } = await example(t, 'soak/two-hosts.ts', '--brief').ends();
    assert.equal(code, 0, stdout + stderr);
    if (stdout.includes('skipped')) t.skip(stdout.trim());
    else assert.match(stdout, /lost 0, doubled 0, out of order 0 — PASS/);
  });

  it('1-hello handles a message at its second attempt', async (t) => {
    const { code, stdout } = await example(t, 'examples/1-hello.ts').ends();
    assert.equal(code, 0);
    assert.equal(stdout, '1 subscription has it\norders.created: {"order":4711} at attempt 2\n');
  });

  it('2-stdin carries lines from one process to another', async (t) => {
    const consumer = example(t, 'examples/2-stdin.ts', 'consumer', '--listen', 'tcp://127.0.0.1:0');
    const producer = example(t, 'examples/2-stdin.ts', 'producer', '--leader', await addressOf(consumer));
    await producer.says('stdout', 'Producer: enter a line');
    producer.write('Hey there o/\nand again\n');
    producer.write();
    assert.equal((await producer.ends()).code, 0);
    await consumer.says('stdout', "Handler got { topic: 'example.lines', payload: 'and again' }");
    assert.match(consumer.stdout, /payload: 'Hey there o\/' }\n.*'and again'/);
    consumer.kill('SIGTERM');
    assert.equal((await consumer.ends()).code, 0);
  });

  it('3-two-hosts writes messages to a file until it is unsubscribed', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'mailvan-'));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const outfile = join(folder, 'lines');
    const secret = ['--secret', 'sixteen bytes at least'];
    const script = 'examples/3-two-hosts/consumer.ts';
    const where = ['--listen', 'tcp://127.0.0.1:0', '--topic', 'foo', '--outfile', outfile];
    const consumer = example(t, script, ...where, ...secret);
    const to = ['--leader', await addressOf(consumer), ...secret];

    const producer = 'examples/3-two-hosts/producer.ts';
    const said = await example(t, producer, ...to, '--topic', 'foo', 'bar', 'baz').ends();
    assert.deepEqual([said.code, said.stdout], [0, 'ok bar\nok baz\n']);
    const numbered = await example(t, producer, ...to, '--topic', 'foo', '--count', '200', '--interval', '1').ends();
    assert.equal(numbered.stdout.split('\n').filter((line) => line.startsWith('ok line ')).length, 200);
    const typed = example(t, producer, ...to, '--topic', 'elsewhere');
    typed.write('nobody listens\n');
    typed.write();
    const { code, stdout } = await typed.ends();
    assert.deepEqual([code, stdout], [1, 'failed nobody listens (NO_SUBSCRIBERS)\n']);

    const unsubscribed = await example(t, script, '--unsubscribe', ...to).ends();
    assert.equal(unsubscribed.code, 0, unsubscribed.stderr);
    const ended = await consumer.ends();
    assert.equal(ended.code, 0, ended.stderr);
    assert.match(ended.stdout, /unsubscribed, finishing the file/);
    const lines = Array.from({ length: 200 }, (_, i) => `line ${i + 1}`);
    assert.deepEqual(readFileSync(outfile, 'utf8'), `${['bar', 'baz', ...lines].join('\n')}\n`);
  });

  it('the demo kills and restarts a consumer, and its sums add up', async (t) => {
    const { code, stdout, stderr } = await example(t, 'examples/demo.ts', '--brief').ends();
    assert.equal(code, 0, stdout + stderr);
    assert.match(stdout, /shipping +orders\\\.\.\* +before the kill +100 +100 +0 +0\n/);
    assert.match(stdout, /restarted +150 +150 +0 +0\n/);
    assert.match(stdout, /600 messages published: every sum adds up\./);
  });
});
