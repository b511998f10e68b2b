import type { StagedOptions } from '../actors/delivery.ts';
import {
  BusError,
  type BusErrorDetails,
  type ErrorCode,
  errorCodes,
  isPermanent,
  PermanentError,
  SchemaError,
  type SchemaIssue,
  toError,
} from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import type { ActorContext } from './kinds.ts';

/** An error as it travels between a node and the process of an instance. */
export interface Failure {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  readonly code?: ErrorCode;
  readonly permanent?: boolean;
  /** The payload of a message did not fit. */
  readonly issues?: readonly SchemaIssue[];
  readonly details?: BusErrorDetails;
}

/** A message as it travels to the process that handles it. */
export interface CarriedMessage {
  readonly id: string;
  readonly topic: string;
  readonly payload: unknown;
  readonly headers: Readonly<Record<string, string>>;
  readonly key: string | undefined;
  readonly publishedAt: number;
  readonly source: string;
  readonly size: number;
}

/** What the instance is, as its process learns it. */
export type About = Pick<ActorContext, 'node' | 'kind' | 'placement' | 'instance' | 'generation' | 'args'>;

/** Which of the methods of a handler actor there are. */
export interface Abilities {
  readonly onStart: boolean;
  readonly onMessage: boolean;
  readonly onTell: boolean;
  readonly onStop: boolean;
}

export type Level = 'debug' | 'info' | 'warn' | 'error';

/** What is said to the process of an instance. `call` numbers what is asked of it, `request` what it asks. */
export type ToProcess =
  | { readonly t: 'start'; readonly module: string; readonly about: About }
  | { readonly t: 'life'; readonly call: number; readonly what: 'onStart' | 'onStop' }
  | { readonly t: 'tell'; readonly call: number; readonly value: unknown }
  | {
      readonly t: 'message';
      readonly call: number;
      readonly message: CarriedMessage;
      readonly attempt: number;
      readonly subscription: string;
    }
  | { readonly t: 'abort'; readonly call: number; readonly reason: Failure }
  | { readonly t: 'answer'; readonly request: number; readonly value?: unknown; readonly failure?: Failure }
  | { readonly t: 'exit' };

/** What it says. */
export type FromProcess =
  | { readonly t: 'ready'; readonly abilities: Abilities }
  | { readonly t: 'refused'; readonly failure: Failure }
  | { readonly t: 'done'; readonly call: number; readonly failure?: Failure }
  | {
      /** Without a call it is published at once, otherwise staged by that one. */
      readonly t: 'publish';
      readonly request: number;
      readonly call?: number;
      readonly topic: string;
      readonly payload: unknown;
      readonly options: StagedOptions | undefined;
    }
  | { readonly t: 'extend'; readonly call: number; readonly ms: number }
  | { readonly t: 'term'; readonly call: number; readonly reason: string | undefined }
  | { readonly t: 'fail'; readonly failure: Failure }
  | { readonly t: 'uncaught'; readonly failure: Failure }
  | {
      readonly t: 'log';
      readonly call?: number;
      readonly level: Level;
      readonly text: string;
      readonly fields: Readonly<Record<string, unknown>>;
      /** Those of the fields that are errors. */
      readonly failures: Readonly<Record<string, Failure>>;
    };

/** An error, ready to travel. */
export function carry(thrown: unknown): Failure {
  const error = toError(thrown);
  const { name, message, stack } = error;
  const failure = { name: String(name), message: String(message), ...(typeof stack === 'string' && { stack }) };
  if (error instanceof BusError) {
    const { code, receipt, failures, reasons, issues } = error;
    const details = {
      ...(receipt && { receipt }),
      ...(failures && { failures }),
      ...(reasons && { reasons }),
      ...(issues && { issues }),
    };
    return { ...failure, code, details };
  }
  if (error instanceof SchemaError) return { ...failure, issues: error.issues };
  return isPermanent(error) ? { ...failure, permanent: true } : failure;
}

/** The error that has travelled: of the same name and text, and, of those of the bus, of the same class. */
export function unpack({ name, message, stack, code, permanent, issues, details }: Failure): Error {
  const error =
    code !== undefined && code in errorCodes
      ? new BusError(code, message, details)
      : issues !== undefined
        ? new SchemaError(message, issues)
        : permanent === true
          ? new PermanentError(message)
          : new Error(message);
  if (error.name !== name) Object.defineProperty(error, 'name', { value: name });
  if (stack !== undefined) error.stack = stack;
  return error;
}

/** Writes a line that has travelled. */
export function relog(log: Logger, { level, text, fields, failures }: FromProcess & { t: 'log' }): void {
  if (!levels.has(level)) return;
  const errors = Object.entries(failures).map(([name, failure]) => [name, unpack(failure)] as const);
  log[level]({ ...fields, ...Object.fromEntries(errors) }, String(text));
}

const levels: ReadonlySet<string> = new Set(['debug', 'info', 'warn', 'error']);
