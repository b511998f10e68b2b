import type { BusError } from '../../core/errors.ts';
import type { Refusal, Session } from '../../transport/session.ts';
import type { ControlFrame, Epoch, Hello, PartChange } from '../../wire/frame.ts';
import type { Link } from '../streams/link.ts';

/** What differs between the leader and its members. */
export interface Role {
  readonly epoch: Epoch;
  readonly leads: boolean;
  /** The registry version that this node holds. */
  readonly version: number;
  /** The node that leads, as far as this one knows. */
  readonly leaderNode: string | undefined;
  /** Whether every durable subscription is known that anybody in reach knows. */
  readonly settled: boolean;
  /** Whether the leader can be asked now. */
  readonly linked: boolean;
  /** The link over which a node is reached now. */
  path(node: string): Link | undefined;
  /** The link over which a control frame for a node travels, even if messages may not. */
  way(node: string): Link | undefined;
  /** @returns `again`: this node has another role now, which decides. */
  admit(hello: Hello): Refusal | 'again' | undefined;
  opened(session: Session, link: Link, epoch: Epoch): void;
  /** @param silence how long the node had not been heard, in milliseconds. */
  closed(session: Session, link: Link, silence: number, reason: BusError): void;
  /** Takes a frame about the registry. */
  take(session: Session, link: Link, frame: ControlFrame): void;
  /** This node has changed its part. @returns false when nobody can be told now. */
  announce(version: number, change: PartChange): boolean;
  /** A durable subscription is new, or another one, or removed. */
  durableChanged(name: string): void;
  /** A placement is new, or another one, or removed. */
  placementChanged(name: string): void;
  /** In whose name the node at the other end of a link may speak. @throws {BusError} `PROTOCOL_ERROR`. */
  vouch(link: Link, source: string): string;
  close(): void;
}
