import { pathToFileURL } from 'node:url';
import type { Kind } from './across-lib/role.ts';
import { findNatsServer, startNatsServer } from './harness/nats-server.ts';
import { printTables } from './harness/print.ts';
import { type Row, ratio, row, type Table } from './harness/result.ts';
import { alternate } from './harness/rounds.ts';
import { type Settings, settings, strict } from './harness/settings.ts';
import { Worker } from './harness/worker.ts';

const file = new URL('./across-lib/worker.ts', import.meta.url);

/** Microseconds. */
interface RoundTrips {
  readonly p50: number;
  readonly p99: number;
}

/** A producer's process and a consumer's. */
class Pair {
  readonly #consumer: Worker;
  readonly #producer: Worker;

  private constructor(consumer: Worker, producer: Worker) {
    this.#consumer = consumer;
    this.#producer = producer;
  }

  /** @param address of the server between them, if there is one. */
  static async start(name: string, address?: string): Promise<Pair> {
    const consumer = Worker.start(file, [name, 'consumer', ...(address === undefined ? [] : [address])]);
    try {
      const at = (await consumer.ask('address')) as string; // what the worker's method returns
      return new Pair(consumer, Worker.start(file, [name, 'producer', at]));
    } catch (error) {
      await consumer.stop();
      throw error;
    }
  }

  /** @returns messages a second at the consumer. @throws when one is lost or comes twice. */
  async throughput(kind: Kind, count: number): Promise<number> {
    await this.#consumer.ask('expect', count);
    await Promise.all([this.#consumer.ask('arrived'), this.#producer.ask('send', { kind, count })]);
    return (await this.#consumer.ask('rate')) as number; // what the worker's method returns
  }

  async roundTrips(count: number): Promise<RoundTrips> {
    return (await this.#producer.ask('roundTrips', count)) as RoundTrips; // what the worker's method returns
  }

  async stop(): Promise<void> {
    await this.#producer.stop();
    await this.#consumer.stop();
  }
}

/** Mailvan beside NATS core, each with a producer and a consumer in two processes. Without a NATS server: nothing. */
export async function run(options: Settings): Promise<Table[]> {
  const program = await findNatsServer();
  if (program === undefined) {
    const text = 'nats-server is not installed (Debian: apt-get install nats-server)';
    if (strict) throw new Error(`${text}, and MAILVAN_TEST_STRICT=1 asks for all comparisons`);
    process.stderr.write(`${text}: what needs it is left out\n`);
    return [];
  }
  const server = await startNatsServer(program);
  const pairs: Pair[] = [];
  try {
    pairs.push(await Pair.start('mailvan'));
    pairs.push(await Pair.start('nats', server.address));
    const tables = await throughput(pairs, options);
    pairs.push(await Pair.start('echo'));
    return [...tables, await roundTrips(pairs, options)];
  } finally {
    await Promise.all(pairs.map((pair) => pair.stop()));
    await server.stop();
  }
}

async function throughput(pairs: readonly Pair[], options: Settings): Promise<Table[]> {
  const measure = async (kind: Kind, rounds: number) => {
    const contestants = pairs.map((pair) => ({ measure: () => pair.throughput(kind, options.sent) }));
    await alternate(contestants, options.warmUps, options.patience);
    const [mailvan = [], nats = []] = await alternate(contestants, rounds, options.patience);
    return [
      row('Mailvan, producer → leader', mailvan),
      row('NATS core, publisher → server → subscriber', nats),
    ] as const;
  };
  const bytes = await measure('bytes', options.rounds);
  const objects = await measure('object', Math.min(5, options.rounds));
  return [
    {
      title: 'Across processes: sending without waiting',
      method: `A producer’s process and a consumer’s over TCP on the loopback; for NATS also its server’s. ${options.sent.toLocaleString('en')} messages of 100 bytes (Uint8Array) a round; the rate from the first to the last message at the subscriber. When Mailvan’s emit returns false, the producer turns the event loop and tries again; NATS has no such sign.`,
      unit: 'messages/s',
      rows: bytes,
      comparisons: [ratio('Mailvan emit : NATS core', bytes[0], bytes[1], { atLeast: 1.3 })],
    },
    {
      title: 'Across processes: objects',
      method:
        'The same with a fresh object of 100 bytes for each message, encoded and decoded: by Mailvan as MessagePack, by nats.js with its JSONCodec. Five rounds, for information.',
      unit: 'messages/s',
      rows: objects,
      comparisons: [ratio('Mailvan emit : NATS core', objects[0], objects[1])],
    },
  ];
}

async function roundTrips(pairs: readonly Pair[], options: Settings): Promise<Table> {
  const contestants = pairs.map((pair) => ({ measure: () => pair.roundTrips(options.roundTrips) }));
  await alternate(contestants, options.warmUps, options.patience);
  const [publish = [], request = [], echo = []] = await alternate(contestants, options.rounds, options.patience);
  const mailvan = percentiles('Mailvan publish to its receipt', publish);
  const nats = percentiles('NATS request/reply', request);
  const bare = percentiles('bare TCP echo', echo);
  return {
    title: 'Across processes: round trip',
    method: `One after the other, ${options.roundTrips.toLocaleString('en')} a round: a publish of 100 bytes until its receipt, beside a NATS request of 100 bytes until its empty reply (without traces of the caller’s stack). The bare echo of node:net is there for orientation: where it has two speeds, the kernel puts both processes now on one core and now on two.`,
    unit: 'µs',
    rows: [mailvan.p50, nats.p50, bare.p50, mailvan.p99, nats.p99, bare.p99],
    comparisons: [
      ratio('Mailvan publish : NATS request, p50', mailvan.p50, nats.p50, { atMost: 0.6 }),
      ratio('Mailvan publish : NATS request, p99', mailvan.p99, nats.p99),
      ratio('Mailvan publish : bare echo, p50', mailvan.p50, bare.p50),
    ],
  };
}

function percentiles(name: string, rounds: readonly RoundTrips[]): { p50: Row; p99: Row } {
  return {
    p50: row(
      `${name}, p50`,
      rounds.map(({ p50 }) => p50),
    ),
    p99: row(
      `${name}, p99`,
      rounds.map(({ p99 }) => p99),
    ),
  };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) printTables(await run(settings()));
