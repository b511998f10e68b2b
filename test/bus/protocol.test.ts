// The last build that spoke version 1 of the protocol alone, beside this one: real processes, over TCP.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Receipt } from '../../src/core/errors.ts';
import { tempFolder } from '../storage/disk.ts';
import { NodeProcess, present, previous, Refused } from './protocol-node.ts';

const secret = 'a secret of the cluster';
const numbers = Array.from({ length: 500 }, (_, i) => i);

/** A leader of one build with a leaf of each, all with stores. */
async function cluster(t: TestContext, leaderBuild: string, leafBuild: string) {
  const [lead, leaf, kin] = await Promise.all([
    NodeProcess.start(t, leaderBuild),
    NodeProcess.start(t, leafBuild),
    NodeProcess.start(t, leaderBuild),
  ]);
  const listen = 'tcp://127.0.0.1:0';
  const leader = await lead.ask('open', { node: 'lead', leader: true, listen, secret, dataDir: tempFolder(t) });
  assert.ok(leader !== undefined);
  await leaf.ask('open', { node: 'leaf', leader, secret, dataDir: tempFolder(t) });
  await kin.ask('open', { node: 'kin', leader, secret, dataDir: tempFolder(t) });
  return { lead, leaf, kin };
}

/** For `assert.rejects`: a BusError of this code, from the other process. */
function refused(code: string, text: RegExp) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof Refused, String(error));
    assert.deepEqual([error.name, error.code], ['BusError', code], error.message);
    assert.match(error.message, text);
    return true;
  };
}

function facts({ matched, stored, unreachable }: Receipt): unknown {
  return { matched, stored, unreachable };
}

for (const [title, newLeader] of [
  ['the previous build leads, this one joins', false],
  ['this build leads, the previous one joins', true],
] as const) {
  test(`${title}: they exchange messages both ways, answer each other and part in order`, {
    timeout: 90_000,
  }, async (t) => {
    const old = previous(t);
    const { lead, leaf, kin } = newLeader ? await cluster(t, present, old) : await cluster(t, old, present);
    const everybody = { lead, leaf, kin };

    // Everybody knows everybody.
    await lead.ask('saw', 'node.joined', 'leaf');
    await leaf.ask('saw', 'node.joined', 'kin');
    for (const [name, node] of Object.entries(everybody)) {
      const { members, role } = await node.ask('status');
      assert.deepEqual(
        members.map((member) => `${member.node} ${member.state} ${member.reachable}`).sort(),
        ['kin alive true', 'lead alive true', 'leaf alive true'],
        name,
      );
      assert.equal(role, name === 'lead' ? 'leader' : 'leaf');
    }

    // Messages in memory: from each to each, in order and once.
    for (const [name, node] of Object.entries(everybody))
      await node.ask('subscribe', `to\\.${name}\\..*`, `at-${name}`);
    for (const [from, sender] of Object.entries(everybody)) {
      for (const to of Object.keys(everybody)) {
        assert.deepEqual(
          (await sender.ask('explain', `to.${to}.x`)).routes.map(({ node }) => node),
          [to],
          from,
        );
        assert.deepEqual(
          facts(await sender.ask('publish', `to.${to}.x`, `${from} 0`)),
          { matched: 1, stored: 0, unreachable: [] },
          `${from} to ${to}`,
        );
        await sender.ask(
          'publishMany',
          `to.${to}.x`,
          numbers.slice(1).map((n) => `${from} ${n}`),
        );
      }
    }
    for (const [name, node] of Object.entries(everybody)) {
      const got = (await node.ask('heard', `at-${name}`, 3 * numbers.length)) as string[];
      for (const from of Object.keys(everybody)) {
        assert.deepEqual(
          got.filter((text) => text.startsWith(`${from} `)),
          numbers.map((n) => `${from} ${n}`),
          `${from} to ${name}`,
        );
      }
    }

    // Durable mailboxes: at the leader and at a leaf, filled from the other side; handled at home, and from afar.
    await lead.ask('subscribe', 'kept\\.lead', 'kept-lead', { durable: true });
    await leaf.ask('subscribe', 'kept\\.leaf', 'kept-leaf', { durable: true });
    await lead.ask('collect', 'fetched\\.lead', 'fetched-lead');
    await leaf.ask('collect', 'fetched\\.leaf', 'fetched-leaf');
    for (const [publisher, topic] of [
      [leaf, 'kept.lead'],
      [lead, 'kept.leaf'],
      [kin, 'kept.leaf'],
      [leaf, 'fetched.lead'],
      [lead, 'fetched.leaf'],
    ] as const) {
      const receipt = await publisher.ask('publish', topic, topic, { atLeast: 1 });
      assert.deepEqual(facts(receipt), { matched: 1, stored: 1, unreachable: [] }, topic);
    }
    assert.deepEqual(await lead.ask('heard', 'kept-lead', 1), ['kept.lead']);
    assert.deepEqual(await leaf.ask('heard', 'kept-leaf', 2), ['kept.leaf', 'kept.leaf']);
    assert.deepEqual(await leaf.ask('receive', 'fetched-lead'), ['fetched.lead']);
    assert.deepEqual(await lead.ask('receive', 'fetched-leaf'), ['fetched.leaf']);

    // Members of a group are one route to this build, and each its own to the previous one, which knows of no groups.
    const fresh = newLeader ? kin : leaf;
    for (const name of ['one', 'two']) await fresh.ask('subscribe', 'shared', name, { group: 'workers' });
    assert.equal((await fresh.ask('publish', 'shared', 0)).matched, 1);
    assert.equal((await (newLeader ? leaf : kin).ask('publish', 'shared', 1)).matched, 2);
    assert.equal((await lead.ask('publish', 'shared', 2)).matched, newLeader ? 1 : 2);

    // Requests.
    assert.equal((await leaf.ask('status', 'lead')).role, 'leader');
    assert.deepEqual((await lead.ask('status', 'leaf')).mailboxes.map(({ name }) => name).sort(), [
      'default/fetched-leaf',
      'default/kept-leaf',
    ]);
    assert.equal((await kin.ask('status', 'leaf')).node, 'leaf');

    // A leaf goes: everybody is told that it left, and its memory subscriptions are gone.
    await leaf.ask('close');
    for (const node of [lead, kin]) {
      await node.ask('saw', 'node.left', 'leaf');
      assert.deepEqual((await node.ask('explain', 'to.leaf.x')).routes, []);
    }
    await kin.ask('close');
    await lead.ask('close');
  });
}

test('what the previous build does not know is refused with a code where it leads, and nothing hangs', {
  timeout: 60_000,
}, async (t) => {
  const { lead, leaf, kin } = await cluster(t, previous(t), present);
  await leaf.ask('define', 'writer');
  await assert.rejects(leaf.ask('spawn', 'writer'), refused('PROTOCOL_ERROR', /placement\.spawn/));
  await assert.rejects(leaf.ask('spawn', 'writer', { name: 'w' }), refused('PROTOCOL_ERROR', /placement\.spawn/));
  await assert.rejects(leaf.ask('explainPlacement', 'writer'), refused('PROTOCOL_ERROR', /placement\.explain/));
  await assert.rejects(leaf.ask('nodes'), refused('PROTOCOL_ERROR', /placement\.nodes/));
  assert.deepEqual(await leaf.ask('placements'), []);
  // It is as good a leaf as before.
  await kin.ask('subscribe', 'after', 'after');
  assert.equal((await leaf.ask('publish', 'after', 1)).matched, 1);
  assert.deepEqual(await kin.ask('heard', 'after', 1), [1]);
  // It has tried once to take back what it asked for, and not again and again.
  assert.equal(await leaf.ask('logged', 'was not told what is not wanted any more'), 0);
  for (const node of [leaf, kin, lead]) await node.ask('close');
});

test('nothing is placed on a node of the previous build, which says why; nor is it made the leader', {
  timeout: 60_000,
}, async (t) => {
  const { lead, leaf, kin } = await cluster(t, present, previous(t));
  await kin.ask('define', 'writer');
  const verdicts = await kin.ask('explainPlacement', 'writer');
  const of = (name: string) => verdicts.find(({ node }) => node === name);
  assert.equal(of('kin')?.fits, true);
  assert.equal(of('leaf')?.fits, false);
  assert.match(of('leaf')?.reason ?? '', /has not said yet what it can run/);
  const info = await kin.ask('spawn', 'writer', { name: 'w', instances: 3 });
  assert.deepEqual(
    info?.instances.map(({ node, state }) => `${node} ${state}`),
    ['kin running', 'kin running', 'kin running'],
  );
  await assert.rejects(lead.ask('promote', 'leaf'), refused('OPTION_INVALID', /leaf/));
  // The placements that are told to everybody do the old one no harm.
  await leaf.ask('subscribe', 'after', 'after');
  assert.equal((await kin.ask('publish', 'after', 1)).matched, 1);
  assert.deepEqual(await leaf.ask('heard', 'after', 1), [1]);
  for (const node of [leaf, kin, lead]) await node.ask('close');
});

test('a node that is upgraded where it stands keeps what was stored, and so does one that goes back', {
  timeout: 60_000,
}, async (t) => {
  const old = previous(t);
  const dataDir = tempFolder(t);
  for (const [build, expected] of [
    [old, 0],
    [present, 1],
    [old, 2],
  ] as const) {
    const node = await NodeProcess.start(t, build);
    await node.ask('open', { dataDir });
    if (expected === 0) await node.ask('collect', 'in', 'box');
    const { mailboxes } = await node.ask('status');
    assert.deepEqual(
      mailboxes.map(({ name, waiting }) => [name, waiting]),
      [['default/box', expected]],
    );
    assert.equal((await node.ask('publish', 'in', expected)).stored, 1);
    await node.ask('close');
  }
});
