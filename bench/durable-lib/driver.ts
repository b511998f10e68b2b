/** What a commit waits for: the kernel, or the disk. */
export type Level = 'os' | 'fsync';

/** How a process takes part. */
export interface Place {
  readonly level: Level;
  /** Of the server, or for a publisher of ours the leader's; empty for the process that holds our store. */
  readonly address: string;
  /** Where our store lies. */
  readonly folder: string;
  /** Whether a publisher comes from another process. */
  readonly linked: boolean;
  /** Those that are consumed, by name. A message for mailbox `a` has the topic `a.m`. */
  readonly mailboxes: readonly string[];
}

/** The process that consumes; of ours also the one that holds the store. */
export interface Home {
  /** Where a publisher finds what it publishes to. */
  readonly address: string;
  /** Creates mailboxes that nobody consumes. */
  collect(mailboxes: readonly string[]): Promise<void>;
  /** Attaches a consumer to each mailbox. `handled` hears of messages whose ack has been given. */
  consume(handled: (count: number) => void): Promise<void>;
  /** Detaches the consumers; what they were given is settled first. */
  pause(): Promise<void>;
  /** Resolves when the store has all acks. */
  settled(): Promise<void>;
  /** After a round, not measured: removes what acks leave behind. @throws when a message is left. */
  tidy(): Promise<void>;
  /** A publisher in this process. */
  publisher(): Promise<Publisher>;
  close(): Promise<unknown>;
}

export interface Publisher {
  /** Resolves when the message is stored. */
  publish(mailbox: string, payload: Uint8Array): Promise<unknown>;
  close(): Promise<unknown>;
}

export interface Driver {
  home(place: Place): Promise<Home>;
  publisher(place: Place): Promise<Publisher>;
}

/** Names of mailboxes. */
export function named(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}-${i}`);
}
