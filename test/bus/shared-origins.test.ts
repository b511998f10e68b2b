import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createVirtualRuntime } from '../../src/actors/virtual-runtime.ts';
import { Bus } from '../../src/bus/bus.ts';
import type { BusOptions } from '../../src/bus/options/options.ts';
import type { Clock } from '../../src/core/clock.ts';
import { silentLogger } from '../../src/core/log.ts';
import { recover } from '../../src/storage/recovery.ts';
import { prefixRange } from '../../src/storage/store.ts';
import { TestCluster } from '../../src/testing/cluster.ts';
import { Disk, FaultySource } from '../../src/testing/disk.ts';

/** The publishers that a store remembers numbers of, the names of their nodes. */
async function remembered(disk: Disk, clock: Clock): Promise<string[]> {
  const store = await new FaultySource(disk, clock).open();
  const found: string[] = [];
  for await (const [key] of store.scan(prefixRange('box/'))) {
    const { state } = await recover(store, key.slice('box/'.length), clock.now(), false);
    found.push(...state.watermarks.map(([origin]) => origin.replace(/\/.*/, '')));
  }
  return found.sort();
}

test('the next owner of a folder forgets publishers of earlier lives that do not come back, and no others', async () => {
  const cluster = new TestCluster();
  const { clock, network } = cluster;
  const disk = new Disk();
  const listen = 'tcp://10.0.0.1:1900';
  const home = (): Promise<Bus> => {
    const options: BusOptions = { node: 'folder', leader: true, listen, insecure: true, logger: silentLogger };
    const parts = {
      clock,
      transport: network.transport('folder'),
      source: new FaultySource(disk, clock),
      folder: true,
    };
    const runtime = (name: string) => createVirtualRuntime({ name, clock });
    return cluster.until(Bus.open(options, { ...parts, runtime }));
  };
  const first = await home();
  const leaves: Bus[] = [];
  for (const node of ['gone', 'stays']) {
    const leaf = await cluster.open({ node, leader: listen });
    leaves.push(leaf);
    await cluster.until(leaf.subscribe('numbers', null, { name: 'work', durable: true }));
    await cluster.until(leaf.publish('numbers', node));
  }
  const [gone, stays] = leaves as [Bus, Bus];
  cluster.crash(gone, [first]);
  await cluster.until(first.close({ timeout: 0 }));
  assert.deepEqual(await cluster.until(remembered(disk, clock)), ['gone', 'stays']);

  const second = await home();
  await clock.advance(5000);
  assert.equal((await cluster.until(stays.publish('numbers', 'again'))).stored, 1);
  await clock.advance(115_000);
  await cluster.until(stays.publish('numbers', 'once more'));
  assert.deepEqual(await cluster.until(remembered(disk, clock)), ['gone', 'stays'], 'it may be frozen');
  await clock.advance(10_000);
  await cluster.until(stays.publish('numbers', 'at last'));
  await cluster.until(stays.close());
  await cluster.until(second.close({ timeout: 0 }));
  assert.deepEqual(await cluster.until(remembered(disk, clock)), ['stays']);
});
