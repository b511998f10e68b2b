/** Defines subscriptions for `mailvan run`. */
export default async (bus) => {
  await bus.subscribe('orders\\..*', () => {}, { name: 'orders' });
  // Its mailbox takes one message beside the one that is never finished.
  await bus.subscribe('stuck', () => new Promise(() => {}), { name: 'stuck', limits: { messages: 1 } });
  await bus.subscribe('full', () => new Promise(() => {}), {
    name: 'full',
    limits: { messages: 1, overflow: 'reject' },
  });
  return () => process.stdout.write('the module has ended\n');
};
