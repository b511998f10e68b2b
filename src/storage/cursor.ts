/** Reads numbers from bytes; what lies behind their end reads as nothing. */
export class Cursor {
  at = 0;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get ended(): boolean {
    return this.at >= this.#bytes.length;
  }

  varint(): number {
    let value = 0;
    for (let scale = 1; !this.ended; scale *= 128) {
      const byte = this.#bytes[this.at++] ?? 0;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) break;
    }
    return value;
  }

  skip(bytes: number): void {
    this.at += bytes;
  }

  take(bytes: number): Uint8Array {
    const taken = this.#bytes.subarray(this.at, this.at + bytes);
    this.at += bytes;
    return taken;
  }
}
