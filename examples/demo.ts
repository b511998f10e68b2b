// `npm run demo`: a leader, two consumers with different patterns and a producer, each a process of its own. One consumer is
// killed while messages flow, stays away for a while, and is started again. At the end a table says who got what, and the
// sums are checked: exit code 1 when they do not add up. `--brief` sends fewer messages.
import { Cast } from './demo/cast.ts';
import { type Consumer, Ledger, type Phase } from './demo/ledger.ts';
import type { Order } from './demo/report.ts';
import { summaryOf } from './demo/summary.ts';

const brief = process.argv.includes('--brief');
const each = brief ? 200 : 800; // messages in each phase
const interval = brief ? 1 : 4; // milliseconds from one to the next
const before: Phase = { title: 'before the kill', from: 1, to: each };
const during: Phase = { title: 'killed', from: each + 1, to: 2 * each };
const after: Phase = { title: 'restarted', from: 2 * each + 1, to: 3 * each };
const phases = [before, during, after];
const shipping = { name: 'shipping', pattern: 'orders\\..*' };
const accounting = { name: 'accounting', pattern: '(orders|payments)\\..*' };

const ledger = new Ledger();
const cast = new Cast(AbortSignal.timeout(55_000), (who, report) => {
  ledger.hear(who, report);
  if (report.type === 'event' && who === 'leader') console.log(`    [${report.event}] ${report.node}`);
});

console.log('Starting a leader, two consumers and a producer: four processes.');
const { address } = await cast.start('leader', 'leader.ts');
const enter = ({ name, pattern }: Consumer) => cast.start(name, 'consumer.ts', name, pattern, address);
const [victim] = await Promise.all([enter(shipping), enter(accounting)]);
const producer = await cast.start('producer', 'producer.ts', address);

/** Resolves when the producer has sent them; their receipts may still be under way. */
async function publish({ from, to }: Phase): Promise<void> {
  producer.child.send({ from, to, interval } satisfies Order);
  await cast.until(`${to} messages are sent`, () => ledger.sent === to);
}

const isSettled = (phase: Phase, ...consumers: Consumer[]): boolean =>
  ledger.receipts.size === phase.to && consumers.every((consumer) => ledger.owed(consumer, phase) === 0);

console.log(`Publishing ${each} messages to everybody.`);
await publish(before);
await cast.until('all of them are handled', () => isSettled(before, shipping, accounting));

console.log(`Publishing ${each} more, and killing ${shipping.name} (SIGKILL) while they flow.`);
const published = publish(during);
await cast.until('a quarter of them is out', () => ledger.receipts.size >= during.from + each / 4);
await cast.kill(victim.child);
await published;

console.log(`Starting ${shipping.name} again, and publishing the last ${each}.`);
await enter(shipping);
await publish(after);
await cast.until(
  'all of them are handled',
  () => ledger.owed(accounting, during) === 0 && isSettled(after, shipping, accounting),
);
await cast.end();

const { lines, problems } = summaryOf(ledger, phases, during, shipping, accounting);
for (const line of lines) console.log(line);
process.exitCode = problems.length > 0 ? 1 : 0;
