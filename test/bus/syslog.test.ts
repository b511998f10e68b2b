import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { EventEmitter, once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { hostname } from 'node:os';
import { describe, type TestContext, test } from 'node:test';
import { createBus } from '../../src/bus/bus.ts';
import type { SyslogOptions } from '../../src/bus/options/syslog-options.ts';
import { deferred } from '../../src/core/async.ts';
import { systemClock } from '../../src/core/clock.ts';
import { type LineAddress, lineSocket } from '../../src/transport/line-socket.ts';
import { runScript } from '../core/child.ts';
import { refusal } from '../core/testbed.ts';
import { tempFolder } from '../storage/disk.ts';

/** What came to a server, as lines. */
class Lines extends EventEmitter {
  readonly all: string[] = [];

  add(line: string): void {
    this.all.push(line);
    this.emit('line');
  }

  /** Resolves when so many have come. */
  async come(count: number): Promise<string[]> {
    const signal = AbortSignal.timeout(10_000);
    while (this.all.length < count) await once(this, 'line', { signal });
    return this.all;
  }
}

/** A server for datagrams on loopback. */
async function udp(t: TestContext): Promise<{ lines: Lines; address: string }> {
  const lines = new Lines();
  const socket = createSocket('udp4', (data) => lines.add(data.toString()));
  t.after(() => socket.close());
  await once(socket.bind(0, '127.0.0.1'), 'listening');
  return { lines, address: `udp://127.0.0.1:${socket.address().port}` };
}

interface TcpServer {
  readonly lines: Lines;
  readonly server: Server;
  readonly sockets: Set<Socket>;
  readonly port: number;
}

/** A server for lines. */
async function tcp(t: TestContext, where: { port: number } | { path: string } = { port: 0 }): Promise<TcpServer> {
  const lines = new Lines();
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    let rest = '';
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      const parts = (rest + chunk).split('\n');
      rest = parts.pop() ?? '';
      for (const part of parts) lines.add(part);
    });
  });
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  await once('path' in where ? server.listen(where.path) : server.listen(where.port, '127.0.0.1'), 'listening');
  return { lines, server, sockets, port: 'path' in where ? 0 : (server.address() as AddressInfo).port };
}

/**
 * A bus with a subscription that fails: each message is told of as `message.retried` (debug) and `message.dead` (warn). Another
 * one is told to finish by `finish`, and says so.
 */
async function failing(syslog: string | SyslogOptions) {
  const [begun, asked] = [deferred<void>(), deferred<void>()];
  const bus = await createBus({ node: 'orders-1', syslog });
  const retry = { attempts: 2, delay: 1, jitter: 0 };
  await bus.subscribe('t', () => Promise.reject(new Error('no such table')), { name: 'mine', retry });
  await bus.subscribe('last', async (_message, { log }) => {
    begun.resolve();
    await asked.promise;
    log.error({}, 'the last line');
  });
  return { bus, begun: begun.promise, finish: () => asked.resolve() };
}

/** The parts of a line of RFC 5424. */
function parsed(line: string) {
  const [, priority, time, host, app, pid, rest] =
    /^<(\d+)>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*) (\S+) (\S+) (\d+) - - (\{.*\})$/.exec(line) ?? assert.fail(line);
  return { priority: Number(priority), time, host, app, pid: Number(pid), record: JSON.parse(rest as string) };
}

describe('createBus({ syslog })', () => {
  for (const kind of ['udp', 'tcp', 'unix'] as const) {
    test(`${kind}: lines of RFC 5424 with the severity of their level, and everything that was logged before close() resolved is sent`, async (t) => {
      const path = `${tempFolder(t)}/syslog.sock`;
      const target = kind === 'udp' ? await udp(t) : kind === 'tcp' ? await tcp(t) : await tcp(t, { path });
      const address =
        'address' in target ? target.address : kind === 'tcp' ? `tcp://127.0.0.1:${target.port}` : `unix:${path}`;
      const { bus, begun, finish } = await failing({ address, level: 'debug', facility: 'local3' });
      await bus.publish('t', 1);
      await bus.drain();
      await bus.publish('last', 1);
      await begun;
      const closed = bus.close();
      finish();
      await closed;
      const said = (await lastOf(target.lines, 'the last line')).map(parsed);
      const of = (msg: string) => said.find(({ record }) => record.msg === msg) ?? assert.fail(msg);
      assert.equal(of('message.retried').priority, 19 * 8 + 7, 'debug');
      assert.equal(of('message.dead').priority, 19 * 8 + 4, 'warning');
      const { host, app, pid, record } = of('message.dead');
      assert.deepEqual([host, app, pid], [hostname(), 'mailvan', process.pid]);
      assert.equal(record.node, 'orders-1');
      assert.equal(record.err.message, 'no such table');
      assert.equal(of('the last line').priority, 19 * 8 + 3, 'error');
    });
  }

  test('without a level, warnings and worse are sent, to the facility daemon', async (t) => {
    const { lines, address } = await udp(t);
    const { bus } = await failing(address);
    await bus.publish('t', 1);
    await bus.drain();
    await bus.close();
    const [line] = await lines.come(1);
    assert.equal(parsed(line as string).priority, 3 * 8 + 4);
    assert.deepEqual(
      lines.all.map((each) => parsed(each).record.msg),
      ['message.dead'],
    );
  });

  test('an address where nobody is holds up nothing: not the opening, and the closing at most 2 s', async (t) => {
    const { server, port } = await tcp(t);
    server.close();
    await once(server, 'close');
    const { bus } = await failing({ address: `tcp://127.0.0.1:${port}`, level: 'debug' });
    await bus.publish('t', 1);
    await bus.drain();
    const begun = performance.now();
    await bus.close();
    assert.ok(performance.now() - begun < 4000, `${performance.now() - begun} ms`);
  });

  test('a bus that cannot be opened leaves nothing behind', async () => {
    const { code, stdout } = await runScript(`
      import { createBus } from './src/index.ts';
      await createBus({ leader: 'tcp://127.0.0.1:9', joinTimeout: 50, syslog: 'udp://127.0.0.1:9' })
        .catch(({ code }) => console.log(code));
    `);
    assert.deepEqual([code, stdout.trim()], [0, 'NO_LEADER']);
  });

  test('a process is not kept alive by it, closed or not, and what nobody took is told on stderr', async (t) => {
    const { port } = await tcp(t);
    const open = await runScript(`
      import { createBus } from './src/index.ts';
      await createBus({ syslog: 'tcp://127.0.0.1:${port}' });
    `);
    assert.equal(open.code, 0);
    const away = await tcp(t);
    away.server.close();
    await once(away.server, 'close');
    const closed = await runScript(`
      import { createBus } from './src/index.ts';
      const bus = await createBus({ syslog: { address: 'tcp://127.0.0.1:${away.port}', level: 'debug' } });
      await bus.subscribe('t', () => {});
      await bus.close();
    `);
    assert.equal(closed.code, 0);
    assert.match(closed.stderr, /lines were not taken within \d+ ms/);
  });

  test('says what to install when the package is missing', async () => {
    const hook = `export const resolve = (name, context, next) => name === 'pino-syslog'
      ? Promise.reject(Object.assign(new Error('not here'), { code: 'ERR_MODULE_NOT_FOUND' })) : next(name, context);`;
    const { stdout } = await runScript(`
      import { register } from 'node:module';
      import { createBus } from './src/index.ts';
      register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(hook)}));
      await createBus({ syslog: 'udp://127.0.0.1:514' }).catch(({ code, message }) => console.log(code, message));
    `);
    assert.match(stdout, /^OPTION_INVALID 'syslog' needs a package .*npm install pino-syslog/);
  });

  test('is one of two ways to say where the log goes', async () => {
    const logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => logger };
    await assert.rejects(createBus({ logger, syslog: 'udp://h' }), refusal('OPTION_INVALID', "'logger' and 'syslog'"));
  });
});

/** Waits until a line tells this. */
async function lastOf(lines: Lines, text: string): Promise<string[]> {
  const signal = AbortSignal.timeout(10_000);
  while (!lines.all.some((line) => line.includes(text))) await once(lines, 'line', { signal });
  return lines.all;
}

describe('lines over a connection', () => {
  const opened = (t: TestContext, port: number) => {
    const address: LineAddress = { scheme: 'tcp', host: '127.0.0.1', port };
    // Nothing that is tested here keeps a process alive.
    const alive = setInterval(() => {}, 1000);
    t.after(() => clearInterval(alive));
    const told: (string | number)[] = [];
    const away = deferred<void>();
    const socket = lineSocket({
      clock: systemClock,
      address,
      failed: () => {
        told.push('failed');
        away.resolve();
      },
      lost: (count) => told.push(count),
    });
    t.after(() => socket.close(0));
    return { socket, told, away: away.promise };
  };

  test('closing sends the whole backlog, however much the other side is behind', async (t) => {
    const { lines, port } = await tcp(t);
    const { socket } = opened(t, port);
    const count = 4000;
    for (let n = 0; n < count; n++) socket.send(Buffer.from(`${n} ${'x'.repeat(200)}\n`));
    await socket.close(5000);
    assert.equal((await lines.come(count)).length, count);
    assert.ok(lines.all.every((line, n) => line.startsWith(`${n} `)));
  });

  test('what is said while the server is away is sent when it is back, and what was too much is counted', async (t) => {
    const first = await tcp(t);
    const { socket, told, away } = opened(t, first.port);
    socket.send(Buffer.from('one\n'));
    await first.lines.come(1);
    first.server.close();
    for (const each of first.sockets) each.destroy();
    await once(first.server, 'close');
    await away; // what the system has taken already, nobody can send again
    const kilobyte = 'x'.repeat(1000);
    for (let n = 0; n < 2000; n++) socket.send(Buffer.from(`${n} ${kilobyte}\n`));
    const second = await tcp(t, { port: first.port });
    await lastOf(second.lines, '1999 ');
    const lost = told.find((each) => typeof each === 'number') as number;
    assert.equal(told.filter((each) => each === 'failed').length, 1);
    assert.ok(lost > 900 && lost < 1100, `${lost} lost`);
    const numbers = second.lines.all.map((line) => Number(line.split(' ')[0]));
    assert.equal(new Set(numbers).size + lost, 2000);
    assert.deepEqual(numbers.slice(-10), [1990, 1991, 1992, 1993, 1994, 1995, 1996, 1997, 1998, 1999]);
  });
});
