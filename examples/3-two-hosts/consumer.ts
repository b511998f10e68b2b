// The consumer of a two-host application: it leads the cluster and writes a topic's messages to a file, one a line.
//
//   node --import tsx examples/3-two-hosts/consumer.ts \
//     --listen tcp://10.0.8.1:1900 --secret 'a secret of 16 bytes' --topic foo --outfile /tmp/consumer.out
//
// From anywhere in the cluster its subscription can be ended; it then finishes its file and exits:
//
//   node --import tsx examples/3-two-hosts/consumer.ts \
//     --unsubscribe --leader tcp://10.0.8.1:1900 --secret 'a secret of 16 bytes'
import { open } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { createBus } from 'mailvan';
import { livenessOf, showEvents } from './shared.ts';

// The two invocations of this program know each other by these names.
const node = 'consumer';
const subscription = 'writer';

const { values } = parseArgs({
  options: {
    listen: { type: 'string', default: 'tcp://127.0.0.1:1900' },
    leader: { type: 'string', default: 'tcp://127.0.0.1:1900' },
    secret: { type: 'string' },
    topic: { type: 'string' },
    outfile: { type: 'string' },
    unsubscribe: { type: 'boolean', default: false },
    suspect: { type: 'string' },
  },
});
const shared = {
  liveness: livenessOf(values.suspect),
  // Whoever listens beyond its own machine needs a secret: it proves who belongs to the cluster.
  ...(values.secret === undefined ? {} : { secret: values.secret }),
};

async function consume(topic: string, outfile: string): Promise<void> {
  const file = await open(outfile, 'a');
  const bus = await createBus({ ...shared, node, leader: true, listen: values.listen });
  showEvents(bus);

  // A handler that fails is called again, so a full disk delays the messages instead of losing them.
  await bus.subscribe<string>(topic, (message) => file.appendFile(`${message.payload}\n`), { name: subscription });

  const ended = new Promise<string>((resolve) => {
    bus.on('subscription.removed', (event) => {
      if (event.subscription === subscription && event.node === node) resolve('unsubscribed');
    });
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, resolve);
  });
  console.log(`consumer: writing '${topic}' to ${outfile}, listening on ${bus.address}`);

  console.log(`consumer: ${await ended}, finishing the file`);
  await bus.drain(); // what has a receipt is written before anything is closed
  await bus.close();
  await file.close();
}

async function unsubscribe(): Promise<void> {
  const bus = await createBus({ ...shared, leader: values.leader });
  await bus.unsubscribe(subscription, { node });
  console.log(`consumer: ended the subscription '${subscription}' of node '${node}'`);
  await bus.close();
}

const { topic, outfile } = values;
if (values.unsubscribe) await unsubscribe();
else if (topic !== undefined && outfile !== undefined) await consume(topic, outfile);
else {
  console.error('usage: consumer.ts --topic t --outfile path [--listen address] [--secret s]');
  console.error('       consumer.ts --unsubscribe [--leader address] [--secret s]');
  process.exitCode = 2;
}
