import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

const step = 50; // milliseconds
/** At rest: no more than this part of the processors is busy. */
const idle = 0.1;

/**
 * Waits until the machine is at rest, for so many milliseconds at most: what took part in the round before may still be tidying
 * up, a server its files or a store its tables, and would take it out of somebody else's round. Where there is no
 * `/proc/stat` it only waits for a moment.
 */
export async function rest(most: number): Promise<void> {
  const end = performance.now() + most;
  for (let before = await read(); performance.now() < end; ) {
    await sleep(step);
    const now = await read();
    if (now.busy - before.busy <= idle * (now.all - before.all)) return;
    before = now;
  }
}

/** In ticks, since the start. */
async function read(): Promise<{ all: number; busy: number }> {
  const text = await readFile('/proc/stat', 'utf8').catch(() => '');
  const ticks = /^cpu +(.*)$/m.exec(text)?.[1]?.split(' ').map(Number);
  const [user = 0, nice = 0, system = 0, idle = 0, waiting = 0] = ticks ?? [];
  const busy = user + nice + system;
  return { all: busy + idle + waiting, busy };
}
