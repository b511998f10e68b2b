import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Bus } from '../bus/bus.ts';
import { type Deferred, deferred } from '../core/async.ts';
import { systemClock } from '../core/clock.ts';
import { BusError, type ErrorCode } from '../core/errors.ts';
import { within } from '../core/within.ts';
import { kept, kind, topic, type Verb, type VerbContext, verbs } from './bus-verbs.ts';

/** What {@link busSuite} needs; made anew for each part of it. */
export interface BusFixture {
  /** It runs, and nobody has subscribed to anything. It is closed by the suite. */
  readonly bus: Bus;
  /** Another node of its cluster, that can be asked. @default it stands alone */
  readonly other?: string;
  /** Whether durable subscriptions can be made: the node, or its leader, has a store. @default false */
  readonly stores?: boolean;
  /** Whether the node has a `dataDir`. @default false */
  readonly hasFolder?: boolean;
  /** Called afterwards. */
  close?(): Promise<void>;
}

/** How long anything may take that nothing holds up, in milliseconds. */
const patience = 10_000;

/**
 * The contract of a {@link Bus} over its life, as tests of node:test: what each verb does while the bus runs, drains, closes and has
 * closed; that none hangs; and that closing ends everything that waits. Call it with a bus over transports and stores of your own.
 * It runs on the real clock, for some seconds.
 *
 * @example busSuite('in memory', async () => ({ bus: await createBus() }));
 */
export function busSuite(name: string, create: () => Promise<BusFixture>): void {
  describe(`bus: ${name}`, () => {
    for (const phase of phases) phaseTests(phase, create);
    const check: Check = (title, body) => {
      test(title, { timeout: 3 * patience }, async () => {
        const world = await World.open(create);
        try {
          await body(world);
        } finally {
          await world.end();
        }
      });
    };
    closingTests(check);
    waitingTests(check);
  });
}

type Check = (title: string, body: (world: World) => Promise<void>) => void;

const phases = ['running', 'draining', 'closing', 'closed'] as const;
type Phase = (typeof phases)[number];

/** A bus with all that the verbs need, and a handler that holds up draining and closing until it is let go. */
class World implements VerbContext {
  readonly bus: Bus;
  readonly other: string | undefined;
  readonly stores: boolean;
  readonly hasFolder: boolean;
  readonly #fixture: BusFixture;
  readonly #held: Deferred<void> = deferred();
  readonly #letGo: Deferred<void> = deferred();
  /** What is under way: draining, or closing. */
  readonly underway: Promise<void>[] = [];
  #names = 0;
  // None of the timers of a bus keeps a process alive when there is nothing to wait for.
  readonly #alive = setAlive();

  private constructor(fixture: BusFixture) {
    this.#fixture = fixture;
    this.bus = fixture.bus;
    this.other = fixture.other;
    this.stores = fixture.stores === true;
    this.hasFolder = fixture.hasFolder === true;
    this.name = this.name.bind(this);
  }

  static async open(create: () => Promise<BusFixture>): Promise<World> {
    const world = new World(await create());
    const { bus, stores } = world;
    bus.handlers.define(kind, () => ({}));
    await bus.subscribe('suite\\.topic', () => {}, { name: 'suite-sink' });
    if (stores) await bus.subscribe('suite\\.kept', null, { name: kept, durable: true });
    return world;
  }

  name(): string {
    return `suite-${++this.#names}`;
  }

  /** Has a handler run that nothing ends but {@link letGo}. */
  async hold(): Promise<void> {
    const { bus } = this;
    const hold = (): Promise<void> => {
      this.#held.resolve();
      return this.#letGo.promise;
    };
    await bus.subscribe('suite\\.hold', hold, { name: 'suite-hold', timeout: 60_000 });
    assert.equal(bus.emit('suite.hold', 1), true);
    await inTime('a handler is called', this.#held.promise);
  }

  letGo(): void {
    this.#letGo.resolve();
  }

  /** Brings the bus into a phase. */
  async enter(phase: Phase): Promise<void> {
    const { bus } = this;
    if (phase === 'draining' || phase === 'closing') await this.hold();
    if (phase === 'draining') this.underway.push(bus.drain({ timeout: 60_000 }));
    if (phase === 'closing') this.underway.push(bus.close({ timeout: 60_000 }));
    if (phase === 'closed') await inTime('close()', bus.close());
    assert.equal(bus.state, phase === 'draining' ? 'running' : phase);
  }

  async end(): Promise<void> {
    this.letGo();
    try {
      await inTime('close()', this.bus.close({ timeout: 0 }));
    } finally {
      await this.#fixture.close?.();
      this.#alive();
    }
  }
}

function setAlive(): () => void {
  let timer = systemClock.timer(patience, function again() {
    timer = systemClock.timer(patience, again);
  });
  return () => timer.cancel();
}

/** Waits for what must come, and says what did not. */
async function inTime<T>(what: string, promise: Promise<T>): Promise<T> {
  if (!(await within(systemClock, patience, promise))) assert.fail(`${what} did not end within ${patience} ms`);
  return promise;
}

function phaseTests(phase: Phase, create: () => Promise<BusFixture>): void {
  const state = { running: 'runs', draining: 'drains', closing: 'closes', closed: 'has closed' }[phase];
  describe(`while it ${state}`.replace('while it has', 'when it has'), () => {
    let world: World;
    before(async () => {
      world = await World.open(create);
      await world.enter(phase);
    });
    after(() => world.end());

    for (const verb of verbs) {
      test(`${verb.name} ${saysOf(verb, phase)}`, async () => {
        const wanted = outcomeOf(verb, phase, world);
        const { outcome, result } = await ran(verb, world);
        assert.equal(outcome, wanted);
        if (outcome === 'ok') verb.look?.(result, world);
      });
    }

    test('what was under way before still is, and ends when it can', async () => {
      for (const each of world.underway) {
        assert.equal(await within(systemClock, 20, each), false, 'a handler still runs');
        world.letGo();
        await inTime(phase, each);
      }
      const end = phase === 'closing' || phase === 'closed' ? 'closed' : 'running';
      assert.equal(world.bus.state, end);
      await inTime('drain()', world.bus.drain());
    });
  });
}

/** Calls a verb. One that gives a promise must not throw, and the other way round. */
async function ran(verb: Verb, context: VerbContext): Promise<{ outcome: ErrorCode | 'ok'; result?: unknown }> {
  let result: unknown;
  try {
    result = verb.call(context);
  } catch (error) {
    assert.ok(verb.sync, `${verb.name} threw where it should give a promise that rejects`);
    return { outcome: codeOf(error) };
  }
  if (verb.sync) return { outcome: 'ok', result };
  assert.ok(result instanceof Promise, `${verb.name} gives a promise`);
  try {
    return { outcome: 'ok', result: await inTime(verb.name, result) };
  } catch (error) {
    return { outcome: codeOf(error) };
  }
}

function codeOf(error: unknown): ErrorCode {
  if (error instanceof BusError) return error.code;
  throw error;
}

function outcomeOf({ class: is, open }: Verb, phase: Phase, world: World): ErrorCode | 'ok' {
  if (is === 'work' && (phase === 'closing' || phase === 'closed')) return 'CLOSED';
  if (is === 'care' && phase === 'closed') return 'CLOSED';
  return open?.(world) ?? 'ok';
}

function saysOf({ class: is }: Verb, phase: Phase): string {
  const refused = (is === 'work' && phase === 'closing') || (is !== 'always' && phase === 'closed');
  return refused
    ? 'is refused with CLOSED'
    : phase === 'running'
      ? 'does what it says'
      : 'does what it does while it runs';
}

function closingTests(check: Check): void {
  check('close() twice is harmless: both wait for the end, and so does a third one afterwards', async (world) => {
    const { bus } = world;
    await world.hold();
    const first = bus.close({ timeout: 60_000 });
    const second = bus.close();
    assert.equal(await within(systemClock, 20, Promise.race([first, second])), false);
    world.letGo();
    await inTime('close()', Promise.all([first, second]));
    assert.equal(bus.state, 'closed');
    await inTime('close()', bus.close());
  });

  check('close() gives a handler its time, then aborts it and ends', async (world) => {
    const { bus } = world;
    const [begun, aborted] = [deferred<void>(), deferred<void>()];
    await bus.subscribe('suite\\.stuck', (_message, { signal }) => {
      signal.addEventListener('abort', () => aborted.resolve());
      begun.resolve();
      return new Promise(() => {});
    });
    bus.emit('suite.stuck', 1);
    await inTime('a handler is called', begun.promise);
    await inTime('close()', bus.close({ timeout: 50 }));
    await inTime('the abortion', aborted.promise);
  });

  check('Symbol.asyncDispose closes it, as the end of `await using` does', async ({ bus }) => {
    {
      await using same = bus;
      assert.equal(same.state, 'running');
    }
    assert.equal(bus.state, 'closed');
    await inTime('the disposal', bus[Symbol.asyncDispose]());
  });

  check('what was published before close() and can be handled in its time is handled', async ({ bus }) => {
    const handled: unknown[] = [];
    const begun = deferred<void>();
    const sub = await bus.subscribe('suite\\.work', async ({ payload }) => {
      begun.resolve();
      await Promise.resolve();
      handled.push(payload);
    });
    await bus.publish('suite.work', 1);
    await inTime('a handler is called', begun.promise);
    await inTime('close()', bus.close());
    assert.deepEqual(handled, [1]);
    assert.equal(sub.stats().handled, 1);
  });

  check('when it has closed it tells nothing more', async ({ bus }) => {
    await inTime('close()', bus.close());
    let told = 0;
    bus.on('*', () => told++);
    const passed = deferred<void>();
    systemClock.timer(50, passed.resolve);
    await passed.promise;
    assert.equal(told, 0);
  });
}

function waitingTests(check: Check): void {
  check('drain() that is given no time for what runs rejects with TIMEOUT, and the bus goes on', async (world) => {
    const { bus } = world;
    await world.hold();
    await assert.rejects(inTime('drain()', bus.drain({ timeout: 20 })), { code: 'TIMEOUT' });
    assert.equal((await bus.publish(topic, 1)).matched, 1);
    world.letGo();
    await inTime('drain()', bus.drain());
  });

  check('a publish that waits for room ends with CLOSED', async (world) => {
    const { bus } = world;
    const full = { name: 'suite-full', limits: { messages: 1 } };
    const sub = await bus.subscribe('suite\\.full', () => {}, full);
    sub.pause();
    await bus.publish('suite.full', 1);
    const waiting = assert.rejects(bus.publish('suite.full', 2, { timeout: 60_000 }), { code: 'CLOSED' });
    await inTime('close()', bus.close());
    await inTime('the publish', waiting);
  });

  check('a loop over consume() ends', async ({ bus }) => {
    const consumption = bus.consume('suite\\.never');
    await consumption.ready;
    const next = consumption[Symbol.asyncIterator]().next();
    await inTime('close()', bus.close());
    assert.equal((await inTime('the loop', next)).done, true);
  });

  check('a receive() that waits ends with CLOSED', async ({ bus, stores }) => {
    if (!stores) return;
    const waiting = assert.rejects(bus.receive(kept, { timeout: 60_000 }), { code: 'CLOSED' });
    await inTime('close()', bus.close());
    await inTime('receive()', waiting);
  });

  check('a drain() that waits ends when what it waits for has been aborted', async (world) => {
    const { bus } = world;
    await world.hold();
    const drained = bus.drain({ timeout: 60_000 });
    await inTime('close()', bus.close({ timeout: 20 }));
    await inTime('drain()', drained);
  });

  check('the handles of its subscriptions stay usable', async ({ bus }) => {
    const sub = await bus.subscribe('suite\\.x', () => {}, { name: 'suite-handle' });
    await inTime('close()', bus.close());
    sub.pause();
    sub.resume();
    assert.equal(sub.stats().waiting, 0);
    await inTime('drain() of a subscription', sub.drain());
    await inTime('close() of a subscription', sub.close());
  });
}
