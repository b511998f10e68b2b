import { rest } from './rest.ts';

/** One who takes part, and what is measured of it in one round. */
export interface Contestant<T> {
  measure(): Promise<T>;
}

/**
 * Measures every contestant once a round. The order is turned round after each, so that nobody always runs first, when a
 * machine may still be slow to wake, or behind the same neighbour. Each waits until the machine is at
 * rest, for so many milliseconds at most.
 *
 * @returns per contestant, in the order given, what was measured in each round.
 */
export async function alternate<T>(
  contestants: readonly Contestant<T>[],
  rounds: number,
  patience: number,
): Promise<T[][]> {
  const measured = contestants.map((): T[] => []);
  for (let round = 0; round < rounds; round++) {
    const order = [...contestants.keys()];
    if (round % 2 === 1) order.reverse();
    for (const i of order) {
      await rest(patience);
      measured[i]?.push(await (contestants[i] as Contestant<T>).measure());
    }
  }
  return measured;
}
