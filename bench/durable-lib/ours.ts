import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Bus, createBus, type Message } from '../../dist/index.js';
import type { Home, Place, Publisher } from './driver.ts';

const silent = { debug() {}, info() {}, warn() {}, error() {}, fatal() {}, trace() {}, child: () => silent };
/** A mailbox of ours refuses more than a million messages unless it is told otherwise. */
const limits = { messages: 10_000_000, bytes: 16 * 1024 ** 3 };
const patience = { timeout: 50_000 };

/** Whether the built package has durable mailboxes. @param folder a temporary one. */
export async function available(folder: string): Promise<boolean> {
  const dataDir = await mkdtemp(join(folder, 'probe-'));
  try {
    await (await createBus({ dataDir, durability: 'os', logger: silent })).close();
    return true;
  } catch (error) {
    if ((error as { code?: unknown }).code === 'OPTION_INVALID') return false;
    throw error;
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}

/** Milliseconds from the call until the bus is there. The bus stays open: the process is to be killed. */
export async function open({ level, folder }: Place): Promise<number> {
  const start = performance.now();
  await createBus({ dataDir: folder, durability: level, logger: silent });
  return performance.now() - start;
}

export async function home({ level, folder, linked, mailboxes }: Place): Promise<Home> {
  const bus = await createBus({
    node: 'home',
    dataDir: folder,
    durability: level,
    logger: silent,
    ...(linked ? { leader: true, listen: 'tcp://127.0.0.1:0' } : {}),
  });
  const attach = (names: readonly string[], handler: ((message: Message) => void) | null) =>
    Promise.all(
      names.map((name) =>
        bus.subscribe(`${name}\\..*`, handler, {
          name,
          durable: true,
          limits,
          ...(handler === null ? {} : { concurrency: 256 }),
        }),
      ),
    );
  let attached = await attach(mailboxes, null);
  const detach = () => Promise.all(attached.map((subscription) => subscription.close()));
  return {
    address: bus.address ?? '',
    async collect(names) {
      await attach(names, null);
    },
    async consume(handled) {
      await detach();
      attached = await attach(mailboxes, ({ payload }) => {
        if (payload === undefined) throw new Error('a message without its payload');
        handled(1);
      });
    },
    async pause() {
      await detach();
      attached = await attach(mailboxes, null);
    },
    async settled() {
      await Promise.all(attached.map((subscription) => subscription.drain(patience)));
    },
    tidy: async () => undefined,
    publisher: async () => publisherOf(bus, level, async () => undefined),
    close: () => bus.close(),
  };
}

export async function publisher({ address, level }: Place): Promise<Publisher> {
  const bus = await createBus({ node: 'publisher', leader: address, logger: silent });
  return publisherOf(bus, level, () => bus.close());
}

function publisherOf(bus: Bus, expected: string, close: () => Promise<void>): Publisher {
  return {
    async publish(mailbox, payload) {
      const { matched, level } = await bus.publish(`${mailbox}.m`, payload);
      if (matched !== 1 || level !== expected) throw new Error(`a receipt of ${matched} routes, level '${level}'`);
    },
    close,
  };
}
