import {
  anything,
  type Check,
  count,
  flag,
  listOf,
  long,
  mapOf,
  oneOf,
  optional,
  type PatternEntry,
  pattern,
  position,
  shapeOf,
  text,
} from './shapes.ts';

/** What a capability can be. */
export type CapabilityValue = boolean | number | string;

/** What a node can do, by name. */
export type Capabilities = Readonly<Record<string, CapabilityValue>>;

/** What a capability has to be: equal to a value, or all of what is given here. */
export type Condition =
  | CapabilityValue
  | {
      /** A number of at least this. */
      readonly gte?: number;
      /** A number of at most this. */
      readonly lte?: number;
      /** One of these. */
      readonly in?: readonly CapabilityValue[];
      /** Whether the node has it at all. */
      readonly exists?: boolean;
    };

/** What a node says of itself to who places actors. */
export interface About {
  readonly capabilities: Capabilities;
  /** The kinds of handler actors that it can run. */
  readonly kinds: readonly string[];
  /** It is about to leave: nothing starts on it, and what runs on it moves. */
  readonly leaving: boolean;
}

/** What is to run, and where it may. */
export interface PlacementSpec {
  readonly kind: string;
  /** Left out: the actor takes no messages. */
  readonly pattern?: PatternEntry;
  readonly where: Readonly<Record<string, Condition>>;
  readonly instances: number;
  /** At most one instance for each node (`node`), or for each value of a capability. */
  readonly spread?: string;
  /** The only nodes on which it may run. */
  readonly pinned?: readonly string[];
  /** Never two of it at a time. */
  readonly singleton: boolean;
  readonly failover: 'auto' | 'manual';
  /** Whether an instance that fails is started again. */
  readonly restart: boolean;
  /** The durable subscription that its instances consume, as `<service>/<name>`. */
  readonly durable?: string;
  /** Of the consumers of each instance, and of the subscription where it is not durable. */
  readonly options: Readonly<Record<string, unknown>>;
  /** Encoded. */
  readonly args?: Uint8Array;
}

/** One instance of a placement: where it is to run. */
export interface Assignment {
  readonly instance: number;
  readonly node: string;
  /** The life of the node that it is given to. */
  readonly incarnation: string;
  /** Grows with each assignment of the placement: a higher one fences those before it. */
  readonly generation: number;
  /** `stopping`: it is to stop, and goes elsewhere when it has. */
  readonly state: 'starting' | 'running' | 'failed' | 'stopping';
  /** Which settings it has applied. */
  readonly settings: number;
  /** Why it failed. */
  readonly error?: string;
}

/** One placement as every node knows it. The leader alone writes it: the highest version counts. */
export interface PlacementEntry {
  /** Unique in the cluster. */
  readonly name: string;
  /** New at each creation; chosen by who asks for it. */
  readonly id: string;
  readonly version: number;
  readonly removed: boolean;
  readonly spec: PlacementSpec;
  /** The life of the node that it ends with; left out: it stays until it is stopped. */
  readonly owner?: { readonly node: string; readonly incarnation: string };
  /** The highest generation that was given. */
  readonly generation: number;
  /** What `tell()` said last, encoded. */
  readonly settings?: { readonly version: number; readonly value: Uint8Array };
  readonly assigned: readonly Assignment[];
}

/** What has become of an instance, as told by the node that it was given to. */
export interface InstanceReport {
  readonly id: string;
  readonly instance: number;
  readonly generation: number;
  readonly state: 'running' | 'failed' | 'stopped';
  readonly settings: number;
  readonly error?: string;
}

const value = (given: unknown): boolean =>
  typeof given === 'boolean' || (typeof given === 'string' && given.length <= 1024) || Number.isFinite(given);
const number = (given: unknown): boolean => Number.isFinite(given);
const condition: Check = (given) =>
  value(given) ||
  shapeOf({ gte: optional(number), lte: optional(number), in: optional(listOf(value)), exists: optional(flag) })(given);

/** What a node must say of itself. */
export const about = shapeOf({ capabilities: mapOf(value), kinds: listOf(text), leaving: flag });

/** The largest arguments, and the largest settings, of a placement: in bytes, encoded. */
export const largestData = 64 * 1024;
const data: Check = (given) => given instanceof Uint8Array && given.length <= largestData;

const assignment = shapeOf({
  instance: count,
  node: text,
  incarnation: text,
  generation: position,
  state: oneOf('starting', 'running', 'failed', 'stopping'),
  settings: count,
  error: optional(long),
});

/** How many instances a placement has at most. */
export const mostInstances = 1000;

/** What must stand in what a node knows of a placement. */
export const placement = shapeOf({
  name: text,
  id: text,
  version: position,
  removed: flag,
  owner: optional(shapeOf({ node: text, incarnation: text })),
  generation: position,
  settings: optional(shapeOf({ version: count, value: data })),
  assigned: listOf(assignment),
  spec: shapeOf({
    kind: text,
    pattern: optional(pattern),
    where: mapOf(condition),
    instances: (given) => count(given) && (given as number) <= mostInstances,
    spread: optional(text),
    pinned: optional(listOf(text)),
    singleton: flag,
    failover: oneOf('auto', 'manual'),
    restart: flag,
    durable: optional(text),
    options: mapOf(anything),
    args: optional(data),
  }),
});

/** What must stand in a report. */
export const report = shapeOf({
  id: text,
  instance: count,
  generation: position,
  state: oneOf('running', 'failed', 'stopped'),
  settings: count,
  error: optional(long),
});
