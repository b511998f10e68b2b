import { BusError, type ErrorCode, toError } from '../core/errors.ts';

/** What the exit code of a command says. */
export const exitCodes = { ok: 0, failed: 1, usage: 2, connect: 3, noSubscribers: 5, timeout: 6, damaged: 7 } as const;

/** The number that a process ends with. */
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** What a {@link Failure} is made of. */
export interface FailureFacts {
  readonly code: string;
  readonly message: string;
  readonly exitCode: ExitCode;
  /** What to do next. */
  readonly hint?: string | undefined;
  /** More, for `--json`. */
  readonly details?: Record<string, unknown>;
  /** The stack, for whoever wrote the code that failed; our own would tell a user nothing. */
  readonly trace?: string | undefined;
}

/** An end that is not the one that was asked for, ready to be told. */
export class Failure extends Error {
  override readonly name = 'Failure';
  readonly code: string;
  readonly exitCode: ExitCode;
  readonly hint: string | undefined;
  readonly details: Record<string, unknown>;
  readonly trace: string | undefined;

  constructor({ code, message, exitCode, hint, details, trace }: FailureFacts) {
    super(message);
    this.code = code;
    this.exitCode = exitCode;
    this.hint = hint;
    this.details = details ?? {};
    this.trace = trace;
  }
}

/** The same failure with another hint. */
export function rehinted(failure: Failure, hint: string): Failure {
  const { code, message, exitCode, details, trace } = failure;
  return new Failure({ code, message, exitCode, hint, details, trace });
}

/** The command was not called as it should be. */
export function misuse(message: string, hint?: string): Failure {
  return new Failure({ code: 'USAGE', message, exitCode: exitCodes.usage, hint });
}

const exits: Partial<Record<ErrorCode, ExitCode>> = {
  OPTION_INVALID: exitCodes.usage,
  TOPIC_INVALID: exitCodes.usage,
  PATTERN_INVALID: exitCodes.usage,
  NAME_INVALID: exitCodes.usage,
  NO_LEADER: exitCodes.connect,
  NODE_UNREACHABLE: exitCodes.connect,
  HANDSHAKE_REFUSED: exitCodes.connect,
  NO_SUBSCRIBERS: exitCodes.noSubscribers,
  TIMEOUT: exitCodes.timeout,
};

const hints: Partial<Record<ErrorCode, string>> = {
  TOPIC_INVALID: 'a topic is 1 to 255 bytes of text without control characters, and does not start with $',
  PATTERN_INVALID:
    "a pattern is a regular expression that must match the whole topic, such as 'orders\\..*'; see --wildcard",
  NAME_TAKEN: 'choose another --node, or stop the process that bears this name',
  NO_LEADER: "is a leader running there? Start one by 'mailvan run --lead <module>', or name another by --leader",
  NODE_UNREACHABLE: "'mailvan status' shows who can be reached; repeat the command when they are back",
  HANDSHAKE_REFUSED: 'give the --secret, the --cluster and for tls:// the --tls-… that the leader takes',
  NO_SUBSCRIBERS: "start a subscriber, as by 'mailvan sub <pattern>', or allow none by --at-least 0",
  MAILBOX_FULL: "a subscriber is behind: 'mailvan status' shows which; repeat the command when it has caught up",
  TIMEOUT: "give it longer by --timeout, or look who is behind by 'mailvan status'",
  PAYLOAD_TOO_LARGE: 'a payload takes at most 1 MiB: split it, or send a reference to it',
  UNPLACEABLE:
    "change what it asks for, or have a node define the kind; 'mailvan nodes ls' shows what there is, --pending waits for it",
  ADDRESS_IN_USE: 'another process listens there: stop it, or choose another --listen (port 0 takes a free one)',
};

/** Anything that was thrown, as a failure. @param exitCode instead of the one that its code stands for. */
export function failureOf(thrown: unknown, exitCode?: ExitCode): Failure {
  if (thrown instanceof Failure) return thrown;
  const error = toError(thrown);
  if (!(error instanceof BusError)) {
    return new Failure({ code: 'FAILED', message: error.message, exitCode: exitCodes.failed, trace: error.stack });
  }
  const { code, message, retryable, receipt, failures, reasons } = error;
  return new Failure({
    code,
    message: `${message} [${code}]`,
    exitCode: exitCode ?? exits[code] ?? exitCodes.failed,
    hint: hints[code],
    details: {
      retryable,
      ...(receipt === undefined ? {} : { receipt }),
      ...(failures === undefined ? {} : { failures }),
      ...(reasons === undefined ? {} : { reasons }),
    },
  });
}
