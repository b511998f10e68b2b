import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { systemClock } from '../../src/core/clock.ts';
import { VirtualClock } from '../../src/core/virtual-clock.ts';
import { transportSuite } from '../../src/testing/transport-suite.ts';
import { type Address, parseAddress } from '../../src/transport/address.ts';
import { TcpTransport } from '../../src/transport/tcp.ts';

const transport = new TcpTransport({ clock: systemClock });
const nothing = (): void => {};

/** A port that was free a moment ago. */
async function freePort(host: string): Promise<number> {
  const server = createServer().listen(0, host);
  await once(server, 'listening');
  const bound = server.address();
  server.close();
  assert.ok(typeof bound === 'object' && bound !== null);
  return bound.port;
}

async function folder(): Promise<{ path: string; remove: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'mailvan-'));
  return { path, remove: () => rm(path, { recursive: true }) };
}

const unix = (path: string): Address => parseAddress(`unix:${path}`);

for (const host of ['127.0.0.1', '[::1]']) {
  transportSuite(`tcp://${host}`, async () => ({
    transport,
    address: () => parseAddress(`tcp://${host}:0`),
    dead: parseAddress(`tcp://${host}:${await freePort(host.replace(/[[\]]/g, ''))}`),
  }));
}

transportSuite('unix:', async () => {
  const { path, remove } = await folder();
  let count = 0;
  const address = (): Address => unix(join(path, String(count++)));
  return { transport, address, dead: unix(join(path, 'nobody')), close: remove };
});

test('a dial that failed leaves no timer behind', async () => {
  const clock = new VirtualClock();
  const dialled = new TcpTransport({ clock }).dial(parseAddress('tcp://127.0.0.1:1'), { timeout: 2000 });
  await assert.rejects(dialled, { code: 'NODE_UNREACHABLE', message: /ECONNREFUSED/ });
  assert.equal(clock.pendingTimers, 0);
});

test('a dial in progress is given up when the clock says so', async () => {
  const clock = new VirtualClock();
  const dialled = new TcpTransport({ clock }).dial(parseAddress('tcp://127.0.0.1:1'), { timeout: 2000 });
  const rejected = assert.rejects(dialled, (error: Error) => {
    assert.match(error.message, /cannot reach tcp:\/\/127\.0\.0\.1:1: TIMEOUT/);
    return true;
  });
  // The virtual time passes before the kernel's answer can be looked at.
  await clock.advance(2000);
  await rejected;
});

test('a stale Unix socket is removed and its path listened at', async () => {
  const { path, remove } = await folder();
  const address = join(path, 's');
  // A process that dies without closing leaves its socket behind.
  const script = `require('node:net').createServer().listen(${JSON.stringify(address)}, () => process.kill(process.pid, 'SIGKILL'))`;
  await assert.rejects(promisify(execFile)(process.execPath, ['-e', script]));
  assert.ok(existsSync(address));
  const listener = await transport.listen(unix(address), (connection) => connection.destroy());
  const connection = await transport.dial(unix(address), { timeout: 1000 });
  connection.destroy();
  await listener.close();
  assert.deepEqual(readdirSync(path), [], 'nothing is left behind');
  await remove();
});

test('of several that find the same stale socket exactly one gets it', async () => {
  const { path, remove } = await folder();
  const address = join(path, 's');
  const script = `require('node:net').createServer().listen(${JSON.stringify(address)}, () => process.kill(process.pid, 'SIGKILL'))`;
  await assert.rejects(promisify(execFile)(process.execPath, ['-e', script]));
  const results = await Promise.allSettled(Array.from({ length: 8 }, () => transport.listen(unix(address), nothing)));
  const won = results.filter((result) => result.status === 'fulfilled');
  assert.equal(won.length, 1);
  for (const result of results) if (result.status === 'rejected') assert.equal(result.reason.code, 'ADDRESS_IN_USE');
  const connection = await transport.dial(unix(address), { timeout: 1000 });
  connection.destroy();
  for (const result of won) await result.value.close();
  assert.deepEqual(readdirSync(path), [], 'nothing is left behind');
  await remove();
});

test('an old owner that closes leaves the socket of a new owner alone', async () => {
  const { path, remove } = await folder();
  const address = join(path, 's');
  const old = await transport.listen(unix(address), nothing);
  await rm(address);
  const young = await transport.listen(unix(address), (connection) => connection.destroy());
  await old.close();
  const connection = await transport.dial(unix(address), { timeout: 1000 });
  connection.destroy();
  await young.close();
  await remove();
});

test('a file that is no socket is never removed', async () => {
  const { path, remove } = await folder();
  const address = join(path, 'notes.txt');
  await writeFile(address, 'keep me');
  await assert.rejects(transport.listen(unix(address), nothing), { code: 'ADDRESS_IN_USE', message: /is no socket/ });
  assert.deepEqual(readdirSync(path), ['notes.txt']);
  await remove();
});

test('the folder of a Unix socket must exist', async () => {
  const { path, remove } = await folder();
  const listening = transport.listen(unix(join(path, 'missing', 's')), nothing);
  await assert.rejects(listening, { code: 'OPTION_INVALID', message: /its folder must exist/ });
  await remove();
});

test('an address of another machine is OPTION_INVALID', async () => {
  const listening = transport.listen(parseAddress('tcp://192.0.2.1:0'), nothing);
  await assert.rejects(listening, { code: 'OPTION_INVALID', message: /EADDRNOTAVAIL/ });
});

test('the other end of a TCP connection is named ip:port', async () => {
  let accepted = '';
  const listener = await transport.listen(parseAddress('tcp://127.0.0.1:0'), (connection) => {
    accepted = connection.remote;
    connection.destroy();
  });
  const connection = await transport.dial(parseAddress(listener.address), { timeout: 1000 });
  assert.equal(`tcp://${connection.remote}`, listener.address);
  await new Promise<void>((resolve) => {
    connection.open({ data: nothing, drain: nothing, closed: () => resolve() });
  });
  assert.match(accepted, /^127\.0\.0\.1:\d+$/);
  await listener.close();
});
