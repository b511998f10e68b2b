import { yieldEvery } from '../harness/loop.ts';
import { serve } from '../harness/worker.ts';
import type { Contestant } from './contestant.ts';

// Loaded on demand: a process holds one library.
const contestants: Readonly<Record<string, () => Promise<Contestant>>> = {
  'mailvan emit': async () => (await import('./mailvan.ts')).mailvanEmit(),
  'mailvan publish': async () => (await import('./mailvan.ts')).mailvanPublish(),
  'moleculer emit': async () => (await import('./moleculer.ts')).moleculerEmit(),
  'moleculer awaited': async () => (await import('./moleculer.ts')).moleculerAwaited(),
  'nact dispatch': async () => (await import('./nact.ts')).nactDispatch(),
  'event emitter': async () => (await import('./event-emitter.ts')).eventEmitter(),
};

const open = contestants[process.argv[2] ?? ''];
if (open === undefined) throw new Error(`name one of: ${Object.keys(contestants).join(', ')}`);
const contestant = await open();

serve(
  {
    /** @returns how many messages take `roundTime` milliseconds. */
    async warmUp({ warmUp, roundTime }: { warmUp: number; roundTime: number }): Promise<number> {
      const end = performance.now() + warmUp;
      let count = 4 * yieldEvery;
      while (performance.now() < end) {
        const start = performance.now();
        await contestant.run(count);
        const rate = count / (performance.now() - start);
        count = Math.ceil((rate * roundTime) / yieldEvery) * yieldEvery;
      }
      return count;
    },
    /** @returns messages a second. */
    async round(count: number): Promise<number> {
      const start = performance.now();
      await contestant.run(count);
      return (count * 1_000) / (performance.now() - start);
    },
  },
  () => contestant.close(),
);
