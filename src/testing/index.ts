export { VirtualClock } from '../core/virtual-clock.ts';
export { MemoryNetwork, type MemoryNetworkOptions, MemoryTransport } from '../transport/memory.ts';
export type { Connection, ConnectionEvents, Listener, Transport } from '../transport/transport.ts';
export { TestCluster, type TestClusterOptions } from './cluster.ts';
export { type TransportFixture, transportSuite } from './transport-suite.ts';
