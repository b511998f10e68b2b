import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { type ActorRef, type Behaviour, createRuntime, maxChildren, type Runtime } from '../../src/actors/runtime.ts';
import { createVirtualRuntime } from '../../src/actors/virtual-runtime.ts';
import { BusError, type ErrorCode } from '../../src/core/errors.ts';
import { type Logger, silentLogger } from '../../src/core/log.ts';
import { VirtualClock } from '../../src/core/virtual-clock.ts';

/** A runtime under test, and a way to let everything run that was set off. */
interface Bench {
  make(name?: string, log?: Logger): Runtime;
  settle(): Promise<void>;
}

const benches: Record<string, () => Bench> = {
  'the runtime over nact': () => ({
    make: (name = 'node-1.1', log = silentLogger) => createRuntime({ name, log }),
    async settle() {
      // nact runs a turn in an immediate and sets the next one after a promise.
      for (let i = 0; i < 12; i++) await new Promise<void>((done) => setImmediate(done));
    },
  }),
  'the virtual runtime': () => {
    const clock = new VirtualClock();
    return {
      make: (name = 'node-1.1', log = silentLogger) => createVirtualRuntime({ name, log, clock }),
      settle: () => clock.settle(),
    };
  },
};

function refusal(code: ErrorCode) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof BusError, String(error));
    assert.equal(error.code, code);
    return true;
  };
}

/** Runs `turn`; a fault nobody expects fails the test. */
function doing(turn: () => void, fault?: (error: unknown) => void): Behaviour {
  return {
    turn,
    fault:
      fault ??
      ((error) => {
        throw error;
      }),
  };
}

const idle = doing(() => {});

for (const [title, makeBench] of Object.entries(benches)) {
  describe(title, () => {
    let bench: Bench;
    let runtime: Runtime;

    beforeEach(() => {
      bench = makeBench();
      runtime = bench.make();
    });
    afterEach(() => runtime.close());

    describe('wakes', () => {
      it('runs no turn before it is woken, and none within wake()', async () => {
        let turns = 0;
        const actor = runtime.spawn(
          undefined,
          'a',
          doing(() => turns++),
        );
        await bench.settle();
        assert.equal(turns, 0);
        assert.equal(actor.wake(), true);
        assert.equal(turns, 0);
        await bench.settle();
        assert.equal(turns, 1);
      });

      it('makes one turn of all wakes before it', async () => {
        let turns = 0;
        const actor = runtime.spawn(
          undefined,
          'a',
          doing(() => turns++),
        );
        for (let i = 0; i < 1000; i++) assert.equal(actor.wake(), true);
        await bench.settle();
        assert.equal(turns, 1);
      });

      it('brings another turn for a wake during a turn, again and again', async () => {
        // nact takes what a handler returns as its next state: a handler that returns nothing would end here.
        let turns = 0;
        const actor: ActorRef = runtime.spawn(
          undefined,
          'a',
          doing(() => {
            if (++turns < 5) assert.equal(actor.wake(), true);
          }),
        );
        actor.wake();
        await bench.settle();
        assert.equal(turns, 5);
        actor.wake();
        await bench.settle();
        assert.equal(turns, 6);
      });

      it('runs actors that are woken together below one parent once each, and those stopped meanwhile not at all', async () => {
        const order: string[] = [];
        const parent = runtime.spawn(
          undefined,
          'parent',
          doing(() => order.push('parent')),
        );
        const children: ActorRef[] = Array.from({ length: 8 }, (_, i) =>
          runtime.spawn(
            parent,
            `c${i}`,
            doing(() => {
              order.push(`c${i}`);
              if (i === 2) void runtime.stop(children[3] as ActorRef);
              if (i === 4 && order.length < 8) (children[4] as ActorRef).wake();
            }),
          ),
        );
        for (const child of children) assert.equal(child.wake(), true);
        parent.wake();
        await bench.settle();
        assert.deepEqual([...order].sort(), ['c0', 'c1', 'c2', 'c4', 'c4', 'c5', 'c6', 'c7', 'parent']);
        assert.deepEqual(
          order.filter((name) => name !== 'parent'),
          ['c0', 'c1', 'c2', 'c4', 'c5', 'c6', 'c7', 'c4'],
        );
      });

      it('runs the turns of several actors in order of wake', async () => {
        const order: string[] = [];
        const actors = ['a', 'b', 'c'].map((name) =>
          runtime.spawn(
            undefined,
            name,
            doing(() => order.push(name)),
          ),
        );
        for (const actor of [...actors].reverse()) actor.wake();
        await bench.settle();
        assert.deepEqual(order, ['c', 'b', 'a']);
      });
    });

    describe('faults', () => {
      it('gives what a turn throws to fault, and the actor goes on', async () => {
        const faults: unknown[] = [];
        const thrown = new Error('boom');
        const actor = runtime.spawn(
          undefined,
          'a',
          doing(
            () => {
              throw thrown;
            },
            (error) => faults.push(error),
          ),
        );
        actor.wake();
        await bench.settle();
        assert.deepEqual(faults, [thrown]);
        assert.equal(actor.wake(), true);
        await bench.settle();
        assert.equal(faults.length, 2);
      });

      it('reports a fault that throws itself, to the logger alone, and goes on', async (t) => {
        const console = t.mock.method(globalThis.console, 'log', () => {});
        const lines: object[] = [];
        const log = { ...silentLogger, error: (fields: object) => void lines.push(fields) };
        const loud = bench.make('node-2.1', log);
        const [first, second] = [new Error('first'), new Error('second')];
        let turns = 0;
        const parent = loud.spawn(undefined, 'parent', idle);
        const actor = loud.spawn(
          parent,
          'a',
          doing(
            () => {
              if (++turns === 1) throw first;
            },
            () => {
              throw second;
            },
          ),
        );
        actor.wake();
        await bench.settle();
        assert.deepEqual(lines, [{ actor: 'parent/a', err: second, cause: first }]);
        actor.wake();
        await bench.settle();
        assert.equal(turns, 2);
        assert.equal(parent.alive, true);
        assert.equal(console.mock.callCount(), 0);
        await loud.close();
      });

      it('goes on although fault and logger throw', async () => {
        const broken = (): never => {
          throw new Error('broken');
        };
        const loud = bench.make('node-2.1', { ...silentLogger, error: broken });
        let turns = 0;
        const actor = loud.spawn(
          undefined,
          'a',
          doing(() => {
            turns++;
            broken();
          }, broken),
        );
        actor.wake();
        await bench.settle();
        actor.wake();
        await bench.settle();
        assert.equal(turns, 2);
        await loud.close();
      });
    });

    describe('stopping', () => {
      it('runs no turn after a stop in the tick of the first wake', async () => {
        let turns = 0;
        const actor = runtime.spawn(
          undefined,
          'a',
          doing(() => turns++),
        );
        actor.wake();
        await runtime.stop(actor);
        await bench.settle();
        assert.equal(turns, 0);
      });

      it('takes effect at once: dead, silent, and its name free', async () => {
        let turns = 0;
        const behaviour = doing(() => turns++);
        const actor = runtime.spawn(undefined, 'a', behaviour);
        const stopped = runtime.stop(actor);
        assert.equal(actor.alive, false);
        assert.equal(actor.wake(), false);
        assert.equal(runtime.spawn(undefined, 'a', behaviour).alive, true);
        await stopped;
        await bench.settle();
        assert.equal(turns, 0);
      });

      it('is harmless twice', async () => {
        const actor = runtime.spawn(undefined, 'a', idle);
        await runtime.stop(actor);
        let turns = 0;
        const heir = runtime.spawn(
          undefined,
          'a',
          doing(() => turns++),
        );
        await runtime.stop(actor);
        assert.equal(heir.wake(), true, 'and does not touch the next of that name');
        await bench.settle();
        assert.equal(turns, 1);
        assert.throws(() => runtime.spawn(undefined, 'a', idle), refusal('INTERNAL'));
      });

      it('keeps an old reference from a new actor of the same name', async () => {
        const turns: string[] = [];
        const old = runtime.spawn(
          undefined,
          'a',
          doing(() => turns.push('old')),
        );
        old.wake();
        await runtime.stop(old);
        const heir = runtime.spawn(
          undefined,
          'a',
          doing(() => turns.push('heir')),
        );
        assert.equal(old.wake(), false);
        await bench.settle();
        assert.deepEqual(turns, []);
        heir.wake();
        await bench.settle();
        assert.deepEqual(turns, ['heir']);
      });

      it('resolves after the turn when an actor stops itself, and tells once what that turn throws afterwards', async () => {
        const order: string[] = [];
        const actor: ActorRef = runtime.spawn(
          undefined,
          'a',
          doing(
            () => {
              order.push('turn');
              actor.wake();
              void runtime.stop(actor).then(() => order.push('stopped'));
              order.push('end of turn');
              throw new Error('boom');
            },
            () => order.push('fault'),
          ),
        );
        actor.wake();
        await bench.settle();
        assert.deepEqual(order, ['turn', 'end of turn', 'fault', 'stopped']);
      });

      it('refuses to stop an actor that has children', async () => {
        let turns = 0;
        const parent = runtime.spawn(undefined, 'parent', idle);
        const child = runtime.spawn(
          parent,
          'child',
          doing(() => turns++),
        );
        await assert.rejects(runtime.stop(parent), refusal('INTERNAL'));
        assert.equal(parent.alive, true);
        child.wake();
        await bench.settle();
        assert.equal(turns, 1);
        await runtime.stop(child);
        await runtime.stop(parent);
        assert.equal(parent.alive, false);
      });
    });

    describe('the tree', () => {
      it('tells an actor by its path', () => {
        const a = runtime.spawn(undefined, 'a', idle);
        const b = runtime.spawn(a, 'b.2', idle);
        assert.equal(a.path, 'a');
        assert.equal(b.path, 'a/b.2');
        assert.equal(b.name, 'b.2');
      });

      it('takes names of 1 to 144 of A-Z a-z 0-9 _ . - and no others', () => {
        for (const name of ['', ' ', 'a b', 'a/b', 'ä', 'a\n', '$', "'", 'a'.repeat(145), 'a'.repeat(10_000)]) {
          assert.throws(() => runtime.spawn(undefined, name, idle), refusal('NAME_INVALID'));
        }
        for (const name of ['a', '-', '.', '..', 'A-1_b.2', 'a'.repeat(144)]) runtime.spawn(undefined, name, idle);
      });

      it('knows no magic names', async () => {
        const names = ['__proto__', 'constructor', 'hasOwnProperty', 'toString'];
        const turns: string[] = [];
        for (const name of names) {
          const actor = runtime.spawn(
            undefined,
            name,
            doing(() => turns.push(name)),
          );
          runtime
            .spawn(
              actor,
              name,
              doing(() => turns.push(`${name}/${name}`)),
            )
            .wake();
          actor.wake();
        }
        await bench.settle();
        assert.deepEqual(turns.sort(), [...names, ...names.map((name) => `${name}/${name}`)].sort());
      });

      it('refuses a name in use below the same parent, and only there', () => {
        const a = runtime.spawn(undefined, 'a', idle);
        assert.throws(() => runtime.spawn(undefined, 'a', idle), refusal('INTERNAL'));
        runtime.spawn(a, 'a', idle);
        assert.throws(() => runtime.spawn(a, 'a', idle), refusal('INTERNAL'));
      });

      it('refuses more than 64 children, at the top as below, and takes another when one was stopped', async () => {
        const top = runtime.spawn(undefined, 'parent', idle);
        for (const parent of [undefined, top]) {
          const first = runtime.spawn(parent, 'first', idle);
          for (let i = parent === undefined ? 2 : 1; i < maxChildren; i++) runtime.spawn(parent, `child-${i}`, idle);
          assert.throws(() => runtime.spawn(parent, 'more', idle), refusal('INTERNAL'));
          await runtime.stop(first);
          runtime.spawn(parent, 'more', idle);
        }
      });

      it('refuses a stopped parent, and actors of another runtime', async () => {
        const other = bench.make('node-2.1');
        const foreign = other.spawn(undefined, 'a', idle);
        assert.throws(() => runtime.spawn(foreign, 'b', idle), refusal('INTERNAL'));
        await assert.rejects(runtime.stop(foreign), refusal('INTERNAL'));
        await other.stop(foreign);
        assert.throws(() => other.spawn(foreign, 'b', idle), refusal('INTERNAL'));
        await other.close();
      });

      it('keeps runtimes apart that have actors of the same names', async () => {
        const other = bench.make('node-1.2');
        const turns: string[] = [];
        const mine = runtime.spawn(
          undefined,
          'a',
          doing(() => turns.push('mine')),
        );
        const theirs = other.spawn(
          undefined,
          'a',
          doing(() => turns.push('theirs')),
        );
        mine.wake();
        await bench.settle();
        assert.deepEqual(turns, ['mine']);
        await runtime.close();
        theirs.wake();
        await bench.settle();
        assert.deepEqual(turns, ['mine', 'theirs']);
        await other.close();
      });
    });

    describe('closing', () => {
      it('stops everything that is left: no turn runs, no wake and no spawn succeeds', async () => {
        // nact stops neither the children of what it stops nor those of a system.
        let turns = 0;
        const behaviour = doing(() => turns++);
        const parent = runtime.spawn(undefined, 'parent', behaviour);
        const child = runtime.spawn(parent, 'child', behaviour);
        const leaf = runtime.spawn(child, 'leaf', behaviour);
        for (const actor of [parent, child, leaf]) actor.wake();
        await runtime.close();
        await bench.settle();
        assert.equal(turns, 0);
        for (const actor of [parent, child, leaf]) {
          assert.equal(actor.alive, false);
          assert.equal(actor.wake(), false);
          await runtime.stop(actor);
        }
        assert.throws(() => runtime.spawn(undefined, 'a', idle), refusal('CLOSED'));
      });

      it('is harmless twice', async () => {
        await Promise.all([runtime.close(), runtime.close()]);
        await runtime.close();
      });
    });

    it('refuses a name of its own that is none', () => {
      for (const name of ['', 'a b', 'a/b', 'a'.repeat(258)]) {
        assert.throws(() => bench.make(name), refusal('NAME_INVALID'));
      }
    });
  });
}

describe('runtimes over nact in one process', () => {
  it('refuses a second runtime of the same name until the first is closed, and leaves the first as it is', async () => {
    // nact would replace the first without a word: its actors would hear nothing more.
    const bench = (benches['the runtime over nact'] as () => Bench)(); // a key of the literal above
    const first = bench.make('twin.1');
    let turns = 0;
    const actor = first.spawn(
      undefined,
      'a',
      doing(() => turns++),
    );
    assert.throws(() => bench.make('twin.1'), refusal('INTERNAL'));
    actor.wake();
    await bench.settle();
    assert.equal(turns, 1);
    await first.close();
    await bench.make('twin.1').close();
  });
});
