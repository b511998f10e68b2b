import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Child, mailvan, type Owner, pathOf } from './cli/child.ts';
import { tempFolder } from './storage/disk.ts';

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
    const folder = tempFolder(t);
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

  it('4-typed refuses what does not fit where it is published, and elsewhere makes it a dead letter', async (t) => {
    const { code, stdout, stderr } = await example(t, 'examples/4-typed.ts').ends();
    assert.equal(code, 0, stderr);
    assert.deepEqual(stdout.trim().split('\n'), [
      'order 4711 was created in 2026',
      'PAYLOAD_INVALID: payload.order, payload.at',
      'dead letter of orders.created: invalid after 1 attempt',
    ]);
  });

  it('5-durable loses nothing when its consumer and its producer are killed', async (t) => {
    const folder = tempFolder(t);
    const script = 'examples/5-durable.ts';
    const produce = (...args: string[]): Child =>
      example(t, script, 'producer', '--listen', `unix:${folder}/socket`, '--data', `${folder}/data`, ...args);
    const consume = (): Child => example(t, script, 'consumer', '--leader', `unix:${folder}/socket`);
    const numbersOf = ({ stdout }: Child): number[] =>
      [...stdout.matchAll(/^consumer: (\d+) at attempt/gm)].map(([, number]) => Number(number));

    let producer = produce('--count', '300', '--interval', '3');
    await addressOf(producer);
    const killed = consume();
    await killed.says('stdout', 'consumer: 20 at attempt 1');
    killed.kill('SIGKILL');
    await killed.ends();
    await producer.says('stdout', 'producer: 100 is stored in 1 mailbox (fsync)');
    producer.kill('SIGKILL');
    const { stdout } = await producer.ends();
    const stored = [...stdout.matchAll(/^producer: (\d+) is stored/gm)].map(([, number]) => Number(number));
    const last = Math.max(...stored);

    producer = produce('--from', String(last + 1), '--count', '50', '--interval', '0');
    await addressOf(producer);
    const consumer = consume();
    await consumer.says('stdout', `consumer: ${last + 50} at`);
    consumer.kill('SIGTERM');
    assert.equal((await consumer.ends()).code, 0);
    producer.kill('SIGTERM');
    assert.equal((await producer.ends()).code, 0);
    const handled = new Set([...numbersOf(killed), ...numbersOf(consumer)]);
    assert.deepEqual(
      Array.from({ length: last + 50 }, (_, i) => i + 1).filter((number) => !handled.has(number)),
      [],
    );
    // A consumer on another node holds one delivery at a time: at most that one comes twice.
    assert.ok(numbersOf(killed).filter((number) => numbersOf(consumer).includes(number)).length <= 1);
  });

  it('6-persizmq stores first, and looks, takes and handles later', async (t) => {
    const data = `${tempFolder(t)}/data`;
    const run = async (role: string): Promise<string[]> => {
      const { code, stdout, stderr } = await example(t, 'examples/6-persizmq.ts', role, '--data', data).ends();
      assert.equal(code, 0, stderr);
      return stdout.trim().split('\n');
    };
    assert.deepEqual(await run('receive'), [
      'default/storage: 3 stored, 1 filtered',
      'default/latest: 1 stored, 0 filtered',
      'default/sampled: 1 stored, 3 filtered',
    ]);
    assert.deepEqual(await run('work'), [
      'front of sampled: { degrees: 20 }',
      'latest: readings.picture',
      'callback: 20 at attempt 1',
      'exception at attempt 1: the database is away',
      'callback: 22 at attempt 1',
      'callback: 21 at attempt 2',
    ]);
    assert.deepEqual(await run('work'), ['latest: undefined'], 'what was taken and handled does not come back');
  });

  it('7-persipubsub carries messages from two publishers to two subscribers, by one config file', async (t) => {
    const folder = tempFolder(t);
    const config = `${folder}/mailvan.config.json`;
    const given = readFileSync(pathOf('examples/7-persipubsub/mailvan.config.json'), 'utf8');
    writeFileSync(config, given.replace('unix:/tmp/mailvan-example-7.sock', `unix:${folder}/socket`));
    const script = (name: string, ...args: string[]): Child =>
      example(t, `examples/7-persipubsub/${name}.ts`, ...args, '--config', config);

    const init = await mailvan(t, ['init', '--config', config]).ends();
    assert.equal(init.code, 0, init.stderr);
    const hub = script('hub');
    await addressOf(hub);
    assert.match(hub.stdout, /default\/sub-1 holds 0 of at most 1000000 .*\n.*default\/sub-2 holds 0 of at most 100 /);

    const names = ['pub-1', 'pub-2'];
    const sent = await Promise.all(names.map((name) => script('publisher', name, '--count', '100').ends()));
    assert.deepEqual(
      sent.map(({ code, stdout }) => [code, stdout]),
      names.map((name) => [0, `${name}: sent 100\n`]),
    );
    const receive = async (name: string): Promise<string[]> => {
      const { code, stdout, stderr } = await script('subscriber', name, '--timeout', '300').ends();
      assert.equal(code, 0, stderr);
      return stdout.trim().split('\n');
    };
    const [all, most] = await Promise.all([receive('sub-1'), receive('sub-2')]);
    const of = (name: string, lines: string[]): string[] => lines.filter((line) => line.includes(`: ${name} `));
    for (const name of names) {
      const numbered = Array.from({ length: 100 }, (_, i) => `: ${name} ${i + 1}`);
      assert.deepEqual(
        of(name, all),
        numbered.map((line) => `sub-1${line}`),
      );
      const kept = of(name, most);
      assert.deepEqual(
        kept,
        numbered.slice(100 - kept.length).map((line) => `sub-2${line}`),
      );
    }
    assert.equal(most.length, 100, 'beyond its high-water mark the oldest have gone');
    assert.deepEqual(await receive('sub-1'), [''], 'what was acknowledged does not come back');
    hub.kill('SIGTERM');
    assert.equal((await hub.ends()).code, 0);
  });

  it('15-shared-folder carries messages from two publishers to two subscribers, and nobody is deployed', async (t) => {
    const folder = `${tempFolder(t)}/queues`;
    const run = async (script: string, name: string, ...args: string[]): Promise<string[]> => {
      const child = example(t, `examples/15-shared-folder/${script}.ts`, name, '--folder', folder, ...args);
      const { code, stdout, stderr } = await child.ends();
      assert.equal(code, 0, stderr);
      return stdout.trim().split('\n');
    };
    const names = ['pub-1', 'pub-2'];
    const publish = (name: string): Promise<string[]> => run('publisher', name, '--count', '60');
    assert.deepEqual(
      await Promise.all(names.map(publish)),
      names.map((name) => [`${name}: sent 60`]),
    );
    // Whoever served the folder has gone; what is in it has not.
    // What was under way when the first of them ended, and served the folder, may come twice.
    const receive = async (name: string): Promise<string[]> => [
      ...new Set(await run('subscriber', name, '--timeout', '500')),
    ];
    const [all, most] = await Promise.all([receive('sub-1'), receive('sub-2')]);
    for (const name of names) {
      const numbered = Array.from({ length: 60 }, (_, i) => `sub-1: ${name} ${i + 1}`);
      assert.deepEqual(
        all.filter((line) => line.includes(`: ${name} `)),
        numbered,
      );
    }
    const kept = most.filter((line) => line.includes(': pub-'));
    assert.equal(kept.length, 100, 'beyond its high-water mark the oldest have gone');
    assert.match(all.at(-1) ?? '', /^sub-1: sub-[12] serves the folder$/);
    assert.deepEqual(
      await receive('sub-1'),
      ['sub-1: sub-1 serves the folder'],
      'what was acknowledged does not come back',
    );
  });

  it('8-pubsubpy gives each service every event of a model, whether or not its job is running', async (t) => {
    const folder = tempFolder(t);
    const address = `unix:${folder}/socket`;
    const hub = example(t, 'examples/8-pubsubpy/hub.ts', '--listen', address, '--data', `${folder}/data`);
    await addressOf(hub);
    const run = async (script: string, ...args: string[]): Promise<string> => {
      const { code, stdout, stderr } = await example(t, script, ...args, '--leader', address).ends();
      assert.equal(code, 0, stderr);
      return stdout;
    };
    const job = (service: string): Promise<string> => run('examples/8-pubsubpy/job.ts', service);
    const publish = (...args: string[]): Promise<string> => run('examples/8-pubsubpy/publish.ts', ...args);
    const drained = (service: string): string => `${service}: ${service}/bookings drained\n`;
    assert.deepEqual(await Promise.all([job('billing'), job('mailing')]), [drained('billing'), drained('mailing')]);

    assert.equal(await publish('7', 'created'), 'Booking.created: stored in 2 mailboxes (fsync)\n');
    assert.equal(await publish('7', 'paid', '{"sum": 5}'), 'Booking.paid: stored in 2 mailboxes (fsync)\n');
    const told = (service: string): string =>
      ['created', 'paid']
        .map((event) => `${service}: mksp.apps.users.models.Booking 7 was ${event} (attempt 1)\n`)
        .join('');
    assert.equal(await job('billing'), told('billing') + drained('billing'));
    assert.equal(await job('billing'), drained('billing'), 'it has handled all of them');
    assert.equal(await job('mailing'), told('mailing') + drained('mailing'), 'its mailbox is its own');
    hub.kill('SIGTERM');
    assert.equal((await hub.ends()).code, 0);
  });

  it('9-placement moves an actor to a node that fits when its node is killed', async (t) => {
    const child = example(t, 'examples/9-placement.ts');
    await child.says('stdout', 'lead: killing');
    const { code, stdout, stderr } = await child.ends();
    assert.equal(code, 0, stdout + stderr);
    assert.match(stdout, /lead: shed does not: it has no capability 'gpu', wanted is at least 1\n/);
    const [, first = ''] = /^(attic|cellar): resizes first\.png$/m.exec(stdout) ?? [];
    const second = first === 'attic' ? 'cellar' : 'attic';
    assert.ok(stdout.includes(`lead: killing ${first} (SIGKILL)\n`), stdout);
    assert.match(stdout, new RegExp(`^${second}: the resizer starts, generation 2, args {"width":800}$`, 'm'));
    assert.match(stdout, new RegExp(`^${second}: resizes second\\.png$`, 'm'));
    assert.match(stdout, new RegExp(`^${second}: the resizer stops$`, 'm'));
  });

  it('10-rolling-restart restarts every node while messages flow, and loses nothing', async (t) => {
    const child = example(t, 'examples/10-rolling-restart.ts');
    for (const node of ['worker-1', 'worker-2', 'lead']) await child.says('stdout', `${node} is restarted;`);
    const { code, stdout, stderr } = await child.ends();
    assert.equal(code, 0, stdout + stderr);
    const [, published, handled] = /^published (\d+), handled (\d+), lost 0, /m.exec(stdout) ?? [];
    assert.equal(published, handled, stdout);
    assert.ok(Number(published) > 0, stdout);
  });

  it('the demo kills and restarts a consumer, and its sums add up', async (t) => {
    const { code, stdout, stderr } = await example(t, 'examples/demo.ts', '--brief').ends();
    assert.equal(code, 0, stdout + stderr);
    assert.match(stdout, /shipping +orders\\\.\.\* +before the kill +100 +100 +0 +0\n/);
    assert.match(stdout, /restarted +150 +150 +0 +0\n/);
    assert.match(stdout, /600 messages published: every sum adds up\./);
  });
});
