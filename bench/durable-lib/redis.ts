import { Redis } from 'ioredis';
import type { Home, Place, Publisher } from './driver.ts';

const group = 'bench';
/** What XREADGROUP answers: per stream its entries, each an id and its fields. */
type Answer = [key: string, entries: [id: string, fields: string[]][]][] | null;

/**
 * ioredis rather than redis: faster here with 256 in flight. Each command is written at once: with automatic pipelining
 * it was slower. Three connections, since a blocked one can do nothing else; up to 1,000 entries a read, one XACK for
 * all of a stream's. Streams are trimmed between the rounds only: unlike a queue, Redis keeps what is acked.
 */
export async function home({ address, mailboxes }: Place): Promise<Home> {
  const reading = await open(address);
  const acking = await open(address);
  await create(acking, mailboxes);
  const acks = new Set<Promise<unknown>>();
  let running = false;
  let loop: Promise<void> = Promise.resolve();

  async function read(handled: (count: number) => void): Promise<void> {
    const streams = [...mailboxes, ...mailboxes.map(() => '>')];
    while (running) {
      // Wakes now and then so that it can be told to stop.
      const answer = (await reading.call(
        'XREADGROUP',
        ...['GROUP', group, 'c', 'COUNT', '1000', 'BLOCK', '100', 'STREAMS'],
        ...streams,
      )) as Answer; // what the command answers
      for (const [key, entries] of answer ?? []) {
        const ids = entries.map(([id, fields]) => {
          if (!fields[1]) throw new Error('a message without its payload');
          return id;
        });
        const ack = acking.xack(key, group, ...ids).then((count) => {
          acks.delete(ack);
          handled(count);
        });
        acks.add(ack);
      }
    }
  }

  return {
    address,
    collect: (names) => create(acking, names),
    async consume(handled) {
      running = true;
      loop = read(handled);
    },
    async pause() {
      running = false;
      await loop;
      await Promise.all(acks);
    },
    async settled() {
      await Promise.all(acks);
    },
    async tidy() {
      for (const mailbox of mailboxes) {
        const [pending] = (await acking.xpending(mailbox, group)) as [number]; // the summary begins with their number
        if (pending > 0) throw new Error(`${pending} of ${mailbox} are not acked`);
        await acking.xtrim(mailbox, 'MAXLEN', 0);
      }
    },
    publisher: () => publisher({ address }),
    async close() {
      running = false;
      reading.disconnect();
      acking.disconnect();
    },
  };
}

export async function publisher({ address }: Pick<Place, 'address'>): Promise<Publisher> {
  const connection = await open(address);
  const buffers = new WeakMap<Uint8Array, Buffer>();
  return {
    publish(mailbox, payload) {
      let buffer = buffers.get(payload);
      if (buffer === undefined) {
        buffer = Buffer.from(payload);
        buffers.set(payload, buffer);
      }
      return connection.xadd(mailbox, '*', 'p', buffer);
    },
    close: async () => connection.disconnect(),
  };
}

async function open(address: string): Promise<Redis> {
  const { hostname, port } = new URL(`tcp://${address}`);
  const connection = new Redis({ host: hostname, port: Number(port), lazyConnect: true, maxRetriesPerRequest: 0 });
  connection.on('error', () => undefined); // what is under way rejects
  await connection.connect();
  return connection;
}

async function create(connection: Redis, mailboxes: readonly string[]): Promise<void> {
  for (const mailbox of mailboxes) {
    await connection.xgroup('CREATE', mailbox, group, '0', 'MKSTREAM').catch((error: Error) => {
      if (!error.message.startsWith('BUSYGROUP')) throw error;
    });
  }
}
