import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Bus, createBus } from '../../src/bus/bus.ts';
import { silentLogger } from '../../src/core/log.ts';

// The cluster over real sockets and the machine's clock; what takes time or breaks is tested on the virtual one.

const folder = mkdtempSync(join(tmpdir(), 'mailvan-'));
test.after(() => rmSync(folder, { recursive: true, force: true }));

const shared = { secret: 'a secret of the cluster', logger: silentLogger };

for (const [kind, listen] of [
  ['tcp', 'tcp://127.0.0.1:0'],
  ['unix', `unix:${folder}/bus.sock`],
] as const) {
  test(`${kind}: two leaves and a leader exchange messages of every size, once and in order`, {
    timeout: 20_000,
  }, async () => {
    const lead = await createBus({ ...shared, node: 'lead', leader: true, listen });
    const leader = lead.address ?? assert.fail('a leader has an address');
    const [a, b] = await Promise.all(['a', 'b'].map((node) => createBus({ ...shared, node, leader })));
    assert.ok(a !== undefined && b !== undefined);
    const got = new Map<Bus, number[]>([
      [lead, []],
      [b, []],
    ]);
    for (const [bus, list] of got)
      await bus.subscribe<Uint8Array>('data', ({ payload }) => void list.push(payload.length));
    const sizes = Array.from({ length: 3000 }, (_, i) => (i % 500 === 0 ? 1_000_000 : (i * 37) % 700));
    for (const size of sizes) {
      while (!a.emit('data', new Uint8Array(size))) await new Promise((done) => setImmediate(done));
    }
    const receipt = await a.publish('data', new Uint8Array(7));
    assert.deepEqual([receipt.matched, receipt.unreachable], [2, []]);
    for (const bus of [a, b, lead]) await bus.drain();
    for (const list of got.values()) assert.deepEqual(list, [...sizes, 7]);
    for (const bus of [a, b, lead]) await bus.close();
  });
}

test('an address that is taken is refused, and the bus leaves nothing behind', async () => {
  const lead = await createBus({ ...shared, node: 'lead', leader: true, listen: 'tcp://127.0.0.1:0' });
  const listen = lead.address ?? assert.fail('a leader has an address');
  await assert.rejects(createBus({ ...shared, node: 'other', leader: true, listen }), { code: 'ADDRESS_IN_USE' });
  await lead.close();
  const again = await createBus({ ...shared, node: 'other', leader: true, listen });
  await again.close();
});
