import { connect, Empty, JSONCodec } from 'nats';
import { turn, yieldEvery } from '../harness/loop.ts';
import { hundredBytes, orderOf, topic } from '../harness/payload.ts';
import type { Arrivals, Consumer, Producer } from './role.ts';

const codec = JSONCodec<Record<string, unknown>>();
/** Without traces of the caller's stack, which cost a few microseconds a request. */
const options = { noAsyncTraces: true };

/** @param servers `host:port` of the server. */
export async function consumer(arrivals: Arrivals, servers: string): Promise<Consumer> {
  const connection = await connect({ ...options, servers });
  // Callbacks are nats.js' fastest way to receive.
  connection.subscribe('orders.*', {
    callback(error, message) {
      if (error !== null) throw error;
      if (message.data.length !== hundredBytes.length && codec.decode(message.data) === undefined)
        throw new Error('empty');
      arrivals.add();
    },
  });
  connection.subscribe('requests.*', {
    callback(error, message) {
      if (error !== null) throw error;
      message.respond(Empty);
    },
  });
  await connection.flush(); // the server knows of both
  return { address: servers, close: () => connection.close() };
}

export async function producer(servers: string): Promise<Producer> {
  const connection = await connect({ ...options, servers });
  return {
    async send(kind, count) {
      for (let i = 1; i <= count; i++) {
        connection.publish(topic, kind === 'bytes' ? hundredBytes : codec.encode(orderOf(i)));
        if (i % yieldEvery === 0) await turn();
      }
      await connection.flush();
      return 0; // it has no way to say that it is full
    },
    roundTrip: () => connection.request('requests.created', hundredBytes, { timeout: 5_000 }),
    close: () => connection.close(),
  };
}
