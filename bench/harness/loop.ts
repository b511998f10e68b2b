/** After how many messages every contestant lets the event loop turn. */
export const yieldEvery = 1024;

/** One turn of the event loop: the same way for every contestant. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/** Turns the event loop until `done` says so. @throws after `timeout` milliseconds, with what `describe` says. */
export async function until(done: () => boolean, describe: () => string, timeout = 30_000): Promise<void> {
  const end = performance.now() + timeout;
  while (!done()) {
    if (performance.now() > end) throw new Error(`${describe()} after ${timeout} ms`);
    await turn();
  }
}
