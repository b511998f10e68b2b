/** Defines kinds of handler actors for `mailvan run`: what they do is told on stdout, one line each. */
export default (bus) => {
  const say = (text) => process.stdout.write(`${text}\n`);
  bus.handlers.define('idle', () => ({}));
  bus.handlers.define('writer', ({ placement, instance, args }) => ({
    onStart: () => say(`${placement}.${instance} starts with ${JSON.stringify(args)}`),
    onMessage: async ({ payload }) => {
      await new Promise((done) => setTimeout(done, 2));
      say(`handled ${payload}`);
    },
    onStop: () => say(`${placement}.${instance} stops`),
  }));
  return () => say('the module has ended');
};
