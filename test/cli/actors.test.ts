import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createBus } from '../../src/bus/bus.ts';
import { deferred } from '../../src/core/async.ts';
import { silentLogger } from '../../src/core/log.ts';
import { tempFolder } from '../storage/disk.ts';
import { type Child, type Ending, leader, mailvan, moduleOf, type Owner, run } from './child.ts';

interface World {
  readonly hub: Child;
  readonly address: string;
  readonly nodes: Readonly<Record<string, Child>>;
  /** Runs a command in the cluster. */
  ask(...args: string[]): Promise<Ending>;
}

/** A leader without kinds, and two nodes that can write: `a` in the EU with two GPUs, `b` in the US. */
async function world(owner: Owner): Promise<World> {
  const { child: hub, address } = await leader(owner, '--data', tempFolder(owner)); // so it need not wait for who knew another
  const start = async (node: string, capabilities: string): Promise<Child> => {
    const args = ['--node', node, '--capabilities', capabilities, '--leader', address];
    const child = mailvan(owner, ['run', moduleOf('kinds.mjs'), ...args]);
    await child.says('stderr', 'Ctrl-C');
    return child;
  };
  const [a, b] = await Promise.all([start('a', 'region=eu,gpu=2'), start('b', 'region=us')]);
  return { hub, address, nodes: { a, b }, ask: (...args) => run(owner, [...args, '--leader', address]) };
}

function linesOf({ code, stdout, stderr }: Ending): string[] {
  assert.deepEqual([code, stderr], [0, '']);
  return stdout.trimEnd().split('\n');
}

describe('mailvan actors', { concurrency: 2 }, () => {
  it('spawn has an actor run where its conditions hold, and ls, tree and stop know it by its name', async (t) => {
    const { ask, nodes } = await world(t);
    assert.match(linesOf(await ask('actors', 'ls'))[0] ?? '', /^There is no placement: make one by/);
    const where = ['--where', 'region=eu|asia', '--where', 'gpu>=2', '--where', '!spot'];
    const spawned = await ask(
      'actors',
      'spawn',
      'writer',
      '--name',
      'w',
      '--pattern',
      'w.#',
      '--wildcard',
      ...where,
      '--args',
      '{"n":1}',
    );
    assert.deepEqual(linesOf(spawned), ['w runs: a:running']);
    await nodes.a?.says('stdout', 'w.0 starts with {"n":1}');
    const two = await ask('actors', 'spawn', 'idle', '--name', 'i', '--instances', '2', '--spread', 'node', '--json');
    const info = JSON.parse(linesOf(two)[0] ?? '');
    assert.deepEqual([info.name, info.wanted, info.instances.length], ['i', 2, 2]);
    const waits = await ask('actors', 'spawn', 'idle', '--name', 'p', '--pinned', 'c,d', '--pending');
    assert.deepEqual(linesOf(waits), ['p waits: 1 of 1 fit nowhere now']);

    const list = linesOf(await ask('actors', 'ls'));
    assert.match(list[0] ?? '', /^ {2}PLACEMENT +KIND +PATTERN +WANTED +INSTANCES$/);
    assert.match(list[1] ?? '', /^ {2}i +idle +2 +[ab]:running, [ab]:running$/);
    assert.match(list[2] ?? '', /^ {2}p +idle +1 +1 waiting$/);
    assert.match(list[3] ?? '', /^ {2}w +writer +\S+ +1 +a:running$/);
    const tree = (await ask('actors', 'tree')).stdout;
    assert.match(
      tree,
      /^hub \(leader, alive\)\na \(alive\)\n├─ i \(idle\)\n│ {2}└─ \d running, generation \d\n└─ w \(writer\)\n {3}└─ 0 running, generation 1\nb/,
    );
    assert.match(tree, /without a node\n {3}p \(idle\): 1 waiting\n$/);
    const json = linesOf(await ask('actors', 'tree', '--json')).map((line) => JSON.parse(line));
    assert.deepEqual(
      json.map(({ node }) => node),
      ['hub', 'a', 'b', undefined],
    );
    assert.deepEqual(json[1].placements[1], {
      placement: 'w',
      kind: 'writer',
      instances: [{ instance: 0, generation: 1, state: 'running' }],
    });

    assert.deepEqual(linesOf(await ask('actors', 'stop', 'w')), ['w stopped']);
    await nodes.a?.says('stdout', 'w.0 stops');
    const gone = await ask('actors', 'stop', 'ww');
    assert.equal(gone.code, 1);
    assert.match(gone.stderr, /there is no placement "ww".*\[NOT_FOUND\]\n {2}→ 'mailvan actors ls'/);
  });

  it('explain says of each node whether it fits, and ends with 1 where none does; so does spawn', async (t) => {
    const { ask } = await world(t);
    // One after the other: each command is a node for a while.
    const some = await ask('actors', 'explain', 'writer', '--where', 'region=us');
    const none = await ask('actors', 'explain', 'writer', '--where', 'gpu>=3');
    const json = await ask('actors', 'explain', 'writer', '--where', 'gpu', '--json');
    const spawned = await ask('actors', 'spawn', 'reader', '--name', 'r', '--json');
    assert.deepEqual(linesOf(some), [
      "a    its 'region' is 'eu', wanted is 'us'",
      'b    fits',
      "hub  it does not define the kind 'writer' (it defines none)",
    ]);
    assert.deepEqual([none.code, none.stdout.split('\n').length], [1, 4]);
    assert.match(none.stderr, /fits on none of 3 nodes\n {2}→ change what it asks for/);
    const verdicts = linesOf(json).map((line) => JSON.parse(line));
    assert.deepEqual(
      verdicts.map(({ node, fits }) => [node, fits]),
      [
        ['a', true],
        ['b', false],
        ['hub', false],
      ],
    );
    const { error } = JSON.parse(spawned.stderr);
    assert.deepEqual(
      [spawned.code, error.code, error.reasons.hub],
      [1, 'UNPLACEABLE', "it does not define the kind 'reader' (it defines none)"],
    );
  });

  it('rebalance tells what it has moved', async (t) => {
    const { ask, nodes } = await world(t);
    for (const name of ['x', 'y']) linesOf(await ask('actors', 'spawn', 'idle', '--name', name, '--instances', '2'));
    linesOf(await ask('nodes', 'drain', 'a'));
    linesOf(await ask('nodes', 'drain', 'a', '--undo'));
    assert.equal(nodes.a?.process.exitCode, null);
    const moved = linesOf(await ask('actors', 'rebalance', 'x'));
    assert.match(moved.join('\n'), /^x\.\d moved from b to a$/);
    const rest = linesOf(await ask('actors', 'rebalance', '--json')).map((line) => JSON.parse(line));
    assert.deepEqual(
      rest.map(({ placement, node, to }) => [placement, node, to]),
      [['y', 'b', 'a']],
    );
    assert.deepEqual(linesOf(await ask('actors', 'rebalance', '--lost')), ['Nothing had to move.']);
  });

  it('spawn makes singletons, spreads, and makes durable ones whose subscription is of the service that is named', async (t) => {
    const { address } = await leader(t, '--data', tempFolder(t));
    await using node = await createBus({ node: 'a', leader: address, logger: silentLogger });
    node.handlers.define('writer', () => ({ onMessage: () => undefined }));
    const spawn = async (name: string, ...options: string[]): Promise<Ending> =>
      run(t, ['actors', 'spawn', 'writer', '--name', name, '--json', '--leader', address, ...options]);
    const durable = ['--pattern', 'w', '--durable'];
    const infos = [
      await spawn('plain', ...durable),
      await spawn('billed', ...durable, '--service', 'billing', '--singleton'),
      await spawn('manual', '--singleton', '--failover', 'manual'),
    ].map((ending) => JSON.parse(linesOf(ending)[0] ?? ''));
    assert.deepEqual(
      infos.map(({ subscription, singleton }) => [subscription, singleton]),
      [
        ['default/plain', false],
        ['billing/billed', true],
        [undefined, true],
      ],
    );
    assert.equal(JSON.parse(linesOf(await spawn('two', '--instances', '2'))[0] ?? '').instances.length, 2);
    const crowded = await spawn('crowded', '--instances', '2', '--spread', 'node');
    assert.equal(crowded.code, 1);
    assert.match(crowded.stderr, /UNPLACEABLE/);
    const alone = await spawn('wrong', '--failover', 'manual');
    assert.equal(alone.code, 2);
    assert.match(alone.stderr, /'failover' goes only with singleton/);
  });

  it('waits as long as it is told, and ends with 6', async (t) => {
    const { address } = await leader(t, '--data', tempFolder(t));
    const end = deferred<void>();
    const still = (): Promise<void> => end.promise;
    const node = await createBus({ node: 'a', leader: address, logger: silentLogger });
    t.after(() => {
      end.resolve();
      return node.close({ timeout: 0 });
    });
    node.handlers.define('starts', () => ({ onStart: still }));
    node.handlers.define('stops', () => ({ onStop: still }));
    await node.spawn('stops', { name: 'stops' });
    await node.spawn('stops', { name: 'too' });
    for (const args of [
      ['actors', 'spawn', 'starts', '--name', 'starts', '--wait', '1500ms'],
      ['nodes', 'drain', 'a', '--timeout', '1500ms'],
      ['actors', 'stop', 'stops', '--timeout', '1500ms'],
    ]) {
      const { code, stderr } = await run(t, [...args, '--leader', address]);
      assert.equal(code, 6, stderr);
      assert.match(stderr, /1500 ms|TIMEOUT/);
    }
  });

  it('is refused with 2 where it is not called as it should be, naming the nearest', async (t) => {
    const endings = await Promise.all([
      run(t, ['actors']),
      run(t, ['actors', 'spwan', 'writer']),
      run(t, ['actors', 'spawn', 'writer']),
      run(t, ['actors', 'spawn', 'writer', '--name', 'w', '--where', 'a>1']),
      run(t, ['actors', 'spawn', 'writer', '--name', 'w', '--args', '{a:1}']),
      run(t, ['actors', 'stop']),
      run(t, ['actors', 'ls', '--where', 'a']),
      run(t, ['actors', 'explain', 'writer', '--pending']),
    ]);
    assert.deepEqual(
      endings.map(({ code, stdout }) => [code, stdout]),
      Array(8).fill([2, '']),
    );
    const texts = [
      /<action> is missing/,
      /no action "spwan"; did you mean spawn\?/,
      /--name is missing\n {2}→ a placement without a name would end with this command/,
      /"a>1" is no condition\n {2}→ write k=v, k=a\|b/,
      /--args: .*\n {2}→ quote it for the shell/,
      /<name> is missing/,
      /--where is for spawn and explain/,
      /--pending is for spawn/,
    ];
    for (const [i, text] of texts.entries()) assert.match(endings[i]?.stderr ?? '', text);
  });
});

describe('mailvan nodes', { concurrency: 2 }, () => {
  it('ls and info show what the nodes can do and what runs on them', async (t) => {
    const { ask, address } = await world(t);
    linesOf(await ask('actors', 'spawn', 'writer', '--name', 'w', '--pattern', 'w', '--where', 'region=us'));
    const list = linesOf(await ask('nodes', 'ls'));
    assert.match(list[0] ?? '', /^ {2}NODE +STATE +LEADS +KINDS +CAPABILITIES +INSTANCES +SUBSCRIPTIONS$/);
    assert.match(list[1] ?? '', /^ {2}hub +alive +\* +0 +3$/);
    assert.match(list[2] ?? '', /^ {2}a +alive +idle,writer +gpu=2,region=eu +0 +0$/);
    assert.match(list[3] ?? '', /^ {2}b +alive +idle,writer +region=us +1 +1$/);
    assert.equal(list.length, 4, 'the command itself is not shown');
    const json = linesOf(await ask('nodes', 'ls', '--json')).map((line) => JSON.parse(line));
    assert.deepEqual(json[1].capabilities, { region: 'eu', gpu: 2 });
    assert.deepEqual([json[0].leader, json[2].leader, json[2].instances[0].placement], [true, false, 'w']);

    const info = (await ask('nodes', 'info', 'b')).stdout;
    for (const line of [
      /^node +b$/m,
      /^role +member$/m,
      /^kinds +idle, writer$/m,
      /^capabilities +region=us$/m,
      /^instances +w\.0 running, generation 1$/m,
      /^subscriptions +1$/m,
      /^mailboxes +0$/m,
      /^spools +none$/m,
      /^store +none$/m,
    ])
      assert.match(info, line);
    assert.ok(info.includes(`links           hub at ${address.slice('tcp://'.length)}, `), info);
    const facts = JSON.parse(linesOf(await ask('nodes', 'info', 'hub', '--json'))[0] ?? '');
    assert.deepEqual([facts.leader, facts.status.role, facts.status.subscriptions.length], [true, 'leader', 3]);
    const unknown = await ask('nodes', 'info', 'bb');
    assert.equal(unknown.code, 1);
    assert.match(
      unknown.stderr,
      /there is no node "bb"; did you mean b\? \[NOT_FOUND\]\n {2}→ the nodes are hub, a, b\n/,
    );
  });

  it('info tells what the leader knows of a node that does not answer, and ends with 3', async (t) => {
    const { ask, nodes } = await world(t);
    nodes.b?.kill('SIGKILL');
    await nodes.b?.ends();
    const { code, stdout, stderr } = await ask('nodes', 'info', 'b');
    assert.equal(code, 3, stdout + stderr);
    assert.match(stdout, /^state +suspect\n/m);
    assert.match(stderr, /b does not answer: .*\n {2}→ what is shown is what the leader knows of it/);
  });

  it('drain has a node hand over what runs on it, until that is undone', async (t) => {
    const { ask, nodes } = await world(t);
    linesOf(await ask('actors', 'spawn', 'writer', '--name', 'w', '--instances', '1', '--pinned', 'a,b'));
    const [first, second] = nodes.a?.stdout.includes('w.0 starts') ? ['a', 'b'] : ['b', 'a'];
    assert.deepEqual(linesOf(await ask('nodes', 'drain', first)), [`${first} is drained: nothing runs on it`]);
    await nodes[second]?.says('stdout', 'w.0 starts');
    assert.match(nodes[first]?.stdout ?? '', /w\.0 stops/);
    const row = linesOf(await ask('nodes', 'ls')).find((line) => line.startsWith(`  ${first} `));
    assert.match(row ?? '', /alive, leaving/);
    const undone = linesOf(await ask('nodes', 'drain', first, '--undo', '--json'));
    assert.deepEqual(JSON.parse(undone[0] ?? ''), { node: first, drained: false });
    const away = await ask('nodes', 'drain', 'nobody');
    assert.equal(away.code, 3);
    const wrong = await Promise.all([
      ask('nodes', 'drain'),
      ask('nodes', 'ls', 'a'),
      ask('nodes', 'info', 'a', '--undo'),
    ]);
    assert.deepEqual(
      wrong.map(({ code }) => code),
      [2, 2, 2],
    );
    assert.match(wrong[2]?.stderr ?? '', /--undo is for drain/);
  });
});
