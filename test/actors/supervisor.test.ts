import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { handlers } from '../../src/actors/restart.ts';
import { type ActorRef, createRuntime, maxChildren, type Runtime } from '../../src/actors/runtime.ts';
import { type PartSpec, Supervisor } from '../../src/actors/supervisor.ts';
import { createVirtualRuntime } from '../../src/actors/virtual-runtime.ts';
import { deferred } from '../../src/core/async.ts';
import { systemClock } from '../../src/core/clock.ts';
import { BusError, type ErrorCode } from '../../src/core/errors.ts';
import { silentLogger } from '../../src/core/log.ts';
import { VirtualClock } from '../../src/core/virtual-clock.ts';

function refusal(code: ErrorCode) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof BusError, String(error));
    assert.equal(error.code, code);
    return true;
  };
}

describe('a supervisor', () => {
  let clock: VirtualClock;
  let runtime: Runtime;
  let supervisor: Supervisor;
  let events: string[];

  beforeEach(() => {
    clock = new VirtualClock();
    runtime = createVirtualRuntime({ name: 'node-1.1', clock });
    events = [];
    supervisor = new Supervisor({
      runtime,
      clock,
      log: silentLogger,
      giveUp: (error, path) => events.push(`gave up ${path}: ${String(error)}`),
    });
  });
  afterEach(async () => {
    await supervisor.stop().catch(() => {});
    await runtime.close();
    assert.equal(clock.pendingTimers, 0, 'a timer was left');
  });

  /** A part that writes down what happens to it. */
  function spec(name: string, more: Partial<PartSpec> = {}): PartSpec {
    return {
      name,
      start: () => void events.push(`start ${name}`),
      stop: (reason) => void events.push(`stop ${name} (${reason})`),
      ...more,
    };
  }

  /** A part whose turn does what `plan` says, one entry a turn, and then nothing. */
  function failing(name: string, plan: (string | undefined)[], more: Partial<PartSpec> = {}): PartSpec {
    return spec(name, {
      turn: () => {
        events.push(`turn ${name}`);
        const message = plan.shift();
        if (message !== undefined) throw new Error(message);
      },
      ...more,
    });
  }

  /** What has happened since the last call. */
  function happened(): string[] {
    return events.splice(0);
  }

  describe('starting and stopping', () => {
    it('starts parts in order and stops them in reverse, leaves first, each awaited', async () => {
      const slow = (what: string) => async (): Promise<void> => {
        events.push(`${what} begins`);
        await null;
        await null;
        events.push(`${what} ends`);
      };
      const a = await supervisor.add(spec('a', { start: slow('start a'), stop: slow('stop a') }));
      await supervisor.add(spec('a1'), a);
      await supervisor.add(spec('a2', { stop: slow('stop a2') }), a);
      await supervisor.add(spec('b'));
      assert.deepEqual(happened(), ['start a begins', 'start a ends', 'start a1', 'start a2', 'start b']);
      await supervisor.stop();
      assert.deepEqual(happened(), [
        'stop b (end)',
        'stop a2 begins',
        'stop a2 ends',
        'stop a1 (end)',
        'stop a begins',
        'stop a ends',
      ]);
    });

    it('stops everything although some of it fails to close, and tells all that failed', async () => {
      const failure = (text: string) => () => Promise.reject(new Error(text));
      const a = await supervisor.add(spec('a', { stop: failure('a failed') }));
      const leaf = await supervisor.add(spec('a1', { stop: failure('a1 failed') }), a);
      await supervisor.add(spec('b'));
      await assert.rejects(supervisor.stop(), (error: unknown) => {
        assert.ok(error instanceof AggregateError);
        assert.deepEqual(error.errors.map(String), ['Error: a1 failed', 'Error: a failed']);
        return true;
      });
      assert.deepEqual(happened(), ['start a', 'start a1', 'start b', 'stop b (end)']);
      assert.equal(a.ref.alive, false);
      assert.equal(leaf.state, 'stopped');
      assert.equal(supervisor.status().state, 'stopped');
    });

    it('is harmless to stop twice, part and supervisor alike', async () => {
      const part = await supervisor.add(spec('a'));
      await Promise.all([part.stop(), part.stop(), supervisor.stop(), supervisor.stop()]);
      await supervisor.stop();
      assert.deepEqual(happened(), ['start a', 'stop a (end)']);
    });

    it('leaves the name of a stopped part free', async () => {
      const part = await supervisor.add(spec('a'));
      await part.stop();
      assert.deepEqual(supervisor.status().children, []);
      const heir = await supervisor.add(spec('a'));
      assert.equal(heir.generation, 1);
      assert.equal(part.wake(), false);
    });

    it('undoes a part whose start fails, and throws its error', async () => {
      const failure = new Error('no port');
      let self: ActorRef | undefined;
      const bad = spec('a', {
        start: async (part) => {
          self = part;
          throw failure;
        },
      });
      await assert.rejects(supervisor.add(bad), failure);
      assert.deepEqual(happened(), [], 'what never opened is not closed');
      assert.equal(self?.alive, false);
      assert.deepEqual(supervisor.status().children, []);
      await supervisor.add(spec('a'));
    });

    it('stops those before it, in reverse, when one of several fails to start', async () => {
      const failure = new Error('no port');
      const bad = spec('c', {
        start: () => {
          throw failure;
        },
      });
      const group = await supervisor.add(spec('group'));
      happened();
      await assert.rejects(supervisor.addAll([spec('a'), spec('b'), bad, spec('d')], group), failure);
      assert.deepEqual(happened(), ['start a', 'start b', 'stop b (end)', 'stop a (end)']);
      assert.equal(group.size, 0);
      assert.deepEqual(
        (await supervisor.addAll([spec('a'), spec('b')], group)).map((part) => part.path),
        ['group/a', 'group/b'],
      );
    });

    it('refuses parts once it, or their parent, was stopped', async () => {
      const gate = deferred<void>();
      const a = await supervisor.add(spec('a', { stop: () => gate.promise }));
      const stopping = a.stop();
      await assert.rejects(supervisor.add(spec('b'), a), refusal('CLOSED'));
      gate.resolve();
      await stopping;
      await assert.rejects(supervisor.add(spec('b'), a), refusal('CLOSED'));
      const other = await supervisor.add(spec('c'));
      const all = supervisor.stop();
      await assert.rejects(supervisor.add(spec('d')), refusal('CLOSED'));
      await assert.rejects(supervisor.add(spec('d'), other), refusal('CLOSED'));
      await all;
      await assert.rejects(supervisor.add(spec('d')), refusal('CLOSED'));
    });

    it('waits for a start that is under way when it is stopped, and closes what that opened', async () => {
      const gate = deferred<void>();
      const adding = supervisor.add(spec('a', { start: () => gate.promise, turn: () => events.push('turn') }));
      const refused = assert.rejects(adding, refusal('CLOSED'));
      const stopping = supervisor.stop();
      await clock.settle();
      assert.deepEqual(happened(), []);
      gate.resolve();
      await stopping;
      await refused;
      await clock.settle();
      assert.deepEqual(happened(), ['stop a (end)']);
    });

    it('is stopped in the tick in which a part was added without ever starting it twice', async () => {
      const adding = supervisor.add(spec('a'));
      await Promise.all([supervisor.stop(), assert.rejects(adding, refusal('CLOSED'))]);
      assert.deepEqual(happened(), ['start a', 'stop a (end)']);
    });
  });

  describe('the tree', () => {
    it('refuses names that are none, or in use below the same parent', async () => {
      await assert.rejects(supervisor.add(spec('a/b')), refusal('NAME_INVALID'));
      await assert.rejects(supervisor.add(spec('a'.repeat(129))), refusal('NAME_INVALID'));
      await supervisor.add(spec('a'.repeat(128)));
      const a = await supervisor.add(spec('a'));
      await supervisor.add(spec('a'), a);
      await assert.rejects(supervisor.add(spec('a')), refusal('INTERNAL'));
      await assert.rejects(supervisor.add(spec('a'), a), refusal('INTERNAL'));
    });

    it('takes a part and another that is named like one of its generations', async () => {
      await supervisor.addAll([spec('a'), spec('a.1'), spec('a.1.1')]);
      assert.equal(supervisor.status().size, 3);
    });

    it('gives no children to a part that has turns', async () => {
      const worker = await supervisor.add(spec('worker', { turn: () => {} }));
      await assert.rejects(supervisor.add(spec('child'), worker), refusal('INTERNAL'));
    });

    it('refuses more than 64 children, those in backoff included', async () => {
      const group = await supervisor.add(spec('group'));
      const specs = Array.from({ length: maxChildren }, (_, i) => ({ name: `child-${i}` }));
      const [first] = await supervisor.addAll(specs, group);
      first?.fault(new Error('boom'));
      await assert.rejects(supervisor.add({ name: 'more' }, group), refusal('INTERNAL'));
      await clock.advance(10);
      assert.equal(first?.state, 'running');
      await first?.stop();
      await supervisor.add({ name: 'more' }, group);
    });

    it('refuses a parent of another supervisor', async () => {
      const other = new Supervisor({ runtime, clock, log: silentLogger, giveUp: () => {} });
      const foreign = await other.add(spec('foreign'));
      await assert.rejects(supervisor.add(spec('a'), foreign), refusal('INTERNAL'));
      await other.stop();
    });

    it('tells its state as plain data', async () => {
      const a = await supervisor.add(spec('a'));
      const b = await supervisor.add(failing('b', ['boom']), a);
      await clock.settle();
      const status = supervisor.status();
      assert.deepEqual(status, {
        name: 'node-1.1',
        path: '',
        state: 'running',
        generation: 1,
        restarts: 0,
        size: 1,
        children: [
          {
            name: 'a',
            path: 'a',
            state: 'running',
            generation: 1,
            restarts: 0,
            size: 1,
            children: [{ name: 'b', path: 'a/b', state: 'backoff', generation: 1, restarts: 0, size: 0, children: [] }],
          },
        ],
      });
      assert.deepEqual(structuredClone(status), status);
      await clock.advance(10);
      assert.equal(b.ref.path, 'a.1/b.2');
      const { state, generation, restarts } = b.status();
      assert.deepEqual({ state, generation, restarts }, { state: 'running', generation: 2, restarts: 1 });
    });
  });

  describe('turns and wakes', () => {
    it('runs one turn after the start, and one for each wake after it', async () => {
      const part = await supervisor.add(failing('a', []));
      await clock.settle();
      assert.deepEqual(happened(), ['start a', 'turn a']);
      assert.equal(part.wake(), true);
      part.wake();
      await clock.settle();
      assert.deepEqual(happened(), ['turn a']);
    });

    it('runs no turn before the start has resolved, whatever wakes it', async () => {
      const gate = deferred<void>();
      const adding = supervisor.add(
        failing('a', [], {
          start: (self) => {
            assert.equal(self.wake(), true);
            return gate.promise;
          },
        }),
      );
      await clock.settle();
      assert.deepEqual(happened(), []);
      gate.resolve();
      await adding;
      await clock.settle();
      assert.deepEqual(happened(), ['turn a']);
    });

    it('runs no turn once stop was called, even while that waits', async () => {
      const gate = deferred<void>();
      const part = await supervisor.add(failing('a', [], { stop: () => gate.promise }));
      part.wake();
      const stopping = part.stop();
      assert.equal(part.wake(), false);
      assert.equal(part.alive, false);
      await clock.settle();
      assert.deepEqual(happened(), ['start a']);
      gate.resolve();
      await stopping;
    });
  });

  describe('after a fault', () => {
    it('closes the part, waits, and starts it again under the next generation', async () => {
      const part = await supervisor.add(failing('a', ['boom']));
      await clock.settle();
      assert.deepEqual(happened(), ['start a', 'turn a', 'stop a (fault)']);
      assert.equal(part.state, 'backoff');
      assert.equal(part.ref.alive, false);
      await clock.advance(9);
      assert.equal(part.state, 'backoff');
      await clock.advance(1);
      assert.deepEqual(happened(), ['start a', 'turn a']);
      assert.equal(part.state, 'running');
      assert.equal(part.ref.name, 'a.2');
      assert.equal(part.restarts, 1);
    });

    it('remembers wakes meanwhile: nothing that came is stranded', async () => {
      const gate = deferred<void>();
      const starts = [Promise.resolve(), gate.promise];
      const part = await supervisor.add(failing('a', ['boom'], { start: () => starts.shift() ?? Promise.resolve() }));
      await clock.settle();
      happened();
      assert.equal(part.wake(), true, 'in backoff');
      await clock.advance(10);
      assert.equal(part.state, 'starting');
      assert.equal(part.wake(), true, 'while it starts');
      await clock.settle();
      assert.deepEqual(happened(), [], 'but not before its start is done');
      gate.resolve();
      await clock.settle();
      assert.deepEqual(happened(), ['turn a']);
    });

    it('leaves its neighbours as they are', async () => {
      const group = await supervisor.add(spec('group'));
      await supervisor.add(failing('a', ['boom']), group);
      const b = await supervisor.add(failing('b', []), group);
      await clock.settle();
      happened();
      b.wake();
      await clock.settle();
      assert.deepEqual(happened(), ['turn b']);
      assert.equal(group.state, 'running');
    });

    it('counts a start that fails again as the next fault, and closes nothing for it', async () => {
      let starts = 0;
      const part = await supervisor.add(
        failing('a', ['boom'], {
          start: () => {
            events.push('start a');
            if (++starts === 2) throw new Error('port in use');
          },
        }),
      );
      await clock.advance(10);
      assert.deepEqual(happened(), ['start a', 'turn a', 'stop a (fault)', 'start a']);
      assert.equal(part.state, 'backoff');
      assert.equal(part.ref.alive, false);
      await clock.advance(100);
      assert.deepEqual(happened(), ['start a', 'turn a']);
      assert.equal(part.generation, 3);
      assert.equal(part.restarts, 2);
    });

    it('treats a failure reported from outside a turn alike', async () => {
      const listener = await supervisor.add(spec('listener'));
      listener.fault(new Error('socket error'));
      listener.fault(new Error('socket error again'));
      await clock.advance(10);
      assert.deepEqual(happened(), ['start listener', 'stop listener (fault)', 'start listener']);
      assert.equal(listener.restarts, 1);
    });

    it('restarts although closing fails and the logger throws', async () => {
      const broken = (): never => {
        throw new Error('broken');
      };
      const loud = new Supervisor({ runtime, clock, log: { ...silentLogger, warn: broken }, giveUp: broken });
      const part = await loud.add(
        failing('loud', ['boom', 'boom', 'boom', 'boom'], {
          stop: (reason) => {
            if (reason === 'fault') broken();
          },
        }),
      );
      await clock.advance(10);
      assert.equal(part.restarts, 1);
      await clock.advance(30_000);
      assert.equal(part.state, 'failed');
      await loud.stop();
    });
  });

  describe('past the intensity', () => {
    const always = Array.from({ length: 100 }, () => 'boom');

    it('gives a part of the bus up after 3 restarts', async () => {
      const part = await supervisor.add(failing('a', [...always]));
      await clock.advance(60_000);
      assert.equal(part.state, 'failed');
      assert.equal(part.restarts, 3);
      assert.equal(part.wake(), false);
      assert.equal(part.ref.alive, false);
      assert.deepEqual(happened().slice(-3), ['turn a', 'gave up a: Error: boom', 'stop a (fault)']);
    });

    it('gives a handler up after 10, and tells the one who wants to know', async () => {
      const giveUp = (error: unknown) => void events.push(`quarantined: ${String(error)}`);
      const part = await supervisor.add(failing('a', [...always], { restart: handlers, giveUp }));
      await clock.advance(60_000);
      assert.equal(part.state, 'failed');
      assert.equal(part.restarts, 10);
      const all = happened();
      assert.deepEqual(
        all.filter((event) => event.startsWith('quarantined')),
        ['quarantined: Error: boom'],
      );
      assert.ok(!all.some((event) => event.startsWith('gave up')));
    });

    it('escalates to the nearest one above that wants to know', async () => {
      const group = await supervisor.add(
        spec('group', { giveUp: (error) => void events.push(`group: ${String(error)}`) }),
      );
      const inner = await supervisor.add(spec('inner'), group);
      const part = await supervisor.add(failing('a', [...always]), inner);
      await clock.advance(60_000);
      assert.equal(part.state, 'failed');
      assert.ok(happened().includes('group: Error: boom'));
      assert.equal(group.state, 'running');
    });

    it('tells the path of what failed at the top', async () => {
      const group = await supervisor.add(spec('group'));
      await supervisor.add(failing('a', [...always]), group);
      await clock.advance(60_000);
      assert.ok(happened().includes('gave up group/a: Error: boom'));
    });

    it('gives a part with children up at once, and leaves them and what they stand on running', async () => {
      const group = await supervisor.add(spec('group'));
      const child = await supervisor.add(failing('child', []), group);
      await clock.settle();
      happened();
      group.fault(new Error('boom'));
      child.wake();
      await clock.settle();
      assert.deepEqual(happened(), ['gave up group: Error: boom', 'turn child']);
      assert.equal(group.state, 'failed');
      await assert.rejects(supervisor.add(spec('late'), group), refusal('INTERNAL'));
      await assert.rejects(group.revive(), refusal('INTERNAL'));
      await supervisor.stop();
      assert.deepEqual(happened(), ['stop child (end)', 'stop group (end)']);
    });

    it('can be stopped from within giveUp', async () => {
      const stopped = deferred<void>();
      await supervisor.add(spec('first'));
      await supervisor.add(
        failing('a', [...always], { giveUp: () => supervisor.stop().then(stopped.resolve, stopped.reject) }),
      );
      await clock.advance(60_000);
      await stopped.promise;
      assert.deepEqual(happened().slice(-3), ['turn a', 'stop a (end)', 'stop first (end)']);
    });

    it('can be revived, its failures forgotten', async () => {
      const part = await supervisor.add(failing('a', ['1', '2', '3', '4', undefined, '5']));
      await clock.advance(10 + 100 + 1000);
      assert.equal(part.state, 'failed');
      happened();
      await part.revive();
      await clock.settle();
      assert.deepEqual(happened(), ['start a', 'turn a']);
      assert.equal(part.state, 'running');
      part.wake();
      await clock.advance(10);
      assert.equal(part.state, 'running', 'the next fault is the first again');
      await part.revive();
      assert.equal(part.generation, 6);
    });

    it('stays down when it is stopped in the tick of its revival', async () => {
      const part = await supervisor.add(failing('a', [...always]));
      await clock.advance(60_000);
      happened();
      await Promise.all([part.revive(), part.stop()]);
      await clock.settle();
      assert.deepEqual(happened(), ['stop a (end)']);
    });

    it('can be revived from within giveUp', async () => {
      const part: { revive?: () => Promise<void> } = {};
      const added = await supervisor.add(
        failing('a', ['1', '2', '3', '4'], { giveUp: () => void part.revive?.().then(() => events.push('revived')) }),
      );
      part.revive = () => added.revive();
      await clock.advance(60_000);
      assert.equal(added.state, 'running');
      assert.deepEqual(happened().slice(-4), ['stop a (fault)', 'start a', 'revived', 'turn a']);
    });
  });

  describe('stopping while it restarts', () => {
    it('cancels the backoff, and closes for good', async () => {
      const part = await supervisor.add(failing('a', ['boom']));
      await clock.settle();
      assert.equal(clock.pendingTimers, 1);
      await part.stop();
      assert.equal(clock.pendingTimers, 0);
      await clock.advance(60_000);
      assert.deepEqual(happened(), ['start a', 'turn a', 'stop a (fault)', 'stop a (end)']);
      assert.equal(part.generation, 1);
    });

    it('waits until it has closed after its fault, and sets no timer then', async () => {
      const gate = deferred<void>();
      const part = await supervisor.add(
        failing('a', ['boom'], {
          stop: async (reason) => {
            events.push(`stop ${reason} begins`);
            if (reason === 'fault') await gate.promise;
            events.push(`stop ${reason} ends`);
          },
        }),
      );
      await clock.settle();
      const stopping = part.stop();
      await clock.settle();
      gate.resolve();
      await stopping;
      assert.equal(clock.pendingTimers, 0);
      assert.deepEqual(happened().slice(2), [
        'stop fault begins',
        'stop fault ends',
        'stop end begins',
        'stop end ends',
      ]);
    });

    it('waits for a restart that is under way, whether that succeeds or fails', async () => {
      for (const fails of [false, true]) {
        const gate = deferred<void>();
        const starts = [Promise.resolve(), gate.promise];
        const part = await supervisor.add(failing('a', ['boom'], { start: () => starts.shift() ?? Promise.resolve() }));
        await clock.advance(10);
        assert.equal(part.state, 'starting');
        happened();
        const stopping = part.stop();
        await clock.settle();
        assert.deepEqual(happened(), []);
        if (fails) gate.reject(new Error('port in use'));
        else gate.resolve();
        await stopping;
        await clock.settle();
        assert.deepEqual(happened(), ['stop a (end)']);
        assert.equal(clock.pendingTimers, 0);
      }
    });

    it('forgets a fault of a turn that stops its own part', async () => {
      const part = await supervisor.add({
        name: 'a',
        turn: () => {
          void part.stop();
          throw new Error('boom');
        },
      });
      await clock.settle();
      await part.stop();
      assert.equal(part.state, 'stopped');
      assert.equal(part.restarts, 0);
    });
  });

  describe('replacing', () => {
    it('gives a part a new actor and a turn of it at once, and counts no restart', async () => {
      const part = await supervisor.add(failing('a', []));
      await clock.settle();
      happened();
      const old = part.ref;
      old.wake();
      assert.equal(part.replace('the handler never resolved'), true);
      assert.equal(old.alive, false);
      assert.equal(part.ref.name, 'a.2');
      assert.equal(part.state, 'running');
      await clock.settle();
      assert.deepEqual(happened(), ['turn a'], 'neither closed nor started');
      assert.equal(part.restarts, 0);
    });

    it('does so from within a turn, without a second turn at the same time', async () => {
      let depth = 0;
      let turns = 0;
      const part = await supervisor.add({
        name: 'a',
        turn: () => {
          assert.equal(++depth, 1);
          if (++turns < 3) assert.equal(part.replace('again'), true);
          depth--;
        },
      });
      await clock.settle();
      assert.equal(turns, 3);
      assert.equal(part.generation, 3);
    });

    it('does nothing to a part that does not run: a new actor comes, or none', async () => {
      const part = await supervisor.add(failing('a', ['boom']));
      await clock.settle();
      assert.equal(part.replace('no'), false);
      await clock.advance(10);
      assert.equal(part.generation, 2);
      await part.stop();
      assert.equal(part.replace('no'), false);
    });

    it('refuses a part with children', async () => {
      const group = await supervisor.add(spec('group'));
      await supervisor.add(spec('child'), group);
      assert.throws(() => group.replace('no'), refusal('INTERNAL'));
      assert.equal(group.ref.alive, true);
    });
  });
});

describe('a supervisor over nact', () => {
  it('restarts, replaces and stops as over the virtual runtime', async () => {
    const runtime = createRuntime({ name: 'supervised.1' });
    const supervisor = new Supervisor({ runtime, clock: systemClock, log: silentLogger, giveUp: () => {} });
    const group = await supervisor.add({ name: 'group' });
    let turned = deferred<void>();
    const plan = ['boom', undefined, undefined];
    const part = await supervisor.add(
      {
        name: 'a',
        restart: { ...handlers, delay: 1 },
        turn: () => {
          const message = plan.shift();
          if (message !== undefined) throw new Error(message);
          turned.resolve();
        },
      },
      group,
    );
    await turned.promise;
    assert.equal(part.ref.path, 'group.1/a.2');
    turned = deferred();
    part.replace('again');
    await turned.promise;
    assert.equal(part.ref.path, 'group.1/a.3');
    await supervisor.stop();
    assert.equal(part.wake(), false);
    await runtime.close();
  });
});
