// The producer: node producer.ts <leader's address>. It publishes what the demo orders and tells it of every receipt.
import { setTimeout as wait } from 'node:timers/promises';
import { createBus } from 'mailvan';
import { attach, type Order, quiet, tell, topics } from './report.ts';

const [leader = ''] = process.argv.slice(2);
const bus = await createBus({ node: 'producer', leader, logger: quiet });

async function publish(n: number): Promise<void> {
  const topic = topics[n % topics.length] as string; // the remainder is an index
  const { matched, unreachable } = await bus.publish(topic, { n });
  tell({ type: 'receipt', n, topic, matched, unreachable });
}

process.on('message', async ({ from, to, interval }: Order) => {
  for (let n = from; n <= to; n++) {
    void publish(n);
    await wait(interval);
  }
  tell({ type: 'sent', to });
});
attach(bus);
