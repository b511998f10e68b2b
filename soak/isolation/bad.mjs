/** Blocks, leaks or ends its process, as its placement says; a message that says so is handled in order. */
export default ({ args: fault }) => {
  const kept = [];
  return {
    onMessage: ({ payload }) => {
      if (payload === 'good') return;
      if (fault === 'spins') for (;;);
      if (fault === 'leaks') for (;;) kept.push(new Array(1000).fill(kept.length));
      process.exit(3);
    },
  };
};
