import { BusError } from '../core/errors.ts';

/** The bytes before each body: its length, big-endian. */
export const frameHeaderBytes = 4;

/**
 * What a frame that spans chunks gets at first, in bytes. A longer one grows with what arrives: a peer that declares 8 MiB
 * and sends ten bytes costs this much. Larger than a full frame of small messages, so that those are copied once.
 */
const firstRoom = 262_144;

/** Writes the length of a body, 1 to 2^32 - 1 bytes, into the {@link frameHeaderBytes} at `offset` of `target`. */
export function writeFrameLength(target: Uint8Array, offset: number, length: number): void {
  target[offset] = length >>> 24;
  target[offset + 1] = length >>> 16;
  target[offset + 2] = length >>> 8;
  target[offset + 3] = length;
}

/**
 * Cuts a stream of bytes into frame bodies. The declared length is checked before anything is allocated for it. A frame
 * that lies within one chunk is handed out as a view of it; one that spans chunks is gathered into a buffer of its own.
 */
export class FrameDecoder {
  /** The longest body that is accepted, in bytes. May be changed between calls: small until the peer has proven itself. */
  maxFrame: number;
  #state: 'reading' | 'stopped' | 'broken' = 'reading';
  #header = 0;
  #headerBytes = 0;
  #length = 0;
  #body: Uint8Array | undefined;
  #filled = 0;

  /** @param options `maxFrame`: the longest body that is accepted, in bytes. */
  constructor(options: { readonly maxFrame: number }) {
    this.maxFrame = options.maxFrame;
  }

  /**
   * Takes the next chunk, and calls `onFrame` with each body that it completes, in order. A body may be a view of the
   * chunk: it stays valid as long as nobody writes to the chunk. `onFrame` must not call `push`. When it returns false,
   * the rest of the chunk and all later chunks are ignored.
   *
   * @throws {BusError} `PROTOCOL_ERROR` when a body is empty or longer than allowed, and at every call after one that threw.
   */
  push(chunk: Uint8Array, onFrame: (body: Uint8Array) => unknown): void {
    if (this.#state === 'stopped') return;
    if (this.#state === 'broken') throw new BusError('PROTOCOL_ERROR', 'bytes came after a broken frame');
    this.#state = 'broken'; // until the chunk has been read without a throw
    const goOn = this.#read(chunk, onFrame);
    this.#state = goOn ? 'reading' : 'stopped';
    if (!goOn) this.#body = undefined;
  }

  #read(chunk: Uint8Array, onFrame: (body: Uint8Array) => unknown): boolean {
    const end = chunk.length;
    let at = 0;
    if (this.#headerBytes > 0) {
      at = this.#resume(chunk);
      if (at < 0) return true;
      const body = this.#body;
      if (body !== undefined) {
        this.#body = undefined;
        this.#headerBytes = 0;
        if (onFrame(body) === false) return false;
      }
    }
    while (end - at >= frameHeaderBytes) {
      // at + 3 < end; multiplied, because a shift would make lengths from 2^31 negative.
      const low = ((chunk[at + 1] as number) << 16) | ((chunk[at + 2] as number) << 8) | (chunk[at + 3] as number);
      const length = (chunk[at] as number) * 0x1000000 + low;
      this.#check(length);
      const start = at + frameHeaderBytes;
      if (end - start < length) {
        this.#begin(length);
        this.#headerBytes = frameHeaderBytes;
        this.#gather(chunk, start);
        return true;
      }
      at = start + length;
      if (onFrame(chunk.subarray(start, at)) === false) return false;
    }
    for (; at < end; at++) this.#takeHeaderByte(chunk[at] as number); // at < end
    return true;
  }

  /** Goes on with the frame that an earlier chunk began. Returns where the next frame begins, or -1 when bytes are missing. */
  #resume(chunk: Uint8Array): number {
    let at = 0;
    while (this.#headerBytes < frameHeaderBytes) {
      if (at === chunk.length) return -1;
      this.#takeHeaderByte(chunk[at++] as number); // at < length
      if (this.#headerBytes === frameHeaderBytes) {
        this.#check(this.#header);
        this.#begin(this.#header);
      }
    }
    const taken = this.#gather(chunk, at);
    return this.#filled === this.#length ? at + taken : -1;
  }

  #takeHeaderByte(byte: number): void {
    this.#header = this.#headerBytes === 0 ? byte : this.#header * 256 + byte;
    this.#headerBytes++;
  }

  #check(length: number): void {
    if (length === 0) throw new BusError('PROTOCOL_ERROR', 'a frame declares an empty body');
    if (length > this.maxFrame) {
      throw new BusError(
        'PROTOCOL_ERROR',
        `a frame declares ${length} bytes, the limit is ${this.maxFrame}: is the other side a mailvan node?`,
      );
    }
  }

  #begin(length: number): void {
    this.#length = length;
    this.#filled = 0;
    this.#body = undefined;
  }

  /** Copies what belongs to the current body from `chunk`, and returns how many bytes that were. */
  #gather(chunk: Uint8Array, start: number): number {
    const count = Math.min(this.#length - this.#filled, chunk.length - start);
    const filled = this.#filled + count;
    let body = this.#body;
    if (body === undefined || body.length < filled) {
      // Doubling keeps the copies to one a byte on average; the last step fits exactly.
      const room = Math.min(this.#length, Math.max(firstRoom, 2 * (body?.length ?? 0), filled));
      const grown = Buffer.allocUnsafeSlow(room); // every byte is written before the body is handed out
      if (body !== undefined) grown.set(body.subarray(0, this.#filled));
      this.#body = body = grown;
    }
    body.set(start === 0 && count === chunk.length ? chunk : chunk.subarray(start, start + count), this.#filled);
    this.#filled = filled;
    return count;
  }
}
