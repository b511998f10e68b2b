/** Does not end by itself. */
export default (context) => ({
  onStart: () => context.publish('pid', process.pid),
  onMessage: () => {
    for (;;);
  },
});
