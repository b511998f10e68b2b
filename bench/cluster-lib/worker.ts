import { turn } from '../harness/loop.ts';
import { serve } from '../harness/worker.ts';
import { LargeCluster } from './large.ts';

/** How much is measured. */
export interface Size {
  /** All nodes, the leader included. */
  readonly nodes: number;
  readonly subscriptions: number;
  /** How often somebody subscribes once more. */
  readonly changes: number;
}

/** What is measured of a cluster of one size. Bytes and frames of both directions. */
export interface Figures {
  /** Of the heap: the leader's registry with what it keeps of its members, and the copy of one member. */
  readonly leaderHeap: number;
  readonly memberHeap: number;
  /** One more subscription: on all links, and on that of one member. */
  readonly changeBytes: number;
  readonly changeFrames: number;
  readonly memberChangeBytes: number;
  /** One more node: on its own link, and on all others. */
  readonly joinBytes: number;
  readonly joinFrames: number;
  readonly othersBytes: number;
  readonly othersFrames: number;
  /** How long the leader works for one more subscription, in milliseconds: the lower quartile. */
  readonly changeTime: number;
}

async function heap(): Promise<number> {
  await turn(); // what is over has let go of everything
  if (globalThis.gc === undefined) throw new Error('node must be started with --expose-gc');
  for (let i = 0; i < 3; i++) globalThis.gc();
  return process.memoryUsage().heapUsed;
}

async function measure({ nodes, subscriptions, changes }: Size): Promise<Figures> {
  // All code has run, and been compiled, before the heap is looked at.
  const small = new LargeCluster();
  await small.begin(subscriptions);
  for (let i = 0; i < 100; i++) small.add(`warm${i}`, subscriptions);
  small.watch('warm', subscriptions);
  for (let i = 0; i < 100; i++) small.subscribe('warm0', subscriptions + i);

  const before = await heap();
  const cluster = new LargeCluster();
  await cluster.begin(subscriptions);
  for (let i = 2; i < nodes; i++) cluster.add(`n${i}`, subscriptions);
  const built = await heap();
  const join = cluster.watch('n1', subscriptions);
  const held = await heap();
  const made = Array.from({ length: changes }, (_, i) => cluster.subscribe('n2', subscriptions + i));
  cluster.check();
  small.check();
  const [last] = made.slice(-1);
  if (last === undefined) throw new Error('nothing was changed');
  const times = made.map(({ worked }) => worked).sort((a, b) => a - b);
  return {
    leaderHeap: built - before,
    memberHeap: held - built,
    changeBytes: last.own.bytes + last.others.bytes,
    changeFrames: last.own.frames + last.others.frames,
    memberChangeBytes: last.own.bytes,
    joinBytes: join.own.bytes,
    joinFrames: join.own.frames,
    othersBytes: join.others.bytes,
    othersFrames: join.others.frames,
    changeTime: times[times.length >> 2] ?? Number.NaN,
  };
}

serve({ measure }, async () => undefined);
