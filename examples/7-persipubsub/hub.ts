// The process that holds the queues of mailvan.config.json: a folder on disk, a Unix socket, and nothing to configure beside.
//
//   npx mailvan init --config examples/7-persipubsub/mailvan.config.json   # initialize_all_dbs(), at deployment
//   node --import tsx examples/7-persipubsub/hub.ts                        # at runtime
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { createBus } from 'mailvan';

const { values } = parseArgs({
  options: { config: { type: 'string', default: 'examples/7-persipubsub/mailvan.config.json' } },
});

// Every subscription of the file has its mailbox now, before any subscriber has been started.
const bus = await createBus({ config: values.config });
for (const { name, waiting, policy } of await bus.mailboxes.list()) {
  console.log(`hub: ${name} holds ${waiting} of at most ${policy.limits.messages} messages`);
}
console.log(`hub: listening on ${bus.address}`);
await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
await bus.close(); // the queues stay
