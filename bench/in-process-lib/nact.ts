import { dispatch, spawn, start, stop } from 'nact';
import { turn, until, yieldEvery } from '../harness/loop.ts';
import { orderOf } from '../harness/payload.ts';
import type { Contestant } from './contestant.ts';

export async function nactDispatch(): Promise<Contestant> {
  const system = start();
  let seen = 0;
  const counter = spawn(
    system,
    (state: object, _message: Record<string, unknown>) => {
      seen++;
      return state;
    },
    'counter',
    { initialState: {} },
  );
  return {
    close: async () => stop(system),
    async run(count) {
      seen = 0;
      for (let i = 1; i <= count; i++) {
        dispatch(counter, orderOf(i));
        if (i % yieldEvery === 0) await turn();
      }
      await until(
        () => seen === count,
        () => `${seen} of ${count} handled`,
      );
    },
  };
}
