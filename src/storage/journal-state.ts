import { packRecord, recordKind, unpackRecord } from './record.ts';

/** A run of messages that have left, behind one that has not. */
export interface Gone {
  readonly first: number;
  readonly count: number;
  readonly bytes: number;
}

/** A segment of which some messages have left. */
export interface Partial {
  readonly first: number;
  /** One bit a message, from the lowest of the first byte on: set when it has left. */
  readonly left: Uint8Array;
  /** How many have left, and the bytes of those. */
  readonly count: number;
  readonly bytes: number;
}

/** What is written of a journal beside its segments. */
export interface JournalState {
  /** The sequence of the first message of the first segment that has any left. */
  readonly head: number;
  /** The last sequence that was given. */
  readonly tail: number;
  /** The bytes of all messages that ever entered. */
  readonly total: number;
  /** The highest sequence that was handed out, or may have been. */
  readonly mark: number;
  readonly gone: readonly Gone[];
  readonly partials: readonly Partial[];
  /** How often a message was cut off before; where none is given, once below the mark. */
  readonly cut: readonly (readonly [sequence: number, times: number])[];
  /** Those that were handed out one by one. */
  readonly started: readonly number[];
  readonly watermarks: readonly (readonly [origin: string, number: number])[];
  /** How many messages are parked, and their bytes. */
  readonly parked: { readonly count: number; readonly bytes: number };
  /** When a message was admitted last, for filters by time: milliseconds since the epoch; 0 for never. */
  readonly admitted: number;
  /** The highest sequence that `front` has shown. */
  readonly seen: number;
}

export const emptyState: JournalState = {
  head: 1,
  tail: 0,
  total: 0,
  mark: 0,
  gone: [],
  partials: [],
  cut: [],
  started: [],
  watermarks: [],
  parked: { count: 0, bytes: 0 },
  admitted: 0,
  seen: 0,
};

export function packState(state: JournalState): Uint8Array {
  return packRecord(recordKind.state, {
    ...state,
    gone: state.gone.map(({ first, count, bytes }) => [first, count, bytes]),
    partials: state.partials.map(({ first, left, count, bytes }) => [first, left, count, bytes]),
  });
}

/** @throws {BusError} `STORE_CORRUPT`. */
export function unpackState(key: string, value: Uint8Array): JournalState {
  const fields = unpackRecord(recordKind.state, key, value) as unknown as Omit<JournalState, 'gone' | 'partials'> & {
    readonly gone: readonly [number, number, number][];
    readonly partials: readonly [number, Uint8Array, number, number][];
  };
  return {
    ...fields,
    gone: fields.gone.map(([first, count, bytes]) => ({ first, count, bytes })),
    partials: fields.partials.map(([first, left, count, bytes]) => ({ first, left, count, bytes })),
  };
}
