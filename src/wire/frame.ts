import { BusError } from '../core/errors.ts';
import { decodeControl, encodeControl } from './codec.ts';
import { frameShapes } from './frame-shapes.ts';
import type { About, InstanceReport, PlacementEntry } from './placement-entry.ts';
import type { Check, PatternEntry } from './shapes.ts';

/** The layout of frames: the first byte of every one. */
export const protocolVersion = 1;

/**
 * The versions of the protocol that this build speaks; two nodes speak the highest that both do. 2 adds what placing and the
 * succession of leaders need, as members of frames that are there already.
 */
export const protocolRange = [1, 2] as const;

/** The second byte of every frame. */
export const frameType = {
  hello: 1,
  challenge: 2,
  proof: 3,
  welcome: 4,
  reject: 5,
  ping: 6,
  leave: 7,
  join: 8,
  part: 9,
  synced: 10,
  snapshot: 11,
  delta: 12,
  applied: 13,
  resync: 14,
  open: 15,
  shut: 16,
  request: 17,
  reply: 18,
  data: 32,
  flow: 33,
} as const;

/** (term, start): who leads under the higher one, leads. */
export interface Epoch {
  readonly term: number;
  readonly start: number;
}

/** What a node says of itself first. */
export interface Hello {
  readonly type: 'hello';
  /** The lowest and the highest protocol version that it speaks. */
  readonly protocol: readonly [number, number];
  readonly cluster: string;
  readonly node: string;
  readonly incarnation: string;
  /** The highest epoch that it has heard of. */
  readonly epoch: Epoch;
  /** The largest frame that it takes, in bytes. */
  readonly maxFrame: number;
  /** Random, 16 bytes. */
  readonly nonce: Uint8Array;
  /** Where it listens. */
  readonly address?: string;
  /** Where the leader listens that it heard of last: who leads under a lower term follows that one. */
  readonly leader?: string;
  /** The node at the other end is to lead from now on, if this is its name. */
  readonly promote?: string;
  /** The member that is dialled: this is to be a link beside those to the leader, for messages between the two. */
  readonly direct?: string;
}

/** One subscription as other nodes know it. */
export interface SubscriptionEntry {
  /** The mailbox's id, new at each creation. */
  readonly id: string;
  readonly name: string;
  readonly pattern: PatternEntry;
  /** Of those that have the same group and pattern, anywhere, one gets each message; none: it gets every one. */
  readonly group?: string;
  readonly retry: {
    readonly attempts: number;
    readonly delay: number;
    readonly factor: number;
    readonly maxDelay: number;
    readonly jitter: number;
  };
}

/** One durable subscription as every node knows it: the highest version counts, and it goes only by being `removed`. */
export interface DurableEntry {
  /** `<service>/<name>`. */
  readonly name: string;
  /** The mailbox's id, new at each creation. */
  readonly id: string;
  readonly version: number;
  /** The node whose store holds the mailbox. */
  readonly home: string;
  readonly removed: boolean;
  /** Its home will not return: what publishers have kept for it becomes dead letters. */
  readonly lost?: boolean;
  readonly pattern: PatternEntry;
  /** What its home does with its messages. */
  readonly policy: PolicyEntry;
}

/** The options of a durable mailbox. */
export interface PolicyEntry {
  readonly retry: SubscriptionEntry['retry'];
  /** Left out by nodes of earlier builds. */
  readonly outage?: false | { readonly failures: number; readonly messages: number; readonly grace: number };
  readonly limits: {
    readonly messages: number;
    readonly bytes: number;
    /** Milliseconds; left out where it is infinite. */
    readonly age?: number;
    readonly overflow: string;
    readonly deadLetters: boolean;
  };
  readonly latestOnly: boolean | string;
  readonly filters: readonly Readonly<Record<string, number>>[];
  readonly durability: string;
}

/** One member with everything that it has registered. */
export interface MemberEntry {
  readonly node: string;
  readonly incarnation: string;
  readonly state: 'alive' | 'suspect';
  /** Counts the member's links to the leader: when it changes, streams to the member are opened anew. */
  readonly link: number;
  /** Where it listens. */
  readonly address?: string;
  readonly subscriptions: readonly SubscriptionEntry[];
}

/** What has changed of one member. */
export interface MemberChange {
  readonly node: string;
  readonly incarnation: string;
  /** What it is now; the last two remove it. */
  readonly state: 'alive' | 'suspect' | 'down' | 'left';
  readonly link: number;
  readonly address?: string;
  readonly add: readonly SubscriptionEntry[];
  /** Ids of subscriptions. */
  readonly remove: readonly string[];
}

/** Every frame that is not on the path of messages. */
export type ControlFrame =
  | Hello
  | (Omit<Hello, 'type'> & { readonly type: 'challenge'; readonly proof: Uint8Array })
  | { readonly type: 'proof'; readonly proof: Uint8Array }
  | { readonly type: 'welcome'; readonly epoch: Epoch }
  | {
      readonly type: 'reject';
      readonly code: string;
      readonly detail: string;
      /** Where the leader listens. */
      readonly leader?: string;
    }
  | { readonly type: 'ping'; readonly version: number }
  | { readonly type: 'leave' }
  | {
      readonly type: 'join';
      readonly version: number;
      readonly more: boolean;
      readonly subscriptions: readonly SubscriptionEntry[];
      /** Every one that the member knows of. */
      readonly durables: readonly DurableEntry[];
      readonly placements?: readonly PlacementEntry[];
      readonly about?: About;
      /** What has become of what was given to it: all of it. */
      readonly instances?: readonly InstanceReport[];
    }
  | {
      readonly type: 'part';
      readonly version: number;
      readonly add: readonly SubscriptionEntry[];
      readonly remove: readonly string[];
      readonly durables: readonly DurableEntry[];
      /** Left out: as before. */
      readonly about?: About;
      /** What has changed of what was given to it. */
      readonly instances?: readonly InstanceReport[];
    }
  | {
      readonly type: 'synced';
      readonly version: number;
      /** The ids of subscriptions that the leader's rules do not allow the member: nobody is told of them. */
      readonly denied?: readonly string[];
    }
  | {
      readonly type: 'snapshot';
      readonly epoch: Epoch;
      readonly version: number;
      readonly settled: boolean;
      readonly members: readonly MemberEntry[];
    }
  | {
      readonly type: 'delta';
      readonly epoch: Epoch;
      readonly from: number;
      readonly version: number;
      readonly settled: boolean;
      readonly changes: readonly MemberChange[];
      readonly durables: readonly DurableEntry[];
      readonly placements?: readonly PlacementEntry[];
    }
  | { readonly type: 'applied'; readonly version: number }
  | { readonly type: 'resync' }
  | {
      readonly type: 'open';
      readonly stream: number;
      readonly target: string;
      readonly incarnation: string;
      readonly mailbox: string;
      readonly source: string;
      readonly origin: string;
      readonly from: number;
      /** The messages have their receipts: they are never refused for want of room. */
      readonly kept?: boolean;
      /** It goes on from another link, which is open still. */
      readonly moved?: boolean;
      /** The publisher's node has nothing left of its earlier lives. */
      readonly only?: boolean;
      /** The publisher's node has a store: its numbers go on after a restart. */
      readonly lasting?: boolean;
      /** Set when the stream brings deliveries to a consumer, by its id. */
      readonly consumer?: string;
    }
  | { readonly type: 'shut'; readonly stream: number }
  | {
      readonly type: 'request';
      readonly id: number;
      readonly source: string;
      readonly target: string;
      readonly method: string;
      readonly params: unknown;
    }
  | {
      readonly type: 'reply';
      readonly id: number;
      readonly target: string;
      readonly value?: unknown;
      readonly error?: {
        readonly code: string;
        readonly message: string;
        readonly reasons?: Readonly<Record<string, string>>;
      };
    };

/** What a node changes of what it has registered. */
export type PartChange = Omit<ControlFrame & { type: 'part' }, 'type' | 'version'>;

/** The tag of a {@link ControlFrame}. */
export type ControlType = ControlFrame['type'];

/** What each frame must hold. */
const shapes: Record<ControlType, Record<string, Check>> = frameShapes;

const names = new Map(Object.entries(frameType).map(([name, code]) => [code as number, name]));

/** The frame, with its length in front. */
export function encodeFrame(frame: ControlFrame): Uint8Array {
  const { type, ...fields } = frame;
  const body = encodeControl(fields);
  const bytes = Buffer.allocUnsafe(6 + body.length);
  bytes.writeUInt32BE(2 + body.length, 0);
  bytes[4] = protocolVersion;
  bytes[5] = frameType[type];
  bytes.set(body, 6);
  return bytes;
}

/** The type byte of a frame, after its version has been checked. @throws {BusError} `PROTOCOL_ERROR`. */
export function typeOf(body: Uint8Array): number {
  if (body.length < 2) throw new BusError('PROTOCOL_ERROR', 'a frame is too short to have a type');
  if (body[0] !== protocolVersion) {
    throw new BusError('PROTOCOL_ERROR', `a frame has the version ${body[0]}; this node speaks ${protocolVersion}`);
  }
  return body[1] as number; // length >= 2
}

/** @param body a frame without its length. @throws {BusError} `PROTOCOL_ERROR` when it is not what its type says. */
export function decodeFrame(body: Uint8Array): ControlFrame {
  const type = names.get(typeOf(body));
  if (type === undefined || type === 'data' || type === 'flow') {
    throw new BusError('PROTOCOL_ERROR', `a frame has the unknown type ${body[1]}`);
  }
  const fields = decodeControl(body.subarray(2));
  const shape = shapes[type as ControlType];
  for (const name in shape) {
    const check = shape[name] as Check; // name comes from shape
    if (!check(fields[name])) throw new BusError('PROTOCOL_ERROR', `a frame '${type}' has a wrong '${name}'`);
  }
  return { type, ...fields } as ControlFrame; // every field has been checked
}
