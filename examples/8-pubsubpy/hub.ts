// What the AMQP service was: the one process that keeps the mailboxes. It needs no configuration beyond a folder.
//
//   node --import tsx examples/8-pubsubpy/hub.ts --data /tmp/hub
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { createBus } from 'mailvan';

const { values } = parseArgs({
  options: {
    listen: { type: 'string', default: 'tcp://127.0.0.1:1900' },
    data: { type: 'string', default: './data' },
  },
});

const bus = await createBus({ node: 'hub', leader: true, listen: values.listen, dataDir: values.data });
console.log(`hub: listening on ${bus.address}`);
await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
await bus.close();
