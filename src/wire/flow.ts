import { BusError } from '../core/errors.ts';
import { frameType, protocolVersion } from './frame.ts';

// The layout here is described in docs/wire.md, 'Flow frames'. All numbers are big-endian.

/** What a flow row says about a stream. */
export const flow = {
  /** Everything up to and including `number` has been taken; `allow` is the highest number that may be sent. */
  confirm: 0,
  /** Send again from `number`; `allow` as above. */
  resend: 1,
  /** `number` was refused, by the code's place in {@link refusals}. */
  refuse: 2,
  /** Nobody is there for this stream: wait until the registry says that the node is back. */
  unlinked: 3,
  /** Send again from `number`, as a relay says: nothing below it need have been taken. */
  again: 4,
  /** The delivery of this number was handled. */
  ack: 5,
  /** The home's store takes nothing now: it says again when it does. */
  stalled: 6,
} as const;

/** The reasons for which a home, or a relay, refuses a single message. Who does not know one takes it for the first. */
export const refusals = ['MAILBOX_FULL', 'NOT_FOUND', 'DENIED'] as const;

/** Takes one row of a flow frame. */
export type FlowSink = (kind: number, stream: number, number: number, allow: number) => void;

const flowRow = 21;
/** How many rows go into one frame. */
const maxRows = 8192;

/** Gathers what is to be told to the sender of streams, and packs it into one frame. */
export class FlowWriter {
  #rows: number[] = [];

  get empty(): boolean {
    return this.#rows.length === 0;
  }

  /** Whether it is time to send it: the frame must fit into the other end's limit. */
  get full(): boolean {
    return this.#rows.length >= 4 * maxRows;
  }

  add(kind: number, stream: number, number: number, allow: number): void {
    this.#rows.push(kind, stream, number, allow);
  }

  /** The frame, with its length in front. */
  take(): Uint8Array {
    const rows = this.#rows;
    const frame = Buffer.allocUnsafe(6 + (rows.length / 4) * flowRow);
    const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
    view.setUint32(0, frame.length - 4);
    view.setUint8(4, protocolVersion);
    view.setUint8(5, frameType.flow);
    for (let i = 0, at = 6; i < rows.length; i += 4, at += flowRow) {
      view.setUint8(at, rows[i] as number); // rows holds four numbers a row
      view.setUint32(at + 1, rows[i + 1] as number);
      view.setFloat64(at + 5, rows[i + 2] as number);
      view.setFloat64(at + 13, rows[i + 3] as number);
    }
    this.#rows = [];
    return frame;
  }
}

/** @param body a frame without its length. @throws {BusError} `PROTOCOL_ERROR`. */
export function readFlow(body: Uint8Array, sink: FlowSink): void {
  if ((body.length - 2) % flowRow !== 0) throw broken('a flow frame is cut short');
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  for (let at = 2; at < body.length; at += flowRow) {
    const kind = view.getUint8(at);
    const number = view.getFloat64(at + 5);
    const allow = view.getFloat64(at + 13);
    if (kind > 6 || !Number.isSafeInteger(number) || !Number.isSafeInteger(allow))
      throw broken('a flow frame makes no sense');
    sink(kind, view.getUint32(at + 1), number, allow);
  }
}

function broken(problem: string): BusError {
  return new BusError('PROTOCOL_ERROR', problem);
}
