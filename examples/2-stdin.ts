// Two processes on one machine. The consumer leads and prints what it gets; the producer sends it each line of its stdin.
//
//   node --import tsx examples/2-stdin.ts consumer        # one terminal; Ctrl-C ends it
//   node --import tsx examples/2-stdin.ts producer        # another one: enter lines, Ctrl-D ends it
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { BusError, createBus } from 'mailvan';

const topic = 'example.lines';
const address = 'tcp://127.0.0.1:1900';

const { values, positionals } = parseArgs({
  options: { listen: { type: 'string', default: address }, leader: { type: 'string', default: address } },
  allowPositionals: true,
});

async function consume(): Promise<void> {
  // One node of a cluster leads it: the others find each other through it.
  const bus = await createBus({ node: 'consumer', leader: true, listen: values.listen });
  await bus.subscribe(topic, (message) => {
    console.log('Handler got', { topic: message.topic, payload: message.payload });
  });
  console.log(`Consumer: listening on ${bus.address}`);
  await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
  // close() would drop what still waits for its handler: drain() lets it be handled first.
  await bus.drain();
  await bus.close();
}

async function produce(): Promise<void> {
  const bus = await createBus({ node: 'producer', leader: values.leader });
  console.log('Producer: enter a line');
  for await (const line of createInterface({ input: process.stdin })) {
    try {
      // Resolves when every subscriber that can be reached has the message in its mailbox.
      await bus.publish(topic, line, { atLeast: 1 });
    } catch (error) {
      if (!(error instanceof BusError)) throw error;
      console.error(`Producer: not sent (${error.code}): ${line}`);
      process.exitCode = 1;
    }
  }
  await bus.close();
}

const role = positionals[0];
if (role === 'consumer') await consume();
else if (role === 'producer') await produce();
else {
  console.error('usage: 2-stdin.ts consumer [--listen address] | producer [--leader address]');
  process.exitCode = 2;
}
