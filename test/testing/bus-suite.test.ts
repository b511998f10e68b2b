import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Bus, createBus } from '../../src/bus/bus.ts';
import { systemClock } from '../../src/core/clock.ts';
import { silentLogger } from '../../src/core/log.ts';
import { type BusFixture, busSuite } from '../../src/testing/bus-suite.ts';
import { MemoryNetwork } from '../../src/transport/memory.ts';

const logger = silentLogger;
const service = 'suite';

async function folder(): Promise<{ path: string; remove: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'mailvan-bus-'));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

busSuite('alone, in memory', async () => ({ bus: await createBus({ node: 'alone', logger, service }) }));

busSuite('alone, over LevelDB in a folder', async () => {
  const { path, remove } = await folder();
  const bus = await createBus({ dataDir: path, logger, service });
  return { bus, stores: true, hasFolder: true, close: remove };
});

/** The leader and a leaf, each with a folder; the suite has one of them. */
async function pair(under: 'leader' | 'leaf', listen: (path: string) => string): Promise<BusFixture> {
  const { path, remove } = await folder();
  const leader = await createBus({
    ...{ node: 'leader', leader: true, logger, service },
    listen: listen(path),
    dataDir: join(path, 'leader'),
  });
  const leaf = await createBus({
    ...{ node: 'leaf', logger, service },
    leader: leader.address as string, // it listens
    dataDir: join(path, 'leaf'),
  });
  const [bus, other] = under === 'leader' ? [leader, leaf] : [leaf, leader];
  const close = async (): Promise<void> => {
    await other.close({ timeout: 0 });
    await remove();
  };
  return { bus, other: other.node, stores: true, hasFolder: true, close };
}

busSuite('a leaf, over TCP', () => pair('leaf', () => 'tcp://127.0.0.1:0'));
busSuite('a leader, over a Unix socket', () => pair('leader', (path) => `unix:${path}/bus.sock`));

busSuite('a leaf without a store, over the transport in memory', async () => {
  const network = new MemoryNetwork({ clock: systemClock });
  const at = 'tcp://10.0.0.1:1900';
  // A leader without a store places nothing before those of an earlier life have had their time to come back.
  const soon = { liveness: { ping: 100, suspect: 400, down: 2000 }, redial: { delay: 20, maxDelay: 50 } };
  const parts = (host: string) => ({ transport: network.transport(host) });
  const leader = await Bus.open(
    { node: 'leader', leader: true, listen: at, insecure: true, logger, service, ...soon },
    parts('leader'),
  );
  const bus = await Bus.open({ node: 'leaf', leader: at, logger, service, ...soon }, parts('leaf'));
  return { bus, other: 'leader', close: () => leader.close({ timeout: 0 }) };
});
