import type { Message } from '../core/message.ts';
import { type Fit, type StandardSchema, validated } from '../core/schema.ts';
import type { Context } from './delivery.ts';
import type { Handler } from './subscriber-options.ts';

/**
 * A handler that gets what a schema makes of each payload. What does not fit it is a `SchemaError`, and the handler is not
 * called; what the validator throws fails the attempt, as if the handler had thrown it.
 */
export function checkedHandler(schema: StandardSchema, handler: Handler): Handler {
  return (message, context) => {
    const fit = validated(schema, message.payload);
    if (fit instanceof Promise) return whenChecked(handler, message, fit, context);
    return handler(fitting(message, fit), context);
  };
}

async function whenChecked(
  handler: Handler,
  message: Message,
  checking: Promise<Fit>,
  context: Context,
): Promise<unknown> {
  const fit = await checking;
  if (context.signal.aborted) return undefined; // its time was up meanwhile
  return handler(fitting(message, fit), context);
}

/** A message with what a schema has made of its payload. */
export function fitting(message: Message, { value }: Fit): Message {
  return value === message.payload ? message : message.withPayload(value);
}
