import type { Table } from '../harness/result.ts';
import type { DurableSettings } from '../harness/settings.ts';
import {
  count,
  inFlight,
  jetstream,
  jetstreamApi,
  type Means,
  oursFsync,
  oursOs,
  redis,
  Stage,
  tableOf,
} from './stage.ts';

const entrants = [oursOs, jetstream, jetstreamApi, oursFsync, redis];

/** From publish to the settled ack: in one process, in two, and with many mailboxes in turn. */
export async function throughput(means: Means, settings: DurableSettings): Promise<Table[]> {
  const { rounds, roundTime } = settings;
  const measure = (shape: { mailboxes?: number; linked?: boolean }) =>
    Stage.use(means, (stage) =>
      stage.alternate(
        entrants,
        async (entrant) => {
          const contestant = await stage.contestant(entrant, shape);
          await contestant.home.ask('consume');
          return () => contestant.rate(roundTime);
        },
        settings,
        2,
      ),
    );
  const unit = 'messages/s';
  return [
    tableOf(
      {
        title: 'Durable: from publish to the settled ack',
        method: `Messages of 100 bytes, ${inFlight} publishes in flight, published, delivered to a handler and acked; from the first publish until all acks are settled, ${rounds} rounds of about ${count(roundTime)} ms, each of as many messages as the contestant handled in that time in the round before. Publisher and consumer are one process: of Mailvan also the store (\`os\` waits for the kernel, \`fsync\` for the disk); the peers have a server beside it. JetStream: a work queue in file storage (synced every two minutes), a push consumer; its messages are published as requests of the client’s core, twice as fast as its own \`js.publish()\`, which is what its users call and what the target names. Redis: XADD, XREADGROUP (1,000 at most) and one XACK for all that a read brought, with ioredis, whose commands are pipelined; what is acked stays in a stream until the round is over, so it never deletes.`,
        unit,
      },
      await measure({}),
      { 'Mailvan os : JetStream, js.publish()': 10, 'Mailvan fsync : Redis': 2.5 },
    ),
    tableOf(
      {
        title: 'Durable: the same across two processes',
        method:
          'The same with the publisher in a process of its own: with Mailvan over TCP on the loopback to the leader, which holds the store and the consumer.',
        unit,
      },
      await measure({ linked: true }),
      { 'Mailvan os : JetStream, js.publish()': 5, 'Mailvan fsync : Redis': 1.5 },
      ', across two processes',
    ),
    tableOf(
      {
        title: `Durable: ${inFlight} mailboxes in turn`,
        method: `As in one process, each message to the next of ${inFlight} mailboxes, ${inFlight} in flight in all. JetStream: as many work queues, each with its consumer; Redis: as many streams, read with one command.`,
        unit,
      },
      await measure({ mailboxes: inFlight }),
      { 'Mailvan os : JetStream': 3 },
      `, ${inFlight} mailboxes in turn`,
    ),
  ];
}
