import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createBus } from '../../src/bus/bus.ts';
import { silentLogger } from '../../src/core/log.ts';
import { tempFolder } from '../storage/disk.ts';
import { leader, mailvan, run } from './child.ts';

describe('mailvan status', () => {
  it('shows durable mailboxes with their backlogs, and what is spooled for a home that is away', async (t) => {
    const { address } = await leader(t);
    const folder = tempFolder(t);
    const join = (node: string) =>
      createBus({ node, leader: address, dataDir: `${folder}/${node}`, logger: silentLogger });
    const home = await join('home');
    await using pub = await join('pub');
    await home.subscribe('in', null, { name: 'work', durable: true });
    await pub.publish('in', 1);
    await pub.publish('in', 2);
    const text = await run(t, ['status', '--leader', address]);
    assert.match(
      text.stdout,
      /Durable mailboxes \(1\)\n {2}HOME +MAILBOX +PATTERN .*\n {2}home +default\/work +in +active +\d+ +2 +0 +0 +0 +0 +0/,
    );
    assert.match(text.stdout, /\n {2}home +member +alive +\d+ +2 +0/);
    assert.doesNotMatch(text.stdout, /Spools/);
    await home.close();
    assert.equal((await pub.publish('in', 3)).spooled, 1);
    const away = await run(t, ['status', '--leader', address]);
    assert.match(away.stdout, /Spools, for homes that are away \(1\)\n.*\n {2}pub +default\/work +home +1 +\d+/);
  });

  it('says of a subscription and of a mailbox that they probe, because everything fails', async (t) => {
    const dataDir = tempFolder(t);
    await using bus = await createBus({
      node: 'hub',
      leader: true,
      listen: 'tcp://127.0.0.1:0',
      dataDir,
      logger: silentLogger,
    });
    const fail = (): never => {
      throw new Error('connection refused');
    };
    const outage = { failures: 1, messages: 1 };
    let told = 0;
    const both = new Promise<void>((done) => {
      bus.on('subscription.probing', () => {
        if (++told === 2) done();
      });
    });
    await bus.subscribe('in', fail, { name: 'fleeting', outage });
    await bus.subscribe('in', fail, { name: 'lasting', durable: true, outage });
    await bus.publish('in', 1);
    await both;
    const { address = '' } = await bus.status();
    const { stdout } = await run(t, ['status', '--leader', address]);
    assert.match(stdout, /\n {2}hub +fleeting +in +probing /);
    assert.match(stdout, /\n {2}hub +default\/lasting +in +probing /);
    const stats = await run(t, ['mailbox', 'stats', 'lasting', '--connect', address]);
    assert.match(stats.stdout, /^probing +true$/m);
  });

  it('shows members and subscriptions with rates and backlogs, and who does not answer', async (t) => {
    const { child, address } = await leader(t);
    const to = ['--leader', address];
    const absent = mailvan(t, ['sub', 'absent\\..*', '--node', 'absent', ...to]);
    const present = mailvan(t, ['sub', 'present\\..*', '--node', 'present', ...to]);
    await Promise.all([absent, present].map((sub) => sub.says('stderr', 'listens')));
    absent.kill('SIGKILL');
    await absent.ends();
    await run(t, ['pub', 'stuck', '--timeout', '2s', ...to], '1\n2\n3\n');

    const text = await run(t, ['status', ...to]);
    assert.equal(text.code, 0, text.stderr);
    const lines = text.stdout.split('\n');
    assert.match(lines[0] ?? '', new RegExp(`^Cluster default, led by hub at ${address}, epoch 0\\.\\d+$`));
    const lineOf = (start: RegExp) => lines.find((line) => start.test(line)) ?? '';
    assert.match(lineOf(/^ {2}hub +leader/), /alive +3 +1 +0$/);
    assert.match(lineOf(/^ {2}absent /), /member +suspect +no answer: NODE_UNREACHABLE$/);
    assert.match(lineOf(/^ {2}present +member/), /alive +1 +0 +0$/);
    assert.match(lineOf(/^ {2}hub +stuck/), /stuck +stuck +active +\d+ +1 +1 +0/);
    assert.match(lineOf(/^ {2}present +sub-1/), /present\\\.\.\* +active/);
    assert.ok(!text.stdout.includes('\u001b') && !text.stdout.includes('cli-status'), text.stdout);
    // Numbers stand to the right, below the ends of their headings.
    assert.equal(lineOf(/^ {2}hub +stuck/).length, lineOf(/^ {2}NODE +SUBSCRIPTION/).length);

    const json = await run(t, ['status', '--json', ...to]);
    const report = JSON.parse(json.stdout);
    assert.deepEqual([report.cluster, report.leader.node, report.leader.address], ['default', 'hub', address]);
    const members = report.members.map((member: { node: string; state: string }) => [member.node, member.state]);
    assert.deepEqual(members, [
      ['hub', 'alive'],
      ['absent', 'suspect'],
      ['present', 'alive'],
    ]);
    assert.equal(report.members[0].status.subscriptions[0].pattern, 'orders\\..*');
    assert.equal(report.members[1].error.code, 'NODE_UNREACHABLE');
    child.kill('SIGKILL'); // its stuck handler would hold it for long
  });
});
