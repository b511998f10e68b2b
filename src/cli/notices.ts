import type { Bus } from '../bus/bus.ts';
import type { Terminal } from './terminal.ts';

/** Tells, beside the results, what whoever runs a command should know: that the leader is away, that messages were lost. */
export function watch(bus: Bus, terminal: Terminal): void {
  let lost: string | undefined;
  bus.on('leader.lost', ({ type, node, reason }) => {
    lost = node;
    terminal.note(`the leader ${node} is lost (${reason}); trying to reach it again`, { event: type, node, reason });
  });
  bus.on('leader.found', ({ type, node, epoch }) => {
    const text = node === lost ? `the leader ${node} is back` : `${node} leads now`;
    terminal.note(text, { event: type, node, epoch });
  });
  bus.on('message.dead', ({ type, subscription, id, topic, attempts, error }) => {
    const tries = `${attempts} attempt${attempts === 1 ? '' : 's'}`;
    const text = `${subscription} gave up ${id} on '${topic}' after ${tries}: ${error.message}`;
    terminal.note(text, { event: type, subscription, id, topic, attempts, reason: error.message });
  });
  bus.on('message.dropped', ({ type, subscription, node, count, reason }) => {
    const text = `${count} message${count === 1 ? '' : 's'} for ${node}/${subscription} were dropped (${reason})`;
    terminal.note(text, { event: type, subscription, node, count, reason });
  });
  bus.on('subscription.quarantined', ({ type, subscription, reason }) =>
    terminal.note(`${subscription} is paused for good: ${reason}`, { event: type, subscription, reason }),
  );
  bus.on('subscription.probing', ({ type, subscription, failures, since }) => {
    const text = `${subscription}: the last ${failures} attempts have failed; messages are tried one at a time now`;
    terminal.note(text, { event: type, subscription, failures, since });
  });
  bus.on('subscription.recovered', ({ type, subscription, failures, after }) => {
    const text = `${subscription} is handled again, after ${failures} failed attempts in ${Math.round(after / 1000)} s`;
    terminal.note(text, { event: type, subscription, failures, after });
  });
}
