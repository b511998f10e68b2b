import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runScript } from '../core/child.ts';
import { LogBook, world } from '../core/testbed.ts';

test('a handler logs with node, actor, subscription, message, topic and attempt', async (t) => {
  const { bus, clock, log } = await world(t);
  await bus.subscribe('t', ({ id }, { log, attempt }) => log.info({ id, attempt }, 'handled'), { name: 'mine' });
  bus.emit('t', 1, { id: 'm1' });
  await clock.settle();
  const line = log.lines.find(({ text }) => text === 'handled');
  assert.deepEqual(line?.fields, {
    node: 'here',
    actor: 'subs/mine',
    subscription: 'mine',
    message: 'm1',
    topic: 't',
    attempt: 1,
    id: 'm1',
  });
});

test('an actor that was replaced is told of with its path', async (t) => {
  const { bus, clock, log } = await world(t);
  await bus.subscribe('t', () => new Promise(() => {}), { name: 'mine', timeout: 100, retry: { attempts: 1 } });
  bus.emit('t', 1);
  await clock.advance(200);
  const line = log.lines.find(({ text }) => text === 'an actor was replaced');
  assert.equal(line?.level, 'warn');
  assert.equal(line?.fields.node, 'here');
  assert.equal(line?.fields.actor, 'subs/mine');
});

test('a logger is used as it is: its own methods, on itself', async (t) => {
  const lines: string[] = [];
  class Own {
    readonly prefix: string;
    constructor(prefix: string) {
      this.prefix = prefix;
    }
    debug(_fields: object, text: string): void {
      lines.push(`${this.prefix} debug ${text}`);
    }
    info(_fields: object, text: string): void {
      lines.push(`${this.prefix} info ${text}`);
    }
    warn(_fields: object, text: string): void {
      lines.push(`${this.prefix} warn ${text}`);
    }
    error(_fields: object, text: string): void {
      lines.push(`${this.prefix} error ${text}`);
    }
    child(fields: Record<string, unknown>): Own {
      return new Own(`${this.prefix}/${Object.keys(fields).join('+')}`);
    }
  }
  const { bus, clock } = await world(t, { logger: new Own('own') });
  await bus.subscribe('t', (_message, { log }) => log.warn({}, 'from the handler'));
  bus.emit('t', 1);
  await clock.settle();
  assert.deepEqual(lines, [
    'own/node debug subscription.added',
    'own/node/actor+subscription/message+topic+attempt warn from the handler',
  ]);
});

test('a closed bus says nothing more', async (t) => {
  const log = new LogBook();
  const { bus, clock, close } = await world(t, { logger: log });
  await bus.subscribe('t', () => new Promise(() => {}), { timeout: 1000 });
  bus.emit('t', 1);
  await clock.settle();
  await close();
  const count = log.lines.length;
  await clock.advance(60_000);
  assert.equal(log.lines.length, count);
});

/** The lines of a stream, each of which must be JSON. */
function parse(text: string): Record<string, unknown>[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

test('without a logger warnings go to stderr as JSON, nothing to stdout, and close() writes all of it out', async () => {
  const { code, stdout, stderr } = await runScript(`
    import { createBus } from './src/index.ts';
    const bus = await createBus({ node: 'talks' });
    const sub = await bus.subscribe('t', () => { throw new Error('no'); }, { name: 'mine', retry: { attempts: 1 } });
    for (let i = 0; i < 500; i++) bus.emit('t', i, { id: 'm' + i });
    await bus.drain();
    await bus.close();
    process.exit(0); // at once: nothing may be left to write
  `);
  assert.equal(code, 0, stderr);
  assert.equal(stdout, '');
  const lines = parse(stderr);
  assert.equal(lines.length, 500, 'what is below a warning is not said');
  const { level, node, msg, about, err } = lines[0] as {
    level: number;
    node: string;
    msg: string;
    about: { subscription: string; id: string };
    err: { message: string; stack: string };
  };
  assert.deepEqual({ level, node, msg }, { level: 40, node: 'talks', msg: 'message.dead' });
  assert.deepEqual([about.subscription, about.id], ['mine', 'm0']);
  assert.equal(err.message, 'no');
});

test('without a logger a quiet bus says nothing, and ends', async () => {
  const { code, stdout, stderr } = await runScript(`
    import { createBus } from './src/index.ts';
    const bus = await createBus();
    await bus.subscribe('t', () => {});
    bus.emit('t', 1);
    await bus.drain();
    await bus.close();
  `);
  assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: '', stderr: '' });
});

test('a pino logger that is passed in gets children with node and subscription', async () => {
  const { code, stdout, stderr } = await runScript(`
    import { pino } from 'pino';
    import { createBus } from './src/index.ts';
    const logger = pino({ level: 'debug' }, pino.destination({ dest: 1, sync: true }));
    const bus = await createBus({ node: 'talks', logger });
    await bus.subscribe('t', (message, { log }) => log.info({ extra: 1 }, 'handled'), { name: 'mine' });
    bus.emit('t', 1, { id: 'm1' });
    await bus.drain();
    await bus.close();
  `);
  assert.equal(code, 0, stderr);
  assert.equal(stderr, '');
  const line = parse(stdout).find(({ msg }) => msg === 'handled');
  assert.ok(line !== undefined, stdout);
  const { node, subscription, message, topic, attempt, extra } = line;
  assert.deepEqual(
    { node, subscription, message, topic, attempt, extra },
    { node: 'talks', subscription: 'mine', message: 'm1', topic: 't', attempt: 1, extra: 1 },
  );
});
