import { EventEmitter } from 'node:events';
import { turn, until, yieldEvery } from '../harness/loop.ts';
import { orderOf, topic } from '../harness/payload.ts';
import type { Contestant } from './contestant.ts';

export async function eventEmitter(): Promise<Contestant> {
  const emitter = new EventEmitter();
  let seen = 0;
  emitter.on(topic, () => {
    seen++;
  });
  return {
    close: async () => emitter.removeAllListeners(),
    async run(count) {
      seen = 0;
      for (let i = 1; i <= count; i++) {
        emitter.emit(topic, orderOf(i));
        if (i % yieldEvery === 0) await turn();
      }
      await until(
        () => seen === count,
        () => `${seen} of ${count} handled`,
      );
    },
  };
}
