export type { Clock, Timer } from '../core/clock.ts';
export { VirtualClock } from '../core/virtual-clock.ts';
export { MemoryStore } from '../storage/memory.ts';
export type { KeyRange, Store, StoreOperation } from '../storage/store.ts';
export { MemoryNetwork, type MemoryNetworkOptions, MemoryTransport } from '../transport/memory.ts';
export type { Connection, ConnectionEvents, Listener, Transport } from '../transport/transport.ts';
export { type BusFixture, busSuite } from './bus-suite.ts';
export { TestCluster, type TestClusterOptions } from './cluster.ts';
export { Disk, FaultySource } from './disk.ts';
export { type AnyMailbox, type CreateMailbox, mailboxSuite } from './mailbox-suite.ts';
export { PromiseScenario } from './promises.ts';
export {
  type FaultKind,
  faultKinds,
  type Scenario,
  type SimulatedLife,
  type SimulatedNode,
  Simulation,
  type SimulationOptions,
  type SimulationResult,
  simulate,
} from './simulation.ts';
export { type StoreFixture, storeSuite } from './store-suite.ts';
export { type TransportFixture, transportSuite } from './transport-suite.ts';
