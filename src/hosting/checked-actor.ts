import { checkedHandler } from '../actors/checked-handler.ts';
import { checkSchema } from '../core/schema.ts';
import type { HandlerActor } from './kinds.ts';

/** An actor whose messages are checked by the schema that it has, if it has one. @throws {BusError} `OPTION_INVALID`. */
export function checkedActor(kind: string, actor: HandlerActor): HandlerActor {
  const { schema } = actor;
  if (schema === undefined) return actor;
  checkSchema(`the kind '${kind}'`, schema);
  const handle = checkedHandler(schema, (message, context) => actor.onMessage?.(message, context));
  return {
    ...(actor.onStart && { onStart: () => actor.onStart?.() }),
    ...(actor.onMessage && { onMessage: handle }),
    ...(actor.onTell && { onTell: (value: unknown) => actor.onTell?.(value) }),
    ...(actor.onStop && { onStop: () => actor.onStop?.() }),
  };
}
