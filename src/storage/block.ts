/** Records up to this size share blocks: they are written and let go soon. */
const smallRecord = 2048;
const blockSize = 8 * 1024;

/** Memory in which records are put together, one behind the other. */
export class Block {
  readonly to: Buffer;
  readonly view: DataView;
  /** Where the next record begins. */
  used = 0;

  constructor(bytes: number) {
    this.to = Buffer.allocUnsafeSlow(bytes);
    this.view = new DataView(this.to.buffer, this.to.byteOffset, bytes);
  }

  /** The next record is complete. */
  cut(bytes: number): Uint8Array {
    const record = new Uint8Array(this.to.buffer, this.to.byteOffset + this.used, bytes);
    this.used += bytes;
    return record;
  }
}

let shared = new Block(0);

/** Memory for a record: what was there is still there. One record is cut before the next one is begun. */
export function blockFor(bytes: number): Block {
  if (bytes > smallRecord) return new Block(bytes);
  if (shared.to.length - shared.used < bytes) shared = new Block(blockSize);
  return shared;
}

/** The length of a text in UTF-8. Short ones, as most are, are counted sooner than a call out of JavaScript takes. */
export function textBytes(text: string): number {
  if (text.length > 64) return Buffer.byteLength(text);
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return Buffer.byteLength(text);
  return text.length;
}

/** Writes a text behind its length in two bytes. @returns where it ends. */
export function writeText(to: Buffer, view: DataView, at: number, text: string): number {
  const start = at + 2;
  let length = text.length;
  if (length > 64) {
    length = to.write(text, start);
  } else {
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      if (unit > 127) {
        length = to.write(text, start);
        break;
      }
      to[start + i] = unit;
    }
  }
  view.setUint16(at, length);
  return start + length;
}
