// The periodic job of a service, as a cron entry or a Celery beat starts it: it registers its handlers, works off what has
// gathered since the last time, and ends. In between its mailbox collects at the hub.
//
//   node --import tsx examples/8-pubsubpy/job.ts billing
//   node --import tsx examples/8-pubsubpy/job.ts mailing
import { parseArgs } from 'node:util';
import { type Context, createBus, type Message, subscribe, wildcard } from 'mailvan';

interface Booking {
  readonly id: number;
  readonly state: string;
}

const { values, positionals } = parseArgs({
  options: { leader: { type: 'string', default: 'tcp://127.0.0.1:1900' } },
  allowPositionals: true,
});
const [service = 'billing'] = positionals;

class Handlers {
  // The first run makes the mailbox; from then on it collects, whether or not a job is running. It needs a name, because it is
  // found again by it. A failed handler is called again, and at last its message is among the dead letters.
  @subscribe(wildcard('Booking.*'), { name: 'bookings', durable: true })
  async booking({ payload, headers }: Message<Booking>, { attempt }: Context): Promise<void> {
    console.log(`${service}: ${headers.model} ${payload.id} was ${headers.event} (attempt ${attempt})`);
  }
}

// `init()`: who this service is, and where the hub listens. Both services say 'bookings': one has billing/bookings, the other
// mailing/bookings, so each gets every event. Two jobs of the same service share one mailbox, and the work.
const bus = await createBus({ service, leader: values.leader });
const subscriptions = await bus.register(new Handlers());
await bus.drain(); // resolves when nothing waits any more and everything that was handled is settled
console.log(`${service}: ${subscriptions.map(({ name }) => name).join(', ')} drained`);
await bus.close();
