/** Handles what is published and says so; what ends it is told, too. */
export default async (bus) => {
  const say = (text) => process.stdout.write(`${text}\n`);
  await bus.subscribe('work', ({ payload }) => say(`handled ${payload}`), { name: 'work' });
  await bus.subscribe('crash', () => process.abort(), { name: 'crash' });
  say(`started by ${process.env.MAILVAN_DETACHED === undefined ? 'nobody' : 'somebody'}`);
  return () => say('the module has ended');
};
