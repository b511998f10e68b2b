import { ServiceBroker } from 'moleculer';
import { turn, until, yieldEvery } from '../harness/loop.ts';
import { orderOf, topic } from '../harness/payload.ts';
import type { Contestant } from './contestant.ts';

async function subscribed() {
  const broker = new ServiceBroker({ logger: false });
  const seen = { count: 0 };
  broker.createService({
    name: 'counter',
    events: {
      'orders.*': {
        handler() {
          seen.count++;
        },
      },
    },
  });
  await broker.start();
  return { broker, seen };
}

export async function moleculerEmit(): Promise<Contestant> {
  const { broker, seen } = await subscribed();
  return {
    close: () => broker.stop(),
    async run(count) {
      seen.count = 0;
      for (let i = 1; i <= count; i++) {
        void broker.emit(topic, orderOf(i));
        if (i % yieldEvery === 0) await turn();
      }
      await until(
        () => seen.count === count,
        () => `${seen.count} of ${count} handled`,
      );
    },
  };
}

export async function moleculerAwaited(): Promise<Contestant> {
  const { broker, seen } = await subscribed();
  return {
    close: () => broker.stop(),
    async run(count) {
      seen.count = 0;
      for (let sent = 0; sent < count; ) {
        const batch: Promise<unknown>[] = [];
        for (let i = 0; i < yieldEvery && sent < count; i++) batch.push(broker.emit(topic, orderOf(++sent)));
        await Promise.all(batch);
        await turn();
      }
      await until(
        () => seen.count === count,
        () => `${seen.count} of ${count} handled`,
      );
    },
  };
}
