import {
  AckPolicy,
  connect,
  createInbox,
  type JetStreamManager,
  type NatsConnection,
  nanos,
  RetentionPolicy,
  StorageType,
} from 'nats';
import type { Home, Place, Publisher } from './driver.ts';

/** Without traces of the caller's stack, which cost a few microseconds a request. */
const options = { noAsyncTraces: true };
const decoder = new TextDecoder();

/** A connection of its own for the publisher was as fast as one for both, or faster. */
export async function home({ address, mailboxes }: Place): Promise<Home> {
  const connection = await connect({ ...options, servers: address });
  const manager = await connection.jetstreamManager();
  await create(manager, mailboxes);
  const inbox = `deliver.${mailboxes[0]}`; // the same after a restart
  // Push consumers, all to one subject, received by a callback: at least as fast as consume() on a pull consumer.
  for (const mailbox of mailboxes) {
    await manager.consumers.add(mailbox, {
      durable_name: 'bench',
      ack_policy: AckPolicy.Explicit,
      max_ack_pending: 10_000,
      deliver_subject: inbox,
    });
  }
  let subscription: ReturnType<NatsConnection['subscribe']> | undefined;
  return {
    address,
    collect: (names) => create(manager, names),
    async consume(handled) {
      subscription = connection.subscribe(inbox, {
        callback(error, message) {
          if (error !== null) throw error;
          if (message.data.length === 0) throw new Error('a message without its payload');
          message.respond(); // an empty answer is an ack
          handled(1);
        },
      });
      await connection.flush();
    },
    async pause() {
      await subscription?.drain();
      await connection.flush();
    },
    settled: () => connection.flush(), // the server has read all acks
    async tidy() {
      for (const mailbox of mailboxes) {
        const end = performance.now() + 5_000;
        while ((await manager.streams.info(mailbox)).state.messages > 0)
          if (performance.now() > end) throw new Error(`${mailbox} still holds messages`);
      }
    },
    publisher: () => publisher({ address }),
    close: () => connection.close(),
  };
}

async function create(manager: JetStreamManager, mailboxes: readonly string[]): Promise<void> {
  for (const mailbox of mailboxes) {
    await manager.streams.add({
      name: mailbox,
      subjects: [`${mailbox}.*`],
      retention: RetentionPolicy.Workqueue,
      storage: StorageType.File,
      duplicate_window: nanos(100), // nothing is given an id
    });
  }
}

/**
 * Publishes as js.publish() does, with a reply subject and an answer to it, but with less around: twice as fast, so that
 * the server is measured rather than the client. The name 'jetstream-api' is the client's own js.publish().
 */
export async function publisher({ address }: Pick<Place, 'address'>): Promise<Publisher> {
  const connection = await connect({ ...options, servers: address });
  const inbox = createInbox();
  const waiting = new Map<string, { resolve(): void; reject(error: Error): void }>();
  connection.subscribe(`${inbox}.*`, {
    callback(error, { subject, data }) {
      const waits = waiting.get(subject);
      waiting.delete(subject);
      const answer = decoder.decode(data);
      if (error === null && answer.startsWith('{"stream"')) waits?.resolve();
      else waits?.reject(error ?? new Error(answer || 'no stream takes the message'));
    },
  });
  await connection.flush();
  let last = 0;
  return {
    publish: (mailbox, payload) =>
      new Promise<void>((resolve, reject) => {
        const reply = `${inbox}.${++last}`;
        waiting.set(reply, { resolve, reject });
        connection.publish(`${mailbox}.m`, payload, { reply });
      }),
    close: () => connection.close(),
  };
}

export async function apiPublisher({ address }: Pick<Place, 'address'>): Promise<Publisher> {
  const connection = await connect({ ...options, servers: address });
  const client = connection.jetstream();
  return {
    publish: (mailbox, payload) => client.publish(`${mailbox}.m`, payload),
    close: () => connection.close(),
  };
}
