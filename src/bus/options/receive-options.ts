import { checkKnown, checkNumber, checkObject } from '../../core/checks.ts';
import { BusError, describe } from '../../core/errors.ts';
import { checkSchema, type StandardSchema } from '../../core/schema.ts';

const day = 86_400_000;

/** What `receive()` and `receiveLatest()` take beside the name. */
export interface ReceiveOptions<T = unknown> {
  /**
   * How long to wait for a message, in milliseconds; 0 takes one only when there is one. @default 30_000, as everywhere:
   * a loop that forgets it waits, and does not spin.
   */
  timeout?: number;
  /** How long the delivery may stay unsettled, in milliseconds, before it has failed. @default the subscription's `timeout` */
  attemptTimeout?: number;
  /** Gives up: the call rejects with `ABORTED`, and no message is taken. */
  signal?: AbortSignal;
  /**
   * Any validator that implements Standard Schema: the delivery has what it makes of the payload. What does not fit becomes a
   * dead letter, with the reason `invalid`, and the next message is waited for. @default none
   */
  schema?: StandardSchema<unknown, T>;
}

/** What `front()` takes beside the name. */
export type FrontOptions<T = unknown> = Pick<ReceiveOptions<T>, 'schema'>;

/** What a receiver asks for, every default filled in. */
export interface Wanted {
  readonly timeout: number;
  readonly attemptTimeout: number | undefined;
  readonly signal: AbortSignal | undefined;
  readonly newest: boolean;
  readonly schema: StandardSchema | undefined;
}

/** @throws {BusError} `OPTION_INVALID`. */
export function resolveReceive(what: 'receive()' | 'receiveLatest()', options: ReceiveOptions): Wanted {
  checkObject(`${what} options`, options);
  checkKnown(what, options, ['timeout', 'attemptTimeout', 'signal', 'schema']);
  const { signal, attemptTimeout, schema } = options;
  if (schema !== undefined) checkSchema(what, schema);
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw new BusError('OPTION_INVALID', `${what}: signal ${describe(signal)} must be an AbortSignal`);
  }
  return {
    timeout: checkNumber(`${what}: timeout`, options.timeout, 30_000, { min: 0, max: day }),
    attemptTimeout:
      attemptTimeout === undefined
        ? undefined
        : checkNumber(`${what}: attemptTimeout`, attemptTimeout, day, { min: 1, max: day }),
    signal,
    newest: what === 'receiveLatest()',
    schema,
  };
}

/** @throws {BusError} `OPTION_INVALID`. */
export function checkFront(options: FrontOptions): FrontOptions {
  checkObject('front() options', options);
  checkKnown('front()', options, ['schema']);
  if (options.schema !== undefined) checkSchema('front()', options.schema);
  return options;
}
