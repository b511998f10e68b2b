import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { BusError } from '../../src/core/errors.ts';
import { refusal } from '../core/testbed.ts';
import { back, down, Ear, realBus, soon, stage, suspect, untilState } from './stage.ts';

describe('a convention', () => {
  test('a member that joins is told of at once: to who watches it, as an event, and on its topic', async () => {
    const all = await stage('a');
    const bus = all.bus('a');
    const watched = all.watch(bus, { node: 'b' });
    const events = all.events(bus);
    const topic = new Ear(all.clock);
    await all.until(
      bus.subscribe<{ node: string }>('\\$sys\\.node\\.joined', ({ payload }) => topic.hear(payload.node)),
    );
    await all.clock.advance(1000);
    assert.deepEqual([watched.take(), events.told, topic.told], [['b absent'], [], []]);
    for (const ear of [watched, events, topic]) ear.mark();
    await all.start('b', { stored: false });
    await all.clock.advance(1000);
    assert.deepEqual([watched.told, events.told, topic.told], [['b alive'], ['node.joined b'], ['b']]);
    for (const time of [watched.after('b alive'), events.after('node.joined b'), topic.after('b')])
      assert.ok(time <= soon, `${time} ms`);
    await all.close();
  });

  test('who watches late, or joins late, is told of the members that there are', async () => {
    const all = await stage('a', 'b');
    await all.clock.advance(60_000);
    const late = await all.start('late', { stored: false });
    for (const bus of [all.bus('a'), late]) {
      const ears = ['lead', 'a', 'b', 'late'].map((node) => all.watch(bus, { node }));
      await all.clock.advance(0);
      const told = ears.map((ear) => ear.told);
      assert.deepEqual(told, [['lead alive'], ['a alive'], ['b alive'], ['late alive']], bus.node);
    }
    const { members } = await late.status();
    assert.deepEqual(members.map(({ node, state }) => `${node} ${state}`).sort(), [
      'a alive',
      'b alive',
      'late alive',
      'lead alive',
    ]);
    await all.close();
  });

  test('a member that misses its check-ins is down within `down`, not after minutes, and joins again when it is back', async () => {
    const all = await stage('a', 'b');
    const watched = all.watch(all.bus('a'), { node: 'b' });
    const events = all.events(all.bus('a'));
    const leader = all.events(all.bus('lead'));
    await all.clock.advance(1000);
    watched.take();
    for (const ear of [watched, events, leader]) ear.mark();
    all.cut('b'); // nothing says so: it is silent
    await all.clock.advance(60_000);
    assert.deepEqual(watched.take(), ['b suspect', 'b down']);
    assert.deepEqual(events.take(), ['node.suspect b', 'node.down b']);
    for (const ear of [events, leader]) {
      assert.ok(ear.after('node.suspect b') <= suspect + soon, `suspect after ${ear.after('node.suspect b')} ms`);
      assert.ok(ear.after('node.down b') <= down + soon, `down after ${ear.after('node.down b')} ms`);
    }
    for (const ear of [watched, events]) ear.mark();
    all.heal('b');
    await all.clock.advance(10_000);
    assert.deepEqual([watched.told, events.told], [['b alive'], ['node.joined b']]);
    assert.ok(watched.after('b alive') <= back, `alive after ${watched.after('b alive')} ms`);
    await all.close();
  });

  test('a member that deregisters is told of at once, and one that registers again under its name is taken for new', async () => {
    const all = await stage('a', 'b');
    const got: unknown[] = [];
    const listen = (): Promise<unknown> =>
      all.until(all.bus('b').subscribe('t', ({ payload }) => void got.push(payload), { name: 's' }));
    await listen();
    const watched = all.watch(all.bus('a'), { node: 'b' });
    await all.clock.advance(1000);
    watched.mark();
    await all.until(all.bus('b').close());
    await all.clock.advance(soon);
    assert.ok(watched.after('b left') <= soon, `left after ${watched.after('b left')} ms`);
    await assert.rejects(all.until(all.bus('a').publish('t', 1, { atLeast: 1 })), refusal('NO_SUBSCRIBERS'));
    watched.mark();
    await all.start('b', { stored: false });
    await listen();
    assert.ok(watched.after('b alive') <= soon, `alive after ${watched.after('b alive')} ms`);
    assert.deepEqual(watched.told, ['b alive', 'b left', 'b alive']);
    assert.equal((await all.until(all.bus('a').publish('t', 2, { atLeast: 1 }))).matched, 1);
    await all.when(() => got.length > 0);
    assert.deepEqual(got, [2]);
    await all.close();
  });

  test('without a leader an actor is made where its host lives, at once, and what has to be elsewhere fails, at once', async () => {
    const all = await stage('a', 'b');
    all.define('b', 'other');
    await all.die('lead');
    const bus = all.bus('a');
    assert.ok((await all.timed(bus.spawn('actor'))) <= soon);
    assert.deepEqual(all.starts, ['a.1']);
    for (const [what, code] of [
      [() => bus.spawn('other'), 'UNPLACEABLE'],
      [() => bus.spawn('actor', { pinned: 'b' }), 'UNPLACEABLE'],
      [() => bus.spawn('actor', { name: 'named' }), 'NO_LEADER'],
    ] as const) {
      const time = await all.timed(assert.rejects(what(), refusal(code, 'leader')));
      assert.ok(time <= soon, `${code} after ${time} ms`);
    }
    await all.close();
  });

  test('when the leader returns, even one that remembers nothing, what runs goes on and names are known again', async () => {
    const all = await stage('a', 'b');
    const named = await all.until(all.bus('a').spawn('actor', { name: 'named', pinned: 'b' }));
    await all.die('lead');
    await all.clock.advance(5000);
    const local = await all.until(all.bus('a').spawn('actor'));
    assert.deepEqual(all.starts.length, 2);
    const lead = await all.start('lead', { stored: false });
    const ear = all.watch(lead, { placement: 'named' });
    await all.when(() => ear.told.includes('running b:running'));
    assert.ok(ear.after('running b:running') <= back, `known after ${ear.after('running b:running')} ms`);
    await all.when(() => all.seen('a', 'leader.found').length > 0, back);
    const again = await all.until(all.bus('a').spawn('actor', { name: 'named', pinned: 'b' }));
    assert.deepEqual(again.info, named.info);
    await all.clock.advance(60_000);
    assert.equal(all.starts.length, 2, all.starts.join());
    assert.equal(lead.placements.get(local.name)?.info?.instances[0]?.node, 'a');
    assert.deepEqual(ear.told.at(-1), 'running b:running');
    await all.close();
  });
});

describe('capabilities', () => {
  test('an actor is made on the other node that can do what it asks for', async () => {
    const all = await stage('a');
    await all.start('b', { stored: false, capabilities: { gpu: 2, region: 'eu' } });
    all.define('b');
    const where = { gpu: { gte: 2 }, region: 'eu' };
    const time = await all.timed(all.bus('a').spawn('actor', { name: 'x', where }));
    assert.ok(time <= soon, `${time} ms`);
    assert.deepEqual(all.starts, ['b.1']);
    await all.close();
  });

  test('what no node can run is an error that says why of each of them', async () => {
    const all = await stage('a', 'b');
    all.bus('b').capabilities = { gpu: 1 };
    await all.clock.advance(100);
    const failing = async (kind: string, where?: { gpu: { gte: number } }): Promise<BusError> => {
      const start = all.clock.monotonic();
      const error: unknown = await all.until(all.bus('a').spawn(kind, where && { where })).catch((thrown) => thrown);
      assert.ok(error instanceof BusError);
      assert.equal(error.code, 'UNPLACEABLE');
      assert.deepEqual(Object.keys(error.reasons ?? {}).sort(), ['a', 'b', 'lead']);
      assert.ok(all.clock.monotonic() - start <= soon);
      return error;
    };
    const { reasons: none = {} } = await failing('nothing');
    for (const reason of Object.values(none)) assert.match(reason, /does not define the kind 'nothing'/);
    const { reasons: few = {} } = await failing('actor', { gpu: { gte: 2 } });
    assert.match(few.lead ?? '', /does not define the kind 'actor'/);
    assert.match(few.a ?? '', /'gpu'/);
    assert.match(few.b ?? '', /'gpu' is 1/);
    assert.deepEqual(all.bus('a').placements.list(), []);
    await all.close();
  });

  test('one that is added lets what waited for it start, and one that is removed stops what asked for it', async () => {
    const all = await stage('a', 'b');
    const where = { gpu: true };
    const placement = await all.until(all.bus('a').spawn('actor', { name: 'x', where, pending: true }));
    const ear = all.watch(all.bus('a'), { placement: 'x' });
    await all.clock.advance(60_000);
    assert.deepEqual(all.starts, []);
    ear.mark();
    all.bus('b').capabilities = { gpu: true };
    await all.clock.advance(1000);
    assert.ok(ear.after('running b:running') <= soon, `started after ${ear.after('running b:running')} ms`);
    ear.mark();
    all.bus('b').capabilities = {};
    await all.clock.advance(1000);
    assert.ok(ear.after('pending') <= soon, `stopped after ${ear.after('pending')} ms`);
    assert.equal(all.contexts[0]?.signal.aborted, true);
    assert.deepEqual(placement.info?.instances, []);
    await all.close();
  });
});

describe('an actor on another node', () => {
  test('that ends itself or is stopped is told of at once to who watches it', async () => {
    const all = await stage('a', 'b');
    await all.until(all.bus('a').spawn('actor', { name: 'x', pinned: 'b', restart: false }));
    const y = await all.until(all.bus('a').spawn('actor', { name: 'y', pinned: 'b' }));
    const [ended, stopped] = [
      all.watch(all.bus('a'), { placement: 'x' }),
      all.watch(all.bus('lead'), { placement: 'y' }),
    ];
    const node = all.watch(all.bus('a'), { node: 'b' });
    await all.clock.advance(1000);
    for (const ear of [ended, stopped]) ear.mark();
    all.contexts[0]?.fail(new Error('it has had enough'));
    await all.until(y.stop());
    await all.clock.advance(1000);
    assert.deepEqual(ended.told, ['running b:running', 'failed b:failed']);
    assert.ok(ended.after('failed b:failed') <= soon);
    assert.equal(stopped.told.at(-1), 'gone');
    assert.ok(stopped.after('gone') <= soon);
    assert.deepEqual(node.told, ['b alive'], 'its node lives on');
    await all.close();
  });

  test('whose node is killed is told of within `down`, to who watches the actor and to who watches the node', async () => {
    const all = await stage('a', 'b');
    await all.until(all.bus('a').spawn('actor', { name: 'stays', pinned: 'b' }));
    await all.until(all.bus('a').spawn('actor', { name: 'moves', where: {}, pinned: ['a', 'b'] }));
    assert.deepEqual(all.starts.map((start) => start[0]).sort(), ['a', 'b']);
    await all.until(all.bus('a').placements.drain('a')); // so that both run on 'b'
    await all.until(all.bus('a').placements.drain('a', { undo: true }));
    const [stays, moves] = ['stays', 'moves'].map((placement) => all.watch(all.bus('a'), { placement }));
    const node = all.watch(all.bus('a'), { node: 'b' });
    await all.clock.advance(1000);
    for (const ear of [stays, moves, node]) ear?.mark();
    await all.die('b');
    await all.clock.advance(60_000);
    assert.deepEqual(node.told, ['b alive', 'b suspect', 'b down']);
    assert.ok(node.after('b suspect') <= soon, 'its links have ended');
    assert.ok(node.after('b down') <= down + soon, `down after ${node.after('b down')} ms`);
    assert.deepEqual(stays?.told, ['running b:running', 'pending']);
    assert.ok(stays.after('pending') <= down + soon);
    assert.ok((moves?.after('running a:running') ?? Number.NaN) <= down + 2 * soon);
    await all.close();
  });

  test('whose node is shut down is told of at once, to who watches the actor and to who watches the node', async () => {
    const all = await stage('a', 'b');
    await all.until(all.bus('a').spawn('actor', { name: 'x', pinned: 'b' }));
    const [actor, node] = [all.watch(all.bus('a'), { placement: 'x' }), all.watch(all.bus('a'), { node: 'b' })];
    await all.clock.advance(1000);
    for (const ear of [actor, node]) ear.mark();
    await all.until(all.bus('b').close());
    await all.clock.advance(1000);
    assert.deepEqual(node.told, ['b alive', 'b left']);
    assert.ok(node.after('b left') <= soon, `left after ${node.after('b left')} ms`);
    assert.equal(actor.told.at(-1), 'pending');
    assert.ok(actor.after('pending') <= soon);
    assert.equal(all.contexts[0]?.signal.aborted, true);
    await all.close();
  });
});

test('a global name is resolved from a follower as often as it likes: the same actor, without a wait', async () => {
  const all = await stage('a', 'b');
  const first = await all.until(all.bus('b').spawn('actor', { name: 'global' }));
  for (const node of ['b', 'a', 'b', 'a']) {
    let again: unknown;
    const time = await all.timed(
      all
        .bus(node)
        .spawn('actor', { name: 'global' })
        .then((found) => (again = found.info)),
    );
    assert.ok(time <= soon, `${node}: ${time} ms`);
    assert.deepEqual(again, first.info);
    assert.deepEqual(all.bus(node).placements.get('global')?.info, first.info);
  }
  assert.equal(all.starts.length, 1);
  await all.until(all.bus('a').placements.get('global')?.tell('hello') ?? assert.fail());
  await all.close();
});

test('dead letters reach their handler at once, wait to be looked at from any node, and can be replayed', async () => {
  const all = await stage('a', 'b');
  let broken = true;
  const handled: unknown[] = [];
  const handler = ({ payload }: { payload: unknown }): void => {
    if (broken) throw new RangeError('no room');
    handled.push(payload);
  };
  await all.until(all.bus('b').subscribe('work', handler, { name: 'w', retry: { attempts: 2, delay: 10 } }));
  const letters = new Ear(all.clock);
  all
    .bus('b')
    .on('message.dead', ({ subscription, topic, attempts, error }) =>
      letters.hear(`${subscription} ${topic} ${attempts} ${error.message}`),
    );
  await all.until(all.bus('a').publish('work', { n: 1 }));
  await all.clock.advance(1000);
  assert.deepEqual(letters.told, ['w work 2 no room']);
  assert.ok(letters.after('w work 2 no room') <= 2 * soon);
  const box = all.bus('a').deadLettersOf('b');
  const [letter, ...more] = await all.until(box.list());
  assert.deepEqual([letter?.payload, letter?.lastError.message, more], [{ n: 1 }, 'no room', []]);
  broken = false;
  assert.equal(await all.until(box.replay([letter?.id ?? ''])), 1);
  await all.clock.advance(100);
  assert.deepEqual(handled, [{ n: 1 }]);
  assert.deepEqual(await all.until(box.list()), []);
  await all.close();
});

describe('a child that is killed', () => {
  for (const restart of [true, false]) {
    const what = restart ? 'starts again at once, as told' : 'is not started again, as told, and says why it ended';

    test(`in this process ${what}`, async () => {
      const all = await stage('a', 'b');
      const placement = await all.until(all.bus('a').spawn('actor', { name: 'x', pinned: 'b', restart }));
      const ear = all.watch(all.bus('a'), { placement: 'x' });
      await all.clock.advance(1000);
      ear.mark();
      all.contexts[0]?.fail(new Error('killed'));
      await all.clock.advance(restart ? soon : 60_000);
      assert.equal(all.contexts[0]?.signal.aborted, true);
      assert.equal(all.starts.length, restart ? 2 : 1);
      assert.match(all.seen('b', 'actor.failed')[0]?.reason ?? '', /killed/);
      const [instance] = placement.info?.instances ?? [];
      assert.equal(instance?.state, restart ? 'running' : 'failed');
      if (!restart) {
        assert.ok(ear.after('failed b:failed') <= soon);
        assert.match(instance?.error ?? '', /killed/);
      }
      await all.close();
    });

    test(`by SIGKILL, in a process of its own, ${what}`, { timeout: 120_000 }, async (t) => {
      const { bus, next, pid } = await realBus(t);
      const module = fileURLToPath(new URL('../hosting/kinds/bad.mjs', import.meta.url));
      bus.handlers.define('bad', { module, start: 60_000 });
      const placement = await bus.spawn('bad', { name: 'x', pattern: 'go', restart, wait: 60_000 });
      const first = await pid();
      const failed = next('actor.failed');
      const started = restart ? next('actor.started') : undefined;
      const seen = untilState(bus, restart ? 'running' : 'failed');
      process.kill(first, 'SIGKILL');
      assert.match((await failed).reason, /killed by SIGKILL/);
      if (restart) {
        await started;
        assert.notEqual(await pid(), first);
      }
      await seen;
      const [instance] = placement.info?.instances ?? [];
      assert.equal(instance?.state, restart ? 'running' : 'failed');
      if (!restart) assert.match(instance?.error ?? '', /killed by SIGKILL/);
    });
  }
});
