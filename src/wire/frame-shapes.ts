import { about, placement, report } from './placement-entry.ts';
import {
  amount,
  anything,
  bytesOf,
  type Check,
  count,
  flag,
  listOf,
  long,
  mapOf,
  name,
  oneOf,
  optional,
  pattern,
  position,
  shapeOf,
  term,
  text,
} from './shapes.ts';

const epoch = shapeOf({ term, start: count });
const retry = shapeOf({ attempts: amount, delay: amount, factor: amount, maxDelay: amount, jitter: amount });
const outage = shapeOf({ failures: count, messages: count, grace: count });
const subscription = shapeOf({
  id: text,
  name: text,
  pattern,
  group: optional(text),
  retry,
});
/** What must stand in what a node knows of a durable subscription. */
export const durable = shapeOf({
  name: text,
  id: text,
  version: count,
  home: text,
  removed: flag,
  lost: optional(flag),
  pattern,
  policy: shapeOf({
    retry,
    outage: (value) => value === undefined || value === false || outage(value),
    limits: shapeOf({
      messages: count,
      bytes: count,
      age: (value) => value === undefined || count(value),
      overflow: oneOf('block', 'reject', 'drop-oldest', 'drop-newest'),
      deadLetters: flag,
    }),
    latestOnly: oneOf(true, false, 'topic'),
    filters: listOf(shapeOf({ maxSize: optional(count), minPeriod: optional(count) })),
    durability: oneOf('fsync', 'os'),
  }),
});
const member = { node: text, incarnation: text, link: count, address: optional(text) };
const greeting = {
  protocol: (value: unknown) => Array.isArray(value) && value.length === 2 && value.every(count),
  cluster: name,
  node: name,
  incarnation: name,
  epoch,
  maxFrame: count,
  nonce: bytesOf(16),
  address: optional(text),
  leader: optional(text),
  promote: optional(text),
  direct: optional(text),
};

/** What each frame must hold. Members that are not named here are let through: later versions add some. */
export const frameShapes = {
  hello: greeting,
  challenge: { ...greeting, proof: bytesOf(32) },
  proof: { proof: bytesOf(32) },
  welcome: { epoch },
  reject: { code: text, detail: text, leader: optional(text) },
  ping: { version: count },
  leave: {},
  join: {
    version: count,
    more: flag,
    subscriptions: listOf(subscription),
    durables: listOf(durable),
    placements: optional(listOf(placement)),
    about: optional(about),
    instances: optional(listOf(report)),
  },
  part: {
    version: count,
    add: listOf(subscription),
    remove: listOf(text),
    durables: listOf(durable),
    about: optional(about),
    instances: optional(listOf(report)),
  },
  synced: { version: count, denied: optional(listOf(text)) },
  snapshot: {
    epoch,
    version: count,
    settled: flag,
    members: listOf(shapeOf({ ...member, state: oneOf('alive', 'suspect'), subscriptions: listOf(subscription) })),
  },
  delta: {
    epoch,
    from: count,
    version: count,
    settled: flag,
    changes: listOf(
      shapeOf({
        ...member,
        state: oneOf('alive', 'suspect', 'down', 'left'),
        add: listOf(subscription),
        remove: listOf(text),
      }),
    ),
    durables: listOf(durable),
    placements: optional(listOf(placement)),
  },
  applied: { version: count },
  resync: {},
  open: {
    stream: count,
    target: text,
    incarnation: text,
    mailbox: text,
    source: text,
    origin: text,
    from: position,
    kept: optional(flag),
    moved: optional(flag),
    only: optional(flag),
    lasting: optional(flag),
    consumer: optional(text),
  },
  shut: { stream: count },
  request: { id: count, source: text, target: text, method: text, params: anything },
  reply: {
    id: count,
    target: text,
    error: optional(shapeOf({ code: text, message: long, reasons: optional(mapOf(text)) })),
  },
} satisfies Record<string, Record<string, Check>>;
