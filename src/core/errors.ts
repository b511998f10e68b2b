/**
 * Every failure that a caller can see, by its stable code. The value says whether repeating the same call can help
 * without changing it. Each code is a heading of `docs/errors.md`; a test compares the two.
 */
export const errorCodes = {
  OPTION_INVALID: false,
  TOPIC_INVALID: false,
  PATTERN_INVALID: false,
  PAYLOAD_INVALID: false,
  PAYLOAD_TOO_LARGE: false,
  NAME_INVALID: false,
  NAME_TAKEN: false,
  NOT_FOUND: false,
  NO_SUBSCRIBERS: true,
  MAILBOX_FULL: true,
  TIMEOUT: true,
  ABORTED: false,
  CLOSED: false,
  STORE_REQUIRED: false,
  STORE_LOCKED: false,
  STORE_FULL: true,
  STORE_FAILED: true,
  STORE_CORRUPT: false,
  ADDRESS_IN_USE: false,
  NO_LEADER: true,
  NODE_UNREACHABLE: true,
  HANDSHAKE_REFUSED: false,
  PROTOCOL_ERROR: false,
  UNPLACEABLE: true,
  DENIED: false,
  INTERNAL: false,
} as const;

/** The stable code of a {@link BusError}. */
export type ErrorCode = keyof typeof errorCodes;

/** What a {@link BusError} can carry beside its code and text. */
export interface BusErrorDetails {
  /** What brought it about. */
  cause?: unknown;
  /** Which routes of a publish have the message, and under which id the rest can be completed. */
  receipt?: Receipt;
  /** Why each failed route of a publish failed. */
  failures?: readonly RouteFailure[];
  /** What became of each message of a `publishMany()`, in its order. */
  results?: readonly (Receipt | BusError)[];
  /** Why something cannot run on a node, by node. */
  reasons?: Readonly<Record<string, string>>;
  /** Why a payload does not fit the schema of its topic. */
  issues?: readonly SchemaIssue[];
}

/** One reason why a payload does not fit a schema. */
export interface SchemaIssue {
  /** Where, as in `payload.items[3].price`. */
  readonly path: string;
  /** What the validator says. */
  readonly message: string;
}

/** Why one route of a publish did not take the message. */
export interface RouteFailure {
  /** The subscription's name. */
  subscription: string;
  /** The node that the subscription runs on. */
  node: string;
  /** `MAILBOX_FULL`, `DENIED`, `TIMEOUT` or `NODE_UNREACHABLE`. */
  code: ErrorCode;
}

/** What `publish()` resolves to. */
export interface Receipt {
  /** The message's id: repeat a failed publish under it. */
  id: string;
  /** How many routes matched the topic. */
  matched: number;
  /** How many durable mailboxes confirmed. */
  stored: number;
  /** How many durable mailboxes the local spool stood in for. */
  spooled: number;
  /** The weakest durability among the durable mailboxes; `'memory'` when none matched. */
  level: 'memory' | 'os' | 'fsync';
  /** The subscriptions, as `node/name`, that matched and could not be reached. */
  unreachable: string[];
}

/** The one error class of the public API. */
export class BusError extends Error {
  override readonly name = 'BusError';
  /** A stable code: a heading of `docs/errors.md`. */
  readonly code: ErrorCode;
  /** Whether the same call may succeed when it is repeated unchanged. */
  readonly retryable: boolean;
  /** On a failed publish: which routes have the message. */
  declare readonly receipt?: Receipt;
  /** On a failed publish: why each failed route failed. */
  declare readonly failures?: readonly RouteFailure[];
  /** On a failed `publishMany()`: what became of each message, in its order. */
  declare readonly results?: readonly (Receipt | BusError)[];
  /** On `UNPLACEABLE`: why not, by node. */
  declare readonly reasons?: Readonly<Record<string, string>>;
  /** On `PAYLOAD_INVALID` by a schema: the first 20 reasons. */
  declare readonly issues?: readonly SchemaIssue[];

  constructor(code: ErrorCode, message: string, details: BusErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.retryable = errorCodes[code];
    if (details.receipt !== undefined) this.receipt = details.receipt;
    if (details.failures !== undefined) this.failures = details.failures;
    if (details.results !== undefined) this.results = details.results;
    if (details.reasons !== undefined) this.reasons = details.reasons;
    if (details.issues !== undefined) this.issues = details.issues;
  }
}

/**
 * Thrown by a handler to give a message up at once: it goes to the dead letters without another attempt.
 *
 * @example throw new PermanentError('no such order')
 */
export class PermanentError extends Error {
  override readonly name: string = 'PermanentError';
}

/** A payload does not fit the schema of its consumer: no attempt will ever succeed. */
export class SchemaError extends PermanentError {
  override readonly name = 'SchemaError';
  readonly issues: readonly SchemaIssue[];

  constructor(message: string, issues: readonly SchemaIssue[]) {
    super(message);
    this.issues = issues;
  }
}

/** Any thrown value as an `Error`, so that what is stored and logged has a name and a message. */
export function toError(thrown: unknown): Error {
  if (isA(Error, thrown)) return thrown;
  return new Error(typeof thrown === 'string' ? thrown : `thrown: ${describe(thrown)}`);
}

/** Whether a handler has said that no attempt will ever succeed. */
export function isPermanent(thrown: unknown): boolean {
  return isA(PermanentError, thrown);
}

/** Whether a handler was not called because the payload does not fit. */
export function isUnfit(thrown: unknown): boolean {
  return isA(SchemaError, thrown);
}

/** `instanceof`, for values that may not want to be asked: a Proxy can throw. */
function isA<T>(kind: abstract new (...args: never[]) => T, value: unknown): value is T {
  try {
    return value instanceof kind;
  } catch {
    return false;
  }
}

/** A value named for an error text: its kind, and a short form of it. */
export function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 80 ? `${value.slice(0, 77)}...` : value);
  if (value === null || typeof value !== 'object') {
    return typeof value === 'function' ? 'a function' : typeof value === 'bigint' ? `${value}n` : String(value);
  }
  try {
    if (Array.isArray(value)) return `an array of ${value.length}`;
    const name: unknown = Object.getPrototypeOf(value)?.constructor?.name;
    return typeof name === 'string' && name !== 'Object' ? `an instance of ${name}` : 'an object';
  } catch {
    return 'an object';
  }
}
