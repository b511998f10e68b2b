import { createBus } from '../../dist/index.js';
import { turn, yieldEvery } from '../harness/loop.ts';
import { hundredBytes, orderOf, topic } from '../harness/payload.ts';
import type { Arrivals, Consumer, Producer } from './role.ts';

/** The leader, with the only subscription. */
export async function consumer(arrivals: Arrivals): Promise<Consumer> {
  const bus = await createBus({ node: 'consumer', leader: true, listen: 'tcp://127.0.0.1:0' });
  await bus.subscribe('orders\\..*', ({ payload }) => {
    if (payload === undefined) throw new Error('a message without its payload');
    arrivals.add();
  });
  return { address: bus.address ?? '', close: () => bus.close() };
}

export async function producer(address: string): Promise<Producer> {
  const bus = await createBus({ node: 'producer', leader: address });
  return {
    async send(kind, count) {
      let waits = 0;
      for (let i = 1; i <= count; i++) {
        // False means that the way is full, and nothing was enqueued.
        while (!bus.emit(topic, kind === 'bytes' ? hundredBytes : orderOf(i))) {
          waits++;
          await turn();
        }
        if (i % yieldEvery === 0) await turn();
      }
      await bus.drain();
      return waits;
    },
    async roundTrip() {
      const { matched, unreachable } = await bus.publish(topic, hundredBytes);
      if (matched !== 1 || unreachable.length > 0) throw new Error(`a receipt names ${matched} routes`);
    },
    close: () => bus.close(),
  };
}
