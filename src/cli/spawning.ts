import type { ArgsDef } from 'citty';
import type { SpawnOptions } from '../bus/options/spawn-options.ts';
import { wildcard } from '../routing/pattern.ts';
import { type GivenArguments, readCount, readDuration } from './arguments.ts';
import { whereOf } from './constraints.ts';
import { misuse } from './failure.ts';

/** What `actors spawn` takes beside the kind, and `explain` as far as it says where something may run. */
export const spawnArguments = {
  name: { type: 'string', valueHint: 'name', description: 'For spawn: what it is called; unique in the cluster' },
  pattern: {
    type: 'string',
    valueHint: 'pattern',
    description: 'Which topics it gets: a regular expression that must match the whole topic (else none)',
  },
  wildcard: { type: 'boolean', description: 'The pattern is an AMQP wildcard: * is a word, # any number of them' },
  where: {
    type: 'string',
    valueHint: 'condition',
    description: "What its node must have: k=v, k=a|b, 'k>=n', 'k<=n', k, or '!k' for not; may be repeated",
  },
  instances: { type: 'string', valueHint: 'n', description: 'How many of it run (else 1)' },
  spread: {
    type: 'string',
    valueHint: 'capability',
    description: "At most one for each value of this capability; 'node': for each node",
  },
  pinned: { type: 'string', valueHint: 'a,b', description: 'The only nodes on which it may run' },
  singleton: { type: 'boolean', description: 'Never two of it at a time' },
  failover: {
    type: 'string',
    valueHint: 'word',
    description: "Of a singleton whose node is down: auto, or manual, which waits for 'rebalance --lost' (else auto)",
  },
  durable: { type: 'boolean', description: 'For spawn: its messages wait on disk, whoever is away' },
  service: {
    type: 'string',
    valueHint: 'name',
    description: 'With --durable: whose subscription it is (else default)',
  },
  args: { type: 'string', valueHint: 'json', description: 'For spawn: JSON that is handed to every instance' },
  pending: { type: 'boolean', description: 'For spawn: what fits nowhere now waits for a node' },
  wait: { type: 'string', valueHint: 'time', description: 'For spawn: how long until all have started (else 30s)' },
} as const satisfies ArgsDef;

/** The options that say where something may run. */
export const constraintOptions = [
  'name',
  'pattern',
  'wildcard',
  'where',
  'instances',
  'spread',
  'pinned',
  'singleton',
  'failover',
  'durable',
  'service',
];

/** The others. */
export const spawnOptions = ['args', 'pending', 'wait'];

type Given = { readonly [K in keyof typeof spawnArguments]?: string | boolean | undefined };

/** What was given, as `spawn()` takes it, which checks it. @throws {Failure} with exit code 2. */
export function spawnOptionsOf(args: Given, given: GivenArguments): SpawnOptions {
  const {
    name,
    pattern,
    instances,
    spread,
    pinned,
    failover,
    args: json,
    wait,
  } = args as Record<keyof Given, string | undefined>;
  if (args.wildcard === true && pattern === undefined) throw misuse('--wildcard is for --pattern');
  return {
    ...(name === undefined ? {} : { name }),
    ...(pattern === undefined ? {} : { pattern: args.wildcard === true ? wildcard(pattern) : pattern }),
    where: whereOf(given.values('where')),
    ...(instances === undefined ? {} : { instances: readCount('--instances', instances, 1) }),
    ...(spread === undefined ? {} : { spread }),
    ...(pinned === undefined ? {} : { pinned: pinned.split(',').map((node) => node.trim()) }),
    ...(args.singleton === true ? { singleton: true } : {}),
    ...(failover === undefined ? {} : { failover: failover as 'auto' | 'manual' }), // spawn() checks it
    ...(args.durable === true ? { durable: true } : {}),
    ...(json === undefined ? {} : { args: parsed(json) }),
    ...(args.pending === true ? { pending: true } : {}),
    ...(wait === undefined ? {} : { wait: readDuration('--wait', wait) }),
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw misuse(`--args: ${(error as Error).message}`, `quote it for the shell, as in --args '{"table": "orders"}'`); // JSON.parse's
  }
}
