import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, type TestContext, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { type Context, NotBegun } from '../../src/actors/delivery.ts';
import { type Bus, createBus } from '../../src/bus/bus.ts';
import type { SpawnOptions } from '../../src/bus/options/spawn-options.ts';
import type { BusEvent, EventType } from '../../src/core/events.ts';
import type { Message } from '../../src/core/message.ts';
import { ProcessEnded } from '../../src/hosting/ended.ts';
import type { ActorContext, ModuleKind } from '../../src/hosting/kinds.ts';
import { DurableWorld } from '../bus/durable-world.ts';
import { LogBook, refusal } from '../core/testbed.ts';

const kinds = fileURLToPath(new URL('./kinds', import.meta.url));
const root = fileURLToPath(new URL('../..', import.meta.url));
const linux = process.platform === 'linux';

type Fields = Record<string, unknown>;

/** What has come so far, and who waits for more. */
class Feed<T> {
  readonly all: T[] = [];
  #waiting: (() => void)[] = [];

  add(item: T): void {
    this.all.push(item);
    for (const look of this.#waiting.splice(0)) look();
  }

  /** Resolves to the items when they satisfy something. */
  async until(holds: (all: readonly T[]) => boolean): Promise<readonly T[]> {
    while (!holds(this.all)) await new Promise<void>((look) => void this.#waiting.push(look));
    return this.all;
  }
}

interface Bed {
  readonly bus: Bus;
  readonly log: LogBook;
  readonly events: Feed<BusEvent>;
  /** The payloads that were published on a topic. */
  on(topic: string): Promise<Feed<Fields>>;
  /** Defines the kind of a fixture, and has one instance of it run, with the pattern `go`. */
  run(fixture: string, options?: SpawnOptions, kind?: Partial<ModuleKind>): ReturnType<Bus['spawn']>;
  /** The errors of dead letters: `<reason> <attempts> <name>: <message>`. */
  letters(count: number): Promise<string[]>;
}

async function bed(t: TestContext): Promise<Bed> {
  const log = new LogBook();
  const bus = await createBus({ node: 'one', logger: log });
  // Neither a bus that stands alone nor an idle process of an instance keeps this one alive: the test has to.
  const awake = setInterval(() => {}, 1000);
  t.after(() => clearInterval(awake));
  t.after(() => bus.close({ timeout: 0 }));
  const events = new Feed<BusEvent>();
  bus.on('*', (event) => events.add(event));
  return {
    bus,
    log,
    events,
    on: async (topic) => {
      const feed = new Feed<Fields>();
      await bus.subscribe<Fields>(topic, ({ payload }) => feed.add(payload));
      return feed;
    },
    run: (fixture, options = {}, kind = {}) => {
      bus.handlers.define(fixture, { module: `${kinds}/${fixture}.mjs`, start: 60_000, ...kind });
      return bus.spawn(fixture, { name: fixture, pattern: 'go', wait: 60_000, ...options });
    },
    letters: async (count) => {
      await events.until((all) => all.filter(({ type }) => type === 'message.dead').length >= count);
      const all = await bus.deadLetters.list();
      return all.map(
        ({ reason, attempts, lastError }) => `${reason} ${attempts} ${lastError.name}: ${lastError.message}`,
      );
    },
  };
}

const seen = (events: Feed<BusEvent>, type: EventType): number =>
  events.all.filter((each) => each.type === type).length;

/** Whether a process is there. */
function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Resolves when a process has gone. */
async function gone(pid: number): Promise<void> {
  while (alive(pid)) await new Promise((done) => setImmediate(done));
}

const quick = { attempts: 2, delay: 1 };

describe('a handler actor in a process of its own', { timeout: 120_000 }, () => {
  test('is called as one in this process is, with every field, and its process ends after onStop', async (t) => {
    const { bus, on, run } = await bed(t);
    const notes = await on('seen');
    const placement = await run('contract', { args: { file: 'x', since: new Date(5), bytes: new Uint8Array([1]) } });
    await placement.tell({ level: 3 });
    const payload = { do: 'show', big: 5n, at: new Date(7), bytes: new Uint8Array([1, 2]) };
    const before = Date.now();
    await bus.publish('go', payload, { id: 'mine', key: 'k', headers: { a: 'b' } });
    await bus.drain();
    const [start, tell, message] = notes.all;
    const about = { node: 'one', kind: 'contract', placement: 'contract', instance: 0, generation: 1 };
    const pid = start?.pid as number;
    assert.notEqual(pid, process.pid);
    assert.deepEqual(start, {
      what: 'start',
      pid,
      ...about,
      args: { file: 'x', since: new Date(5), bytes: new Uint8Array([1]) },
    });
    assert.deepEqual(tell, { what: 'tell', pid, value: { level: 3 } });
    const { publishedAt, ...rest } = message ?? {};
    assert.ok((publishedAt as number) >= before && (publishedAt as number) <= Date.now());
    assert.deepEqual(rest, {
      what: 'message',
      pid,
      id: 'mine',
      topic: 'go',
      payload,
      headers: { a: 'b' },
      key: 'k',
      source: 'one',
      attempt: 1,
      subscription: 'contract.0',
      last: { level: 3 },
    });
    await placement.stop();
    assert.deepEqual(notes.all.at(-1), { what: 'stop', pid, aborted: false });
    assert.equal(alive(pid), false);
  });

  test('logs through its node, and what it prints becomes lines of its log', async (t) => {
    const { bus, log, run } = await bed(t);
    await run('contract');
    await bus.publish('go', { do: 'log' });
    await bus.drain();
    const line = (text: string) => log.lines.find((each) => each.text === text);
    while (line('to stdout') === undefined || line('to stderr') === undefined) await new Promise(setImmediate);
    const own = line('of the delivery');
    assert.equal(own?.level, 'info');
    assert.equal(own.fields.subscription, 'contract.0');
    assert.equal(own.fields.depth, 3);
    assert.match(String(own.fields.err), /^TypeError: odd$/);
    const other = line('of the instance');
    assert.equal(other?.level, 'error');
    assert.equal(other.fields.more, 1);
    assert.equal(other.fields.placement, 'contract');
    assert.match(String(other.fields.odd), /Function/);
    assert.equal(line('to stdout')?.level, 'debug');
    assert.equal(line('to stderr')?.level, 'warn');
    assert.equal(line('to stderr')?.fields.placement, 'contract');
  });

  test('stages: what a handler that fails has staged is dropped, and that of the one that succeeds is sent once', async (t) => {
    const { bus, on, run } = await bed(t);
    const staged = await on('staged');
    await run('contract', { retry: { delay: 1 } });
    await bus.publish('go', { do: 'stage', value: { n: 1 }, good: 3 });
    await bus.drain();
    assert.deepEqual(staged.all, [{ n: 1 }]);
  });

  test('what it may not stage is refused to it, and fails the handler that does not wait for the answer', async (t) => {
    const { bus, on, run, letters } = await bed(t);
    const notes = await on('seen');
    const staged = await on('staged');
    await run('contract', { retry: { attempts: 1 } });
    await bus.publish('go', { do: 'stage badly' });
    assert.match((await letters(1))[0] ?? '', /^attempts 1 BusError: topic "\$no" starts with/);
    const refused = notes.all.filter(({ what }) => what === 'refused').map(({ code }) => code);
    assert.deepEqual(refused, ['TOPIC_INVALID', 'PAYLOAD_INVALID']);
    await bus.drain();
    assert.deepEqual(staged.all, []);
  });

  test('what it publishes itself brings a receipt, or an error with its code', async (t) => {
    const { bus, on, run } = await bed(t);
    const notes = await on('seen');
    await run('contract');
    await bus.publish('go', { do: 'receipt' });
    await bus.publish('go', { do: 'publish badly' });
    await bus.drain();
    const [, receipt, refused] = notes.all;
    assert.deepEqual(receipt?.receipt, {
      id: 'chosen',
      matched: 0,
      stored: 0,
      spooled: 0,
      level: 'memory',
      unreachable: [],
    });
    assert.equal(refused?.code, 'TOPIC_INVALID');
    assert.equal(refused.bus, true);
  });

  test('extend() and term() reach the attempt, and the end of its time reaches the handler', async (t) => {
    const { bus, on, run, letters, events } = await bed(t);
    const notes = await on('seen');
    await run('contract', { timeout: 300, retry: { attempts: 1 } });
    await bus.publish('go', { do: 'extend', ms: 600 });
    await bus.publish('go', { do: 'term' });
    await bus.publish('go', { do: 'wait for abort' });
    const dead = await letters(2);
    assert.match(dead[0] ?? '', /^permanent 1 PermanentError: not wanted$/);
    assert.match(dead[1] ?? '', /^attempts 1 BusError: attempt 1 of .* took longer than 300 ms$/);
    await notes.until((all) => all.some(({ what }) => what === 'aborted'));
    assert.equal(notes.all.at(-1)?.code, 'TIMEOUT');
    assert.equal(seen(events, 'actor.failed'), 0, 'it ended in time: its process lives');
  });

  test('an error arrives with its name and message, and a PermanentError ends the attempts', async (t) => {
    const { bus, run, letters } = await bed(t);
    await run('contract', { retry: quick });
    await bus.publish('go', { do: 'permanent' });
    await bus.publish('go', { do: 'throw' });
    assert.deepEqual((await letters(2)).sort(), [
      'attempts 2 RangeError: out of range',
      'permanent 1 PermanentError: never',
    ]);
  });

  test('its schema and its typed topics are checked in its process', async (t) => {
    const { bus, on, run, letters } = await bed(t);
    const notes = await on('seen');
    await run('typed');
    await bus.publish('go', { sum: 1 });
    await bus.publish('go', { sum: '2' });
    const [letter] = await letters(1);
    assert.match(letter ?? '', /^invalid 1 SchemaError: it does not fit its schema: payload\.sum: /);
    await notes.until(({ length }) => length === 2);
    assert.deepEqual(notes.all, [{ sum: 2 }, { sum: 0, refused: true }]);
  });

  test('fail() gives it up, and a fresh process takes its place, with what it was told', async (t) => {
    const { bus, on, run, letters } = await bed(t);
    const notes = await on('seen');
    const placement = await run('contract', { retry: { attempts: 1 } });
    await placement.tell('settings');
    await bus.publish('go', { do: 'fail' });
    await bus.publish('go', { do: 'show' });
    await notes.until((all) => all.some(({ what }) => what === 'message'));
    const pids = [...new Set(notes.all.map(({ pid }) => pid as number))];
    assert.equal(pids.length, 2);
    assert.equal(notes.all.at(-1)?.last, 'settings');
    assert.match((await letters(1))[0] ?? '', /its process was killed by SIGKILL: its instance has ended/);
    await gone(pids[0] ?? 0);
  });

  test('without isolation its module is imported into this process', async (t) => {
    const { bus, on } = await bed(t);
    const notes = await on('seen');
    bus.handlers.define('plain', { module: pathToFileURL(`${kinds}/contract.mjs`), isolation: 'none' });
    await bus.spawn('plain', { pattern: 'go' });
    await notes.until((all) => all.length > 0);
    assert.equal(notes.all[0]?.pid, process.pid);
    bus.handlers.define('nothing', { module: `${kinds}/empty.mjs`, isolation: 'none' });
    await assert.rejects(bus.spawn('nothing'), refusal('UNPLACEABLE', 'not a kind'));
  });
});

describe('defining the kind of a module', { timeout: 120_000 }, () => {
  test('is refused when the file does not exist or an option makes no sense', async (t) => {
    const { bus } = await bed(t);
    const module = `${kinds}/contract.mjs`;
    const refused = (options: unknown, ...texts: string[]): void =>
      assert.throws(() => bus.handlers.define('x', options as ModuleKind), refusal('OPTION_INVALID', "'x'", ...texts));
    refused({ module: './no-such-file.js' }, 'there is no file', root);
    refused({ module: kinds }, 'there is no file');
    refused({ module: new URL('https://example.com/x.js') }, 'file');
    refused({ module: '' }, 'path');
    refused({}, 'undefined');
    refused(7, '7');
    refused({ module, isolation: 'thread' }, "'process', 'none'");
    refused({ module, memory: 1 }, '16');
    refused({ module, start: 0 }, 'start');
    refused({ module, memroy: 64 }, "did you mean 'memory'?");
    refused({ module, isolation: 'none', memory: 64 }, "goes only with isolation: 'process'");
    bus.handlers.define('x', { module: 'test/hosting/kinds/contract.mjs' });
    assert.deepEqual(bus.handlers.names, ['x']);
  });

  test('a module that throws, exports no kind or takes too long fails the spawn, saying so', async (t) => {
    const { run, bus } = await bed(t);
    await assert.rejects(run('broken'), refusal('UNPLACEABLE', 'SyntaxError: this module is broken'));
    await assert.rejects(run('empty'), refusal('UNPLACEABLE', 'does not export a kind'));
    await assert.rejects(run('slow', {}, { start: 100 }), refusal('UNPLACEABLE', 'not ready within 100 ms'));
    assert.deepEqual(bus.placements.list(), []);
  });
});

describe('a process that misbehaves', { timeout: 240_000 }, () => {
  test('one that spins is killed after its time and started again; its message ends as a dead letter, all others are handled', async (t) => {
    const { bus, on, run, letters, events } = await bed(t);
    const did = await on('did');
    let neighbour = 0;
    await bus.subscribe('go', () => void neighbour++);
    const placement = await run('bad', { timeout: 500 });
    await placement.tell('settings');
    await bus.publish('go', { do: 'work', n: 1 });
    await bus.publish('go', { do: 'spin' });
    for (let n = 2; n < 10; n++) await bus.publish('go', { do: 'work', n });
    assert.match((await letters(1))[0] ?? '', /^attempts 5 BusError: attempt 5 of .* took longer than 500 ms$/);
    await did.until((all) => all.length === 9);
    assert.deepEqual(
      did.all.map(({ n, told }) => [n, told]),
      Array.from({ length: 9 }, (_, i) => [i + 1, 'settings']),
    );
    assert.equal(neighbour, 10);
    // Its last process is killed a little later than the message ends, and another one takes its place.
    await events.until((all) => all.filter(({ type }) => type === 'actor.started').length === 6);
    const failures = events.all.filter((event) => event.type === 'actor.failed');
    assert.equal(failures.length, 5);
    for (const { reason } of failures) assert.match(reason, /SIGKILL: it did not answer within 200 ms/);
    assert.equal(seen(events, 'message.retried'), 4, 'only its own attempts failed');
    assert.equal(seen(events, 'subscription.quarantined'), 0);
    await bus.drain();
    assert.equal(placement.info?.instances[0]?.state, 'running');
  });

  test('one whose heap is full ends, and its attempt says so', async (t) => {
    const { bus, run, letters, on } = await bed(t);
    const did = await on('did');
    await run('bad', { retry: quick }, { memory: 64 });
    await bus.publish('go', { do: 'leak' });
    await bus.publish('go', { do: 'work' });
    assert.match(
      (await letters(1))[0] ?? '',
      /^attempts 2 ProcessEnded: its process was killed by (SIGABRT, as when its heap of 64 MiB is full|SIGKILL: it used \d+ MiB of 64)$/,
    );
    await did.until((all) => all.length === 1);
  });

  test('one that leaks what is not in its heap is killed', { skip: !linux }, async (t) => {
    const { bus, run, letters, on } = await bed(t);
    const did = await on('did');
    await run('bad', { retry: quick }, { memory: 128 });
    await bus.publish('go', { do: 'leak buffers' });
    await bus.publish('go', { do: 'work' });
    const [, used] =
      /^attempts 2 ProcessEnded: .* SIGKILL: it used (\d+) MiB of 128$/.exec((await letters(1))[0] ?? '') ?? [];
    assert.ok(Number(used) > 192, `${used} MiB`);
    await did.until((all) => all.length === 1);
  });

  test('one that exits or does not catch an error fails its attempts, saying how, and is told again in the next', async (t) => {
    const { bus, run, letters, on } = await bed(t);
    const did = await on('did');
    const placement = await run('bad', { retry: quick });
    await placement.tell('settings');
    await bus.publish('go', { do: 'exit' });
    await bus.publish('go', { do: 'throw later' });
    await bus.publish('go', { do: 'work' });
    assert.deepEqual((await letters(2)).sort(), [
      'attempts 2 ProcessEnded: its process ended with code 1: TypeError: nobody catches this',
      'attempts 2 ProcessEnded: its process ended with code 3',
    ]);
    await did.until((all) => all.length === 1);
    assert.equal(did.all[0]?.told, 'settings');
  });

  test('one that goes on for ever after term() is killed, too', async (t) => {
    const { bus, run, letters, events } = await bed(t);
    await run('bad', { timeout: 300 });
    await bus.publish('go', { do: 'term and spin' });
    assert.deepEqual(await letters(1), ['permanent 1 PermanentError: not wanted']);
    await events.until((all) => all.some(({ type }) => type === 'actor.failed'));
    assert.ok(events.all.some((event) => event.type === 'actor.failed' && /of term\(\)/.test(event.reason)));
  });

  test('messages that were handled beside one that kills fail once at most: from then on each runs alone', async (t) => {
    const { bus, run, letters, on, events } = await bed(t);
    const did = await on('did');
    await run('bad', { concurrency: 4, retry: { attempts: 3, delay: 1 } });
    for (let n = 0; n < 3; n++) await bus.publish('go', { do: 'wait', ms: 100, n });
    await bus.publish('go', { do: 'exit' });
    for (let n = 3; n < 8; n++) await bus.publish('go', { do: 'wait', ms: 100, n });
    assert.deepEqual(await letters(1), ['attempts 3 ProcessEnded: its process ended with code 3']);
    await did.until((all) => all.length === 8);
    assert.deepEqual(did.all.map(({ n }) => n as number).sort(), [0, 1, 2, 3, 4, 5, 6, 7]);
    const attempts = events.all.filter((event) => event.type === 'message.retried').map(({ attempt }) => attempt);
    assert.deepEqual(attempts.sort(), [1, 1, 1, 1, 2], 'three neighbours once, and the one that kills');
  });

  test('a durable subscription goes on after it as one in memory does', async (t) => {
    const dataDir = mkdtempSync(join(tmpdir(), 'mailvan-'));
    const bus = await createBus({ node: 'one', logger: new LogBook(), dataDir, durability: 'os' });
    t.after(async () => {
      await bus.close({ timeout: 0 });
      rmSync(dataDir, { recursive: true });
    });
    const did = new Feed<Fields>();
    await bus.subscribe<Fields>('did', ({ payload }) => did.add(payload));
    const dead = new Promise<string>((found) => bus.on('message.dead', ({ error }) => found(error.message)));
    bus.handlers.define('bad', { module: `${kinds}/bad.mjs`, start: 60_000 });
    const retry = { attempts: 2, delay: 1 };
    await bus.spawn('bad', { name: 'bad', pattern: 'go', durable: true, concurrency: 4, retry, wait: 60_000 });
    for (let n = 0; n < 3; n++) await bus.publish('go', { do: 'wait', ms: 50, n });
    await bus.publish('go', { do: 'exit' });
    for (let n = 3; n < 6; n++) await bus.publish('go', { do: 'wait', ms: 50, n });
    assert.equal(await dead, 'its process ended with code 3');
    await did.until((all) => all.length === 6);
    assert.deepEqual(did.all.map(({ n }) => n as number).sort(), [0, 1, 2, 3, 4, 5]);
  });

  test('closing the bus kills one that does not end, and leaves no process', async (t) => {
    const { bus, run, on } = await bed(t);
    const pids = new Feed<number>();
    await bus.subscribe<number>('pid', ({ payload }) => pids.add(payload));
    const extended = await on('did');
    await run('stubborn');
    await bus.publish('go', 0);
    await bus.close({ timeout: 300 });
    const pid = pids.all[0] ?? 0;
    assert.equal(alive(pid), false);
    assert.deepEqual(extended.all, []);
  });
});

describe('an instance', () => {
  test('is not given up for failures that are charged to messages, however many; those that wait lose no attempt', async () => {
    const world = new DurableWorld();
    const bus = await world.open({ node: 'one' });
    let starts = 0;
    const handled: unknown[] = [];
    bus.handlers.define('fragile', (context) => {
      starts++;
      return {
        onMessage: ({ payload }) => {
          if (payload !== 'kills') return void handled.push(payload);
          const error = new ProcessEnded('its process ended with code 3', 1);
          context.fail(error);
          throw error;
        },
      };
    });
    const options = { name: 'f', pattern: 'f', retry: { attempts: 4, delay: 1 }, outage: false } as const;
    const placement = await world.until(bus.spawn('fragile', options));
    let retried = 0;
    bus.on('message.retried', () => void retried++);
    for (let n = 0; n < 5; n++) await world.until(bus.publish('f', 'kills'));
    for (let n = 0; n < 5; n++) await world.until(bus.publish('f', n));
    await world.clock.advance(60_000);
    assert.equal(starts, 1 + 5 * 4);
    assert.equal(placement.info?.instances[0]?.state, 'running');
    assert.equal((await world.until(bus.deadLetters.list())).length, 5);
    assert.deepEqual(handled, [0, 1, 2, 3, 4]);
    assert.equal(retried, 5 * 3);
    await world.close();
  });

  test('that fails while it starts is never taken for one that runs, and its signal is aborted', async () => {
    const world = new DurableWorld();
    const bus = await world.open({ node: 'one' });
    const contexts: ActorContext[] = [];
    bus.handlers.define('late', (context) => {
      contexts.push(context);
      const start = contexts.length;
      return {
        onStart: async () => {
          if (start === 1) return;
          if (start === 2) throw new Error('no disk');
          if (start === 3) context.fail(new Error('gone meanwhile'));
        },
      };
    });
    const placement = await world.until(bus.spawn('late', { name: 'l' }));
    contexts[0]?.fail(new Error('first'));
    await world.clock.advance(1000);
    assert.deepEqual(
      contexts.map(({ signal }) => signal.aborted),
      [true, true, true, false],
    );
    assert.equal(placement.info?.instances[0]?.state, 'running');
    await world.close();
  });
});

for (const where of ['in memory', 'durable at its home', 'durable on another node'] as const) {
  test(`${where}: a message whose handler was not called is back in its place, and its attempt does not count`, async () => {
    const world = new DurableWorld();
    await world.start('lead');
    await world.start('leaf', { stored: false });
    const bus = world.bus(where === 'durable on another node' ? 'leaf' : 'lead');
    if (where !== 'in memory') await world.durable('lead', 'd', null);
    const seen: unknown[] = [];
    let refuse = true;
    const handler = ({ payload }: Message, { attempt }: Context): unknown => {
      seen.push([payload, attempt]);
      if (!refuse) return;
      refuse = false;
      subscription.pause();
      return Promise.reject(new NotBegun('ABORTED', 'its process has ended'));
    };
    const options = where === 'in memory' ? {} : { name: 'd', durable: true };
    const subscription = await world.until(bus.subscribe('t', handler, options));
    for (let n = 0; n < 3; n++) await world.until(bus.publish('t', n, { key: 'k' }));
    await world.clock.advance(1000);
    assert.deepEqual(seen, [[0, 1]]);
    subscription.resume();
    await world.until(subscription.drain());
    assert.deepEqual(seen, [
      [0, 1],
      [0, 1],
      [1, 1],
      [2, 1],
    ]);
    assert.equal(subscription.stats().failed, 0);
    await world.close();
  });
}

for (const busy of [false, true]) {
  test(`a node that is killed leaves no process behind, ${busy ? 'even one that spins' : 'idle as it is'}`, {
    timeout: 60_000,
  }, async () => {
    const script = `
      import { createBus } from './src/index.ts';
      const bus = await createBus({ node: 'doomed' });
      await bus.subscribe('pid', ({ payload }) => process.stdout.write('pid ' + payload + '\\n'));
      bus.handlers.define('stubborn', { module: './test/hosting/kinds/stubborn.mjs', start: 60_000 });
      await bus.spawn('stubborn', { pattern: 'go', wait: 60_000 });
      if (${busy}) await bus.publish('go', 1);
      process.stdout.write('ready\\n');
      setInterval(() => {}, 1000);
    `;
    const args = ['--import', 'tsx', '--input-type=module', '--eval', script];
    const parent = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'ignore'] });
    const lines = createInterface({ input: parent.stdout });
    let pid = 0;
    for await (const line of lines) {
      pid = Number(/^pid (\d+)$/.exec(line)?.[1] ?? pid);
      if (line === 'ready') break;
    }
    assert.ok(alive(pid));
    parent.kill('SIGKILL');
    if (parent.exitCode === null && parent.signalCode === null) await once(parent, 'exit');
    await gone(pid);
  });
}
