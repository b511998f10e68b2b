import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Nursery } from '../../src/actors/nursery.ts';
import { createRuntime, maxChildren, type Runtime } from '../../src/actors/runtime.ts';
import { type Part, type PartSpec, Supervisor } from '../../src/actors/supervisor.ts';
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

/** A runtime that keeps the paths of its living actors, and refuses one name if told so. */
function watched(runtime: Runtime): Runtime & { readonly living: Set<string>; refuse?: string } {
  const living = new Set<string>();
  return {
    living,
    name: runtime.name,
    spawn(this: { refuse?: string }, parent, name, behaviour) {
      if (name === this.refuse) throw new Error('refused');
      const ref = runtime.spawn(parent, name, behaviour);
      living.add(ref.path);
      return ref;
    },
    stop(ref) {
      living.delete(ref.path);
      return runtime.stop(ref);
    },
    close: () => runtime.close(),
  };
}

function names(count: number, from = 0): PartSpec[] {
  return Array.from({ length: count }, (_, i) => ({ name: `child-${from + i}` }));
}

describe('a nursery', () => {
  let clock: VirtualClock;
  let runtime: ReturnType<typeof watched>;
  let supervisor: Supervisor;
  let group: Part;
  let nursery: Nursery;

  beforeEach(async () => {
    clock = new VirtualClock();
    runtime = watched(createVirtualRuntime({ name: 'node-1.1', clock }));
    supervisor = new Supervisor({ runtime, clock, log: silentLogger, giveUp: () => {} });
    group = await supervisor.add({ name: 'subs' });
    nursery = new Nursery({ supervisor, runtime, group });
  });
  afterEach(async () => {
    await supervisor.stop();
    assert.deepEqual([...runtime.living], []);
    await runtime.close();
  });

  function addAll(specs: readonly PartSpec[]): Promise<Part[]> {
    return Promise.all(specs.map((spec) => nursery.add(spec)));
  }

  function branches(): string[] {
    return [...runtime.living].filter((path) => /branch-\d+$/.test(path));
  }

  it('holds 10,000 children, each with its turns, and gives no actor more than 64', { timeout: 10_000 }, async () => {
    let turns = 0;
    const parts = await addAll(names(10_000).map((spec) => ({ ...spec, turn: () => turns++ })));
    await clock.settle();
    assert.equal(turns, 10_000);
    const children = new Map<string, number>();
    for (const path of runtime.living) {
      const parent = path.slice(0, Math.max(0, path.lastIndexOf('/')));
      children.set(parent, (children.get(parent) ?? 0) + 1);
    }
    assert.equal(Math.max(...children.values()), maxChildren);
    assert.equal(branches().length, Math.ceil(10_000 / 64) + Math.ceil(10_000 / 64 / 64));
    for (const part of parts) part.wake();
    await clock.settle();
    assert.equal(turns, 20_000);
  });

  it('keeps the branches out of paths, look-ups and status', async () => {
    const parts = await addAll(names(200));
    assert.equal(nursery.size, 200);
    assert.equal(parts[199]?.path, 'subs/child-199');
    assert.equal(nursery.get('child-199'), parts[199]);
    assert.equal(nursery.get('child-200'), undefined);
    assert.equal(nursery.get('branch-1'), undefined);
    const status = group.status();
    assert.equal(status.size, 200);
    assert.deepEqual(
      status.children.map((child) => child.path),
      parts.map((part) => part.path),
    );
  });

  it('makes branches when they are needed, and stops them when they are empty', async () => {
    assert.deepEqual(branches(), []);
    const parts = await addAll(names(65));
    assert.deepEqual(branches(), ['subs.1/branch-1', 'subs.1/branch-1/branch-2', 'subs.1/branch-1/branch-3']);
    await parts[64]?.stop();
    assert.deepEqual(branches(), ['subs.1/branch-1', 'subs.1/branch-1/branch-2']);
    await Promise.all(parts.map((part) => part.stop()));
    assert.deepEqual(branches(), []);
    assert.equal(nursery.size, 0);
    assert.equal(group.state, 'running');
    await addAll(names(1));
    assert.deepEqual(branches(), ['subs.1/branch-4', 'subs.1/branch-4/branch-5']);
  });

  it('fills places that became free before it makes new branches', async () => {
    const parts = await addAll(names(64 * 64));
    const before = branches();
    assert.equal(before.length, 1 + 64);
    const gone = parts.filter((_, i) => i % 3 === 0);
    await Promise.all(gone.map((part) => part.stop()));
    await addAll(names(gone.length, 10_000));
    assert.deepEqual(branches(), before);
    await nursery.add({ name: 'one-more' });
    assert.equal(branches().length, before.length + 2);
  });

  it('keeps its books through any order of adding and removing', async () => {
    let next = 0;
    const parts: Part[] = [];
    for (let round = 0; round < 3000; round++) {
      const grow = round % 600 < 350 ? 0.9 : 0.1;
      if (parts.length === 0 || clock.random() < grow) {
        parts.push(await nursery.add({ name: `child-${next++}` }));
      } else {
        const [part] = parts.splice(Math.floor(clock.random() * parts.length), 1);
        await part?.stop();
      }
      assert.equal(nursery.size, parts.length);
    }
    const holding = new Set(parts.map((part) => part.ref.path.slice(0, part.ref.path.lastIndexOf('/'))));
    const leafBranches = branches().filter((path) => path.split('/').length === 3);
    assert.deepEqual(new Set(leafBranches), holding, 'no empty branch lives, no used one is gone');
    await Promise.all(parts.map((part) => part.stop()));
    assert.deepEqual([...runtime.living], ['subs.1']);
  });

  it('keeps the place of a child that waits for its restart, or is replaced', async () => {
    const plan = ['boom'];
    const part = await nursery.add({
      name: 'a',
      turn: () => {
        const message = plan.shift();
        if (message !== undefined) throw new Error(message);
      },
    });
    await clock.settle();
    assert.equal(part.state, 'backoff');
    assert.equal(branches().length, 2);
    await clock.advance(10);
    assert.equal(part.ref.path, 'subs.1/branch-1/branch-2/a.2');
    part.replace('again');
    assert.equal(part.ref.path, 'subs.1/branch-1/branch-2/a.3');
    await part.stop();
    assert.deepEqual(branches(), []);
  });

  it('takes the place back from a child that did not start, or that it refused', async () => {
    const failure = new Error('no');
    await assert.rejects(nursery.add({ name: 'a', start: () => Promise.reject(failure) }), failure);
    assert.deepEqual(branches(), []);
    await nursery.add({ name: 'a' });
    await assert.rejects(nursery.add({ name: 'a' }), refusal('INTERNAL'));
    await assert.rejects(nursery.add({ name: 'a b' }), refusal('NAME_INVALID'));
    await nursery.get('a')?.stop();
    assert.deepEqual(branches(), []);
    runtime.refuse = 'b.1';
    await assert.rejects(nursery.add({ name: 'b' }), /refused/);
    assert.deepEqual(branches(), []);
    assert.equal(nursery.size, 0);
  });

  it('is stopped with its group, the youngest child first, and takes no more', async () => {
    const order: string[] = [];
    const specs = names(200).map((spec) => ({ ...spec, stop: () => void order.push(spec.name) }));
    await addAll(specs);
    await group.stop();
    assert.deepEqual(order, specs.map((spec) => spec.name).reverse());
    assert.deepEqual([...runtime.living], []);
    await assert.rejects(nursery.add({ name: 'late' }), refusal('CLOSED'));
  });

  it('goes on below the next actor of a group that was restarted while it was empty', async () => {
    await (await nursery.add({ name: 'a' })).stop();
    group.fault(new Error('boom'));
    await clock.advance(10);
    const part = await nursery.add({ name: 'a' });
    assert.equal(part.ref.path, 'subs.2/branch-3/branch-4/a.1');
  });
});

describe('a nursery over nact', () => {
  it('wakes each of 1,000 children, and stops them with everything in between', async () => {
    const runtime = watched(createRuntime({ name: 'nursery.1' }));
    const supervisor = new Supervisor({ runtime, clock: systemClock, log: silentLogger, giveUp: () => {} });
    const nursery = new Nursery({ supervisor, runtime, group: await supervisor.add({ name: 'subs' }) });
    const all = deferred<void>();
    let turns = 0;
    const turn = () => {
      if (++turns === 1000) all.resolve();
    };
    await Promise.all(names(1000).map((spec) => nursery.add({ ...spec, turn })));
    await all.promise;
    await supervisor.stop();
    assert.deepEqual([...runtime.living], []);
    await runtime.close();
  });
});
