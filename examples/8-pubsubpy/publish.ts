// Whoever changes a model tells of it. The topic is <Model>.<event>; the headers say the model's whole name and the event.
//
//   node --import tsx examples/8-pubsubpy/publish.ts 7 updated '{"state": "paid"}'
import { parseArgs } from 'node:util';
import { createBus } from 'mailvan';

const { values, positionals } = parseArgs({
  options: { leader: { type: 'string', default: 'tcp://127.0.0.1:1900' } },
  allowPositionals: true,
});
const [id = '1', event = 'updated', fields = '{}'] = positionals;

const bus = await createBus({ leader: values.leader });
const booking = { ...JSON.parse(fields), id: Number(id) };
// With a key, the events of one booking are handled one at a time and in order.
const receipt = await bus.publishModelEvent('mksp.apps.users.models.Booking', event, booking, { key: `Booking ${id}` });
console.log(`Booking.${event}: stored in ${receipt.stored} mailboxes (${receipt.level})`);
await bus.close();
