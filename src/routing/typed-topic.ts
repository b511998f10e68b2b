import { BusError } from '../core/errors.ts';
import {
  checkSchema,
  refusedBy,
  type SchemaInput,
  type SchemaOutput,
  type StandardSchema,
  validated,
} from '../core/schema.ts';
import { checkTopic } from '../core/topic.ts';
import { Pattern } from './pattern.ts';

/**
 * A topic whose payloads are checked: by the publisher, which is refused what does not fit, and by each consumer that
 * subscribes by it, which gets what the schema makes of them. Made by {@link topic}; it stands wherever a topic or a pattern does.
 */
export class Topic<Input = unknown, Output = Input> {
  readonly name: string;
  readonly schema: StandardSchema<Input, Output>;
  /** Matches this topic and no other: for `spawn()` and `mailboxes.add()`, which take no schema. */
  readonly pattern: Pattern;

  /** @internal */
  constructor(name: string, schema: StandardSchema<Input, Output>) {
    this.name = name;
    this.schema = schema;
    this.pattern = new Pattern('string', name.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'), '');
  }

  toString(): string {
    return this.name;
  }
}

/** What can be published on. */
export type Destination = string | Topic;
/** What may be published there. */
export type PayloadFor<D> = D extends Topic<infer Input, unknown> ? Input : unknown;

/**
 * A topic with a schema: any validator that implements Standard Schema (zod, valibot, arktype, ...).
 *
 * A message carries what was published, not what the schema makes of it: each consumer that subscribes by the topic applies
 * the schema itself.
 *
 * @throws {BusError} `TOPIC_INVALID`, `OPTION_INVALID`.
 * @example
 * const created = topic('orders.created', z.object({ order: z.number() }));
 * await bus.subscribe(created, ({ payload }) => bill(payload.order));
 * await bus.publish(created, { order: 4711 });
 */
export function topic<S extends StandardSchema>(name: string, schema: S): Topic<SchemaInput<S>, SchemaOutput<S>> {
  checkTopic(name);
  checkSchema(`topic '${name}'`, schema);
  return new Topic(name, schema as StandardSchema<SchemaInput<S>, SchemaOutput<S>>); // which is what its types say
}

/** The name of what is published on; what is neither a topic nor a string is left to the router to refuse. */
export function nameOf(to: Destination): string {
  return to instanceof Topic ? to.name : to;
}

/**
 * Checks what is to be published.
 *
 * @returns a promise when the validator takes its time: it rejects as this throws.
 * @throws {BusError} `PAYLOAD_INVALID`.
 */
export function checkPayload(to: Destination, payload: unknown): Promise<void> | undefined {
  if (!(to instanceof Topic)) return undefined;
  const refused = (error: unknown): never => {
    throw refusedBy(to.name, error);
  };
  try {
    const fit = validated(to.schema, payload);
    return fit instanceof Promise ? fit.then(() => undefined, refused) : undefined;
  } catch (error) {
    return refused(error);
  }
}

/** As {@link checkPayload}, where nobody waits. @throws {BusError} `PAYLOAD_INVALID`, `OPTION_INVALID`. */
export function checkPayloadNow(to: Destination, payload: unknown): void {
  const checking = checkPayload(to, payload);
  if (checking === undefined) return;
  checking.catch(() => undefined); // nobody asks any more
  throw new BusError(
    'OPTION_INVALID',
    `the schema of topic '${nameOf(to)}' is asynchronous, and emit() does not wait: use publish()`,
  );
}
