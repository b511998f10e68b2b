// The leader: it keeps the member list and relays; it subscribes nothing itself.
import { createBus } from 'mailvan';
import { attach, quiet } from './report.ts';

attach(await createBus({ node: 'leader', leader: true, listen: 'tcp://127.0.0.1:0', logger: quiet })); // port 0: any free one
