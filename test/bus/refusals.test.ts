import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Refusals } from '../../src/bus/streams/refusals.ts';
import { BusError } from '../../src/core/errors.ts';
import { VirtualClock } from '../../src/core/virtual-clock.ts';
import { LogBook } from '../core/testbed.ts';

const reason = new BusError('HANDSHAKE_REFUSED', 'its proof does not fit');

function refusals() {
  const [clock, log] = [new VirtualClock(), new LogBook()];
  return { clock, log, refusals: new Refusals(clock, log) };
}

test('every refusal is counted, and written once for each peer and minute, with how many were not', async () => {
  const { clock, log, refusals: all } = refusals();
  for (let port = 0; port < 100; port++) all.add('handshakes', `10.0.0.1:${port}`, reason);
  all.add('protocol', '10.0.0.2:1', new BusError('PROTOCOL_ERROR', 'a frame is cut short'));
  assert.deepEqual(all.counts, { connections: 0, handshakes: 100, protocol: 1, streams: 0, requests: 0, denied: 0 });
  assert.deepEqual(
    log.lines.map(({ level, fields }) => [level, fields.remote, fields.refused, fields.code, fields.suppressed]),
    [
      ['warn', '10.0.0.1:0', 'handshakes', 'HANDSHAKE_REFUSED', 0],
      ['warn', '10.0.0.2:1', 'protocol', 'PROTOCOL_ERROR', 0],
    ],
  );
  await clock.advance(59_999);
  all.add('handshakes', '10.0.0.1:1', reason);
  assert.equal(log.lines.length, 2);
  await clock.advance(1);
  all.add('handshakes', '10.0.0.1:2', reason);
  assert.deepEqual([log.lines.length, log.lines[2]?.fields.suppressed], [3, 100]);
});

test('a flood from everywhere is written of a bounded number of peers, and then again when a minute has passed', async () => {
  const { clock, log, refusals: all } = refusals();
  for (let i = 0; i < 5000; i++) all.add('connections', `10.${i >> 8}.${i & 255}.1:9`, reason);
  assert.equal(log.lines.length, 1024);
  assert.equal(all.counts.connections, 5000);
  await clock.advance(60_000);
  all.add('connections', '11.0.0.1:9', reason);
  assert.deepEqual([log.lines.length, log.lines.at(-1)?.fields.ofOthers], [1025, 5000 - 1024]);
});

test('what a peer has sent is written as one line of bounded length, and no stack comes with it', () => {
  const { log, refusals: all } = refusals();
  all.add('protocol', '10.0.0.1:9', new BusError('PROTOCOL_ERROR', `node '\n\u001b[2J\u202e${'x'.repeat(5000)}'`));
  const [line] = log.lines;
  assert.equal(line?.fields.err, undefined);
  assert.match(String(line?.fields.reason), /^node '\?\?\[2J\?x+…$/);
  assert.equal(String(line?.fields.reason).length, 300);
});

test('a fault of this node is written with its cause', () => {
  const { log, refusals: all } = refusals();
  const cause = new TypeError('x is not a function');
  all.add('protocol', '10.0.0.1:9', new BusError('INTERNAL', 'a frame could not be handled', { cause }));
  assert.equal(log.lines[0]?.fields.err, cause);
});
