import { createBus } from '../../dist/index.js';
import { turn, until, yieldEvery } from '../harness/loop.ts';
import { orderOf, topic } from '../harness/payload.ts';
import type { Contestant } from './contestant.ts';

async function subscribed() {
  const bus = await createBus();
  const seen = { count: 0 };
  await bus.subscribe('orders\\..*', () => {
    seen.count++;
  });
  return { bus, seen };
}

export async function mailvanEmit(): Promise<Contestant> {
  const { bus, seen } = await subscribed();
  return {
    close: () => bus.close(),
    async run(count) {
      seen.count = 0;
      for (let i = 1; i <= count; i++) {
        if (!bus.emit(topic, orderOf(i))) throw new Error(`the mailbox is full after ${i} messages`);
        if (i % yieldEvery === 0) await turn();
      }
      await until(
        () => seen.count === count,
        () => `${seen.count} of ${count} handled`,
      );
    },
  };
}

export async function mailvanPublish(): Promise<Contestant> {
  const { bus, seen } = await subscribed();
  return {
    close: () => bus.close(),
    async run(count) {
      seen.count = 0;
      for (let sent = 0; sent < count; ) {
        const batch: Promise<{ matched: number }>[] = [];
        for (let i = 0; i < yieldEvery && sent < count; i++) batch.push(bus.publish(topic, orderOf(++sent)));
        for (const receipt of await Promise.all(batch)) {
          if (receipt.matched !== 1) throw new Error(`a receipt names ${receipt.matched} routes`);
        }
        await turn();
      }
      await until(
        () => seen.count === count,
        () => `${seen.count} of ${count} handled`,
      );
    },
  };
}
