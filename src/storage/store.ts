/** One change of a batch. */
export type StoreOperation =
  | { readonly type: 'put'; readonly key: string; readonly value: Uint8Array }
  | { readonly type: 'del'; readonly key: string };

/** The keys from `gte` up to but not including `lt`, in the order of their UTF-8 bytes. */
export interface KeyRange {
  readonly gte: string;
  readonly lt: string;
  /** From the end. @default false */
  readonly reverse?: boolean;
}

/**
 * An ordered map from keys to bytes. A driver holds no policy: what is batched, synced, retried or reported is decided
 * above it. `mailvan/testing` exports the suite that every driver passes.
 */
export interface Store {
  /**
   * Applies all operations or none, in order.
   *
   * @param sync whether to resolve only when the medium has them.
   * @throws {BusError} `CLOSED` after `close`.
   */
  write(operations: readonly StoreOperation[], sync: boolean): Promise<void>;
  /** The value of a key, or undefined. The caller may keep it and must not change it. */
  get(key: string): Promise<Uint8Array | undefined>;
  /** Key and value of a range, as it was when the scan began. Leaving the loop early releases it. */
  scan(range: KeyRange): AsyncIterable<readonly [key: string, value: Uint8Array]>;
  /** Waits for writes under way and lets go of everything. Twice is harmless. */
  close(): Promise<void>;
}

/** The range of all keys that start with `prefix`. */
export function prefixRange(prefix: string): KeyRange {
  return { gte: prefix, lt: `${prefix}\u{10ffff}` };
}
