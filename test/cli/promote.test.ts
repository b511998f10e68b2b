import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Child, type Ending, leader, mailvan, moduleOf, type Owner, run } from './child.ts';

interface World {
  readonly hub: Child;
  readonly worker: Child;
  /** Where the leader listens, and where the one that can take its place does. */
  readonly address: string;
  readonly next: string;
  /** Promotes a node. */
  promote(node: string, at: string, ...args: string[]): Promise<Ending>;
  /** Publishes something that only the module's subscriptions take. */
  publish(at: string): Promise<Ending>;
}

/** A leader, a standby that listens, and a worker that does not. */
async function world(owner: Owner): Promise<World> {
  const { child: hub, address } = await leader(owner);
  const start = async (node: string, ...args: string[]): Promise<Child> => {
    const child = mailvan(owner, ['run', moduleOf('orders.mjs'), '--leader', address, '--node', node, ...args]);
    await child.says('stderr', 'Ctrl-C');
    return child;
  };
  const [standby, worker] = await Promise.all([start('standby', '--listen', 'tcp://127.0.0.1:0'), start('worker')]);
  const [, next = ''] =
    /^standby follows hub in cluster 'default' and listens at (tcp:\S+),/.exec(standby.stderr) ?? [];
  return {
    hub,
    worker,
    address,
    next,
    promote: (node, at, ...args) => run(owner, ['promote', node, '--leader', at, ...args]),
    publish: (at) => run(owner, ['pub', 'orders.new', 'x', '--leader', at, '--at-least', '3']),
  };
}

/** What was printed, when it went well. */
function linesOf({ code, stdout, stderr }: Ending): string[] {
  assert.deepEqual([code, stderr], [0, '']);
  return stdout.trimEnd().split('\n');
}

describe('mailvan promote', { concurrency: 2 }, () => {
  it('has the leader hand over to a node that listens, and says who led and who leads; and back again', async (t) => {
    const { hub, worker, address, next, promote, publish } = await world(t);
    const [line = '', ...more] = linesOf(await promote('standby', address));
    assert.match(line, /^standby leads, epoch 1\.\d+; before it hub led, epoch 0\.\d+$/);
    assert.deepEqual(more, []);
    await Promise.all([hub.says('stderr', 'standby leads now'), worker.says('stderr', 'standby leads now')]);
    linesOf(await publish(next));
    // Whoever asks the old leader is sent to the new one.
    const [json = ''] = linesOf(await promote('hub', address, '--json'));
    const told = JSON.parse(json);
    assert.deepEqual([told.node, told.before.node, told.leader.node], ['hub', 'standby', 'hub']);
    assert.match(`${told.before.epoch} ${told.leader.epoch}`, /^1\.\d+ 2\.\d+$/);
    await worker.says('stderr', /hub leads now|hub is back/);
    linesOf(await publish(address));
    // It leads already.
    assert.match(
      linesOf(await promote('hub', next))[0] ?? '',
      /^hub leads, epoch 2\.\d+; no other leader was in reach$/,
    );
  });

  it('has a node lead whose leader was killed; the others follow it, and the old one does when it is started again', async (t) => {
    const { hub, worker, address, next, promote, publish } = await world(t);
    hub.kill('SIGKILL');
    await worker.says('stderr', 'the leader hub is lost');
    const lost = await promote('standby', address, '--timeout', '500ms');
    assert.equal(lost.code, 3);
    assert.equal(lost.stdout, '');
    assert.match(lost.stderr, /\[NO_LEADER\]\n {2}→ .*give as --leader the address where standby listens$/m);
    const [json = ''] = linesOf(await promote('standby', next, '--json'));
    const { before, leader: now } = JSON.parse(json);
    assert.deepEqual([before, now.node], [null, 'standby']);
    assert.match(now.epoch, /^1\.\d+$/);
    await worker.says('stderr', 'standby leads now');

    const again = mailvan(t, ['run', moduleOf('orders.mjs'), '--lead', '--listen', address, '--node', 'hub']);
    await again.says('stderr', 'Ctrl-C');
    await again.says('stderr', 'standby leads now');
    linesOf(await publish(next));
    const [report = ''] = linesOf(await run(t, ['status', '--leader', address, '--json']));
    const { leader: led, members } = JSON.parse(report);
    assert.equal(led.node, 'standby');
    const names = members.map(({ node }: { node: string }) => node).filter((node: string) => !node.startsWith('cli-'));
    assert.deepEqual(names.sort(), ['hub', 'standby', 'worker']);
  });

  it('says where to go with the address of a node that is not the one to lead, when the leader is away', async (t) => {
    const { hub, worker, next, promote } = await world(t);
    hub.kill('SIGKILL');
    await worker.says('stderr', 'the leader hub is lost');
    const { code, stderr } = await promote('worker', next, '--timeout', '500ms', '--json');
    const { error } = JSON.parse(stderr);
    assert.deepEqual([code, error.code, error.exitCode], [3, 'NO_LEADER', 3]);
    assert.match(error.message, /does not lead|cannot be reached|could not be joined/);
    assert.match(error.hint, /only worker itself can be told/);
  });

  it('refuses a node that does not listen, one that is not there, and a call that makes no sense', async (t) => {
    const { address, promote } = await world(t);
    const deaf = await promote('worker', address);
    assert.equal(deaf.code, 2);
    assert.match(deaf.stderr, /listens nowhere.*\[OPTION_INVALID\]\n {2}→ start worker with --listen/);
    const nobody = await promote('nobody', address);
    assert.equal(nobody.code, 3);
    assert.match(nobody.stderr, /there is no node 'nobody'.*\[NODE_UNREACHABLE\]/);
    const [none, two, bad] = await Promise.all([
      run(t, ['promote']),
      run(t, ['promote', 'a', 'b']),
      promote('no such name', address),
    ]);
    assert.deepEqual([none.code, two.code, bad.code], [2, 2, 2]);
    assert.match(none.stderr, /<target> is missing/);
    assert.match(two.stderr, /"b" is one argument too many/);
    assert.match(bad.stderr, /\[NAME_INVALID\]/);
  });
});
