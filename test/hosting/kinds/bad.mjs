/** Does to its process what each message says. */
export default function bad(context) {
  let told;
  const kept = [];
  return {
    onTell: (value) => {
      told = value;
    },
    onMessage: async ({ payload }, given) => {
      const what = payload.do;
      if (what === 'spin') for (;;);
      if (what === 'term and spin') {
        given.term('not wanted');
        for (;;);
      }
      if (what === 'exit') process.exit(3);
      if (what === 'throw later') {
        setTimeout(() => {
          throw new TypeError('nobody catches this');
        }, 1);
        await new Promise(() => {});
      }
      if (what === 'leak') for (;;) kept.push(new Array(1000).fill(kept.length));
      if (what === 'leak buffers') {
        for (;;) {
          kept.push(Buffer.alloc(8 * 1024 * 1024, 1));
          await new Promise((done) => setTimeout(done, 5));
        }
      }
      if (what === 'wait') await new Promise((done) => setTimeout(done, payload.ms));
      await context.publish('did', { what, n: payload.n, told, pid: process.pid, generation: context.generation });
    },
  };
}
