import { quantile } from '../harness/statistics.ts';
import { serve } from '../harness/worker.ts';
import { Arrivals, type Consumer, type Kind, type Producer } from './role.ts';

const [library, role, address = ''] = process.argv.slice(2);

// Loaded on demand: a process holds one library.
const consumers: Readonly<Record<string, (arrivals: Arrivals) => Promise<Consumer>>> = {
  mailvan: async (arrivals) => (await import('./mailvan.ts')).consumer(arrivals),
  nats: async (arrivals) => (await import('./nats.ts')).consumer(arrivals, address),
  echo: async () => (await import('./echo.ts')).consumer(),
};
const producers: Readonly<Record<string, () => Promise<Producer>>> = {
  mailvan: async () => (await import('./mailvan.ts')).producer(address),
  nats: async () => (await import('./nats.ts')).producer(address),
  echo: async () => (await import('./echo.ts')).producer(address),
};

function known<T>(of: Readonly<Record<string, T>>): T {
  const found = of[library ?? ''];
  if (found === undefined) throw new Error(`give: ${Object.keys(of).join('|')} consumer|producer [address]`);
  return found;
}

async function consume(): Promise<void> {
  const arrivals = new Arrivals();
  const consumer = await known(consumers)(arrivals);
  serve(
    {
      address: () => consumer.address,
      expect: (count: number) => arrivals.expect(count),
      arrived: () => arrivals.complete(),
      /** @returns messages a second. Asked when the producer, too, is done. */
      rate: () => arrivals.rate,
    },
    () => consumer.close(),
  );
}

async function produce(): Promise<void> {
  const producer = await known(producers)();
  serve(
    {
      send: ({ kind, count }: { kind: Kind; count: number }) => producer.send(kind, count),
      /** One after the other. @returns microseconds. */
      async roundTrips(count: number): Promise<{ p50: number; p99: number }> {
        const taken: number[] = [];
        for (let i = 0; i < count; i++) {
          const start = performance.now();
          await producer.roundTrip();
          taken.push((performance.now() - start) * 1_000);
        }
        return { p50: quantile(taken, 0.5), p99: quantile(taken, 0.99) };
      },
    },
    () => producer.close(),
  );
}

await (role === 'consumer' ? consume() : produce());
