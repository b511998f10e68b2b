// For those who come from persizmq: messages are received in the background and stored on disk before anything else is done
// with them; then they are looked at and taken, or handled by a callback.
//
//   node --import tsx examples/6-persizmq.ts receive --data /tmp/readings   # stores what comes, and ends
//   node --import tsx examples/6-persizmq.ts work --data /tmp/readings      # a later process finds it
import { parseArgs } from 'node:util';
import { createBus, maxSize, minPeriod } from 'mailvan';

const { values, positionals } = parseArgs({
  options: { data: { type: 'string', default: './data' } },
  allowPositionals: true,
});
const topics = 'readings\\..*';
const bus = await createBus({ dataDir: values.data });

async function receive(): Promise<void> {
  // PersistentStorage: a FIFO queue on disk. null for a handler: it only collects.
  // persizmq.filter.MaxSize: the large ones never get to the disk.
  await bus.subscribe(topics, null, { name: 'storage', durable: true, filters: [maxSize(1000)] });
  // PersistentLatestStorage: the newest message only. ('topic' would keep the newest of each topic.)
  await bus.subscribe(topics, null, { name: 'latest', durable: true, latestOnly: true });
  // Filters are chained by listing them: not large, and at most one a minute. A restart does not begin the minute anew.
  await bus.subscribe(topics, null, { name: 'sampled', durable: true, filters: [maxSize(1000), minPeriod(60_000)] });

  // Somebody publishes. It could be another process: see 7-persipubsub.
  for (const degrees of [20, 21, 22]) await bus.publish('readings.temperature', { degrees });
  await bus.publish('readings.picture', new Uint8Array(5000));
  const { mailboxes } = await bus.status();
  for (const { name, waiting, filtered } of mailboxes) console.log(`${name}: ${waiting} stored, ${filtered} filtered`);
}

async function work(): Promise<void> {
  // front() looks and takes nothing; receive() with a handler takes the first one when the handler returns: pop_front().
  for (let front = await bus.front('sampled'); front !== null; front = await bus.front('sampled')) {
    console.log('front of sampled:', front.message.payload);
    await bus.receive('sampled', { timeout: 0 }, () => {});
  }

  // Without a handler receive() gives a delivery, which is settled by hand. Left unsettled it would come again.
  const delivery = await bus.receive('latest', { timeout: 0 });
  console.log('latest:', delivery?.message.topic);
  delivery?.ack();

  // ThreadedSubscriber(callback, on_exception): a handler, and events that tell of its exceptions. Instead of being lost with
  // the exception, the message is tried again; after five attempts it is among bus.deadLetters.
  bus.on('message.retried', ({ attempt, error }) => console.log(`exception at attempt ${attempt}: ${error.message}`));
  const subscription = await bus.subscribe<{ degrees: number }>(
    topics,
    ({ payload }, { attempt }) => {
      if (payload.degrees === 21 && attempt === 1) throw new Error('the database is away');
      console.log(`callback: ${payload.degrees} at attempt ${attempt}`);
    },
    { name: 'storage', durable: true },
  );
  await subscription.drain();
}

const role = positionals[0];
if (role === 'receive') await receive();
else if (role === 'work') await work();
else {
  console.error('usage: 6-persizmq.ts receive | work [--data folder]');
  process.exitCode = 2;
}
await bus.close();
