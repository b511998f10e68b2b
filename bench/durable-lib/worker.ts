import { quantile } from '../harness/statistics.ts';
import { serve } from '../harness/worker.ts';
import type { Driver, Home, Place, Publisher } from './driver.ts';
import { Tally } from './tally.ts';

/** What a worker is started with. */
export interface Role extends Place {
  readonly library: 'ours' | 'jetstream' | 'jetstream-api' | 'redis';
  readonly role: 'both' | 'home' | 'publisher' | 'none';
}

export interface Sending {
  readonly count: number;
  readonly inFlight: number;
  readonly mailboxes: readonly string[];
  /** Bytes of a payload. */
  readonly size: number;
}

const place = JSON.parse(process.argv[2] ?? '{}') as Role; // the parent wrote it
const payloads = new Map<number, Uint8Array>();
const tally = new Tally();

// Loaded on demand: a process holds one library.
const drivers: Readonly<Record<Role['library'], () => Promise<Driver>>> = {
  ours: () => import('./ours.ts'),
  jetstream: () => import('./jetstream.ts'),
  redis: () => import('./redis.ts'),
  async 'jetstream-api'() {
    const { home, apiPublisher } = await import('./jetstream.ts');
    return {
      home: async (at) => ({ ...(await home(at)), publisher: () => apiPublisher(at) }),
      publisher: apiPublisher,
    };
  },
};

const driver = await drivers[place.library]();
const home: Home | undefined = place.role === 'both' || place.role === 'home' ? await driver.home(place) : undefined;
const publisher: Publisher | undefined =
  place.role === 'both'
    ? await home?.publisher()
    : place.role === 'publisher'
      ? await driver.publisher(place)
      : undefined;

function consuming(): Home {
  if (home === undefined) throw new Error('this process consumes nothing');
  return home;
}

function payloadOf(size: number): Uint8Array {
  let payload = payloads.get(size);
  if (payload === undefined) {
    payload = new Uint8Array(size).fill(0x6d);
    payloads.set(size, payload);
  }
  return payload;
}

/** Publishes to the mailboxes in turn, never more than `inFlight` unconfirmed, as long as `more` says so. */
async function publish({ inFlight, mailboxes, size }: Omit<Sending, 'count'>, more: (sent: number) => boolean) {
  if (publisher === undefined) throw new Error('this process publishes nothing');
  const payload = payloadOf(size);
  let sent = 0;
  const lane = async () => {
    while (more(sent)) await publisher.publish(mailboxes[sent++ % mailboxes.length] as string, payload);
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
  return sent;
}

serve(
  {
    address: () => consuming().address,
    collect: (mailboxes: readonly string[]) => consuming().collect(mailboxes),
    consume: () => consuming().consume((count) => tally.add(count)),
    pause: () => consuming().pause(),
    tidy: () => consuming().tidy(),
    expect: (count: number) => tally.expect(count),
    /** @returns when the last ack was settled, in nanoseconds of a clock that all processes share. */
    async finished(): Promise<bigint> {
      await tally.complete();
      await consuming().settled();
      return process.hrtime.bigint();
    },
    acked: () => tally.count,
    /** @returns when it began, by the same clock. */
    async send(sending: Sending): Promise<bigint> {
      const start = process.hrtime.bigint();
      await publish(sending, (sent) => sent < sending.count);
      return start;
    },
    /**
     * Attaches the consumer and publishes while it works, until the time is up or it has taken `most` more than were published.
     *
     * @returns both rates, a second.
     */
    async window({ milliseconds, most, ...sending }: Sending & { milliseconds: number; most: number }) {
      tally.expect(Number.POSITIVE_INFINITY);
      await consuming().consume((count) => tally.add(count));
      const before = tally.count;
      const start = performance.now();
      const end = start + milliseconds;
      const published = await publish(sending, (sent) => performance.now() < end && tally.count < most + sent);
      const seconds = (performance.now() - start) / 1_000;
      const settled = (tally.count - before) / seconds;
      await consuming().pause();
      return { published: published / seconds, settled };
    },
    /** One after the other. @returns microseconds. */
    async oneByOne({ count, size, mailboxes }: Sending): Promise<{ p50: number; p99: number }> {
      if (publisher === undefined) throw new Error('this process publishes nothing');
      const payload = payloadOf(size);
      const taken: number[] = [];
      for (let i = 0; i < count; i++) {
        const start = performance.now();
        await publisher.publish(mailboxes[0] as string, payload);
        taken.push((performance.now() - start) * 1_000);
      }
      return { p50: quantile(taken, 0.5), p99: quantile(taken, 0.99) };
    },
    /** Opens our store. @returns milliseconds. */
    open: async () => (await import('./ours.ts')).open(place),
  },
  async () => {
    await publisher?.close();
    await home?.close();
  },
);
