// A durable subscription: what was published waits on disk until somebody has handled it, whoever is killed meanwhile.
//
//   node --import tsx examples/5-durable.ts producer --data /tmp/orders       # one terminal: publishes numbered orders
//   node --import tsx examples/5-durable.ts consumer                          # another one: handles them
//
// Kill the consumer with `kill -9`, as often as you like, and start it again: no number is missing from what it has printed.
// One that was being handled when it was killed comes once more, with attempt 2. Kill the producer, too: what has a receipt
// is there when it is started again, with `--from` to number on.
import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { createBus } from 'mailvan';

const address = 'tcp://127.0.0.1:1900';
const topic = 'orders.created';
// Whoever says this name with `durable: true`, anywhere in the cluster, means the same mailbox.
const subscription = { name: 'bookkeeping', durable: true };

const { values, positionals } = parseArgs({
  options: {
    listen: { type: 'string', default: address },
    leader: { type: 'string', default: address },
    data: { type: 'string', default: './data' },
    from: { type: 'string', default: '1' },
    count: { type: 'string', default: '1000' },
    interval: { type: 'string', default: '10' },
  },
  allowPositionals: true,
});
const ended = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);

async function produce(): Promise<void> {
  // The folder holds the mailboxes. One process at a time opens it; the others come over the link.
  const bus = await createBus({ node: 'producer', leader: true, listen: values.listen, dataDir: values.data });
  // null only collects: the mailbox is there before the first consumer is.
  await bus.subscribe(topic, null, subscription);
  console.log(`producer: listening on ${bus.address}`);

  const first = Number(values.from);
  for (let order = first; order < first + Number(values.count); order++) {
    // Resolves when the message is on the disk of the mailbox's home. What has a receipt is not lost.
    const { stored, level } = await bus.publish(topic, { order }, { atLeast: 1 });
    console.log(`producer: ${order} is stored in ${stored} mailbox (${level})`);
    await wait(Number(values.interval));
  }
  console.log('producer: done; Ctrl-C ends it');
  await ended;
  await bus.close(); // what still waits stays in the mailbox
}

async function consume(): Promise<void> {
  const bus = await createBus({ node: 'consumer', leader: values.leader });
  await bus.subscribe<{ order: number }>(
    topic,
    async ({ payload }, { attempt }) => {
      await wait(5); // the work, which takes a while
      console.log(`consumer: ${payload.order} at attempt ${attempt}`);
      // The message leaves the disk when the handler has returned. A process that is killed before that gets it again:
      // at least once. Work that must not be done twice remembers `message.id`.
    },
    subscription,
  );
  console.log('consumer: ready');
  await ended;
  await bus.close();
}

const role = positionals[0];
if (role === 'producer') await produce();
else if (role === 'consumer') await consume();
else {
  console.error('usage: 5-durable.ts producer [--data folder] | consumer');
  process.exitCode = 2;
}
