// What publishers and subscribers have in common: which queues there are. Declaring one that exists is harmless.
export const queues = [
  { name: 'sub-1', durable: true },
  // A high-water mark: beyond it the oldest go.
  { name: 'sub-2', durable: true, limits: { messages: 100, overflow: 'drop-oldest' } },
] as const;
