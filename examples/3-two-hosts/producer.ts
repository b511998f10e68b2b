// The producer of a two-host application: it joins the consumer's cluster from another machine and publishes messages.
//
//   node --import tsx examples/3-two-hosts/producer.ts \
//     --leader tcp://10.0.8.1:1900 --secret 'a secret of 16 bytes' --topic foo bar
//
// Messages are the arguments, the lines of stdin, or `--count n` numbered lines; `--interval ms` paces them. For each it
// prints what became of it:
//
//   ok           every subscriber has it in its mailbox
//   unreachable  the receipt names subscribers that are away: they will not get it, unless it was under way already
//   failed       with the code of the error; after TIMEOUT nobody knows who has it
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { BusError, createBus } from 'mailvan';
import { livenessOf, showEvents } from './shared.ts';

// So many messages may wait for their receipts at a time. While a link is silent but not yet suspect, they do.
const window = 1000;

const { values, positionals } = parseArgs({
  options: {
    leader: { type: 'string', default: 'tcp://127.0.0.1:1900' },
    secret: { type: 'string' },
    topic: { type: 'string' },
    count: { type: 'string' },
    interval: { type: 'string', default: '0' },
    suspect: { type: 'string' },
  },
  allowPositionals: true,
});

function* numbered(count: number): Generator<string> {
  for (let n = 1; n <= count; n++) yield `line ${n}`;
}

function messages(): Iterable<string> | AsyncIterable<string> {
  if (positionals.length > 0) return positionals;
  if (values.count !== undefined) return numbered(Number(values.count));
  return createInterface({ input: process.stdin });
}

async function produce(topic: string): Promise<void> {
  const bus = await createBus({
    leader: values.leader,
    liveness: livenessOf(values.suspect),
    ...(values.secret === undefined ? {} : { secret: values.secret }),
  });
  showEvents(bus);

  const publish = async (message: string): Promise<void> => {
    try {
      const { unreachable } = await bus.publish(topic, message, { atLeast: 1 });
      if (unreachable.length === 0) {
        console.log(`ok ${message}`);
        return;
      }
      console.log(`unreachable ${message} (${unreachable.join(', ')})`);
    } catch (error) {
      if (!(error instanceof BusError)) throw error;
      console.log(`failed ${message} (${error.code})`);
    }
    process.exitCode = 1;
  };

  const pending = new Set<Promise<void>>();
  for await (const message of messages()) {
    const sent = publish(message).finally(() => pending.delete(sent));
    pending.add(sent);
    if (pending.size >= window) await Promise.race(pending);
    if (values.interval !== '0') await wait(Number(values.interval));
  }
  await Promise.all(pending);
  await bus.close();
}

if (values.topic !== undefined) await produce(values.topic);
else {
  console.error('usage: producer.ts --topic t [--leader address] [--secret s] [message ...]');
  process.exitCode = 2;
}
