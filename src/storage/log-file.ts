/**
 * LevelDB's log format (`doc/log_format.md` of LevelDB), which its logs and its MANIFEST share: blocks of 32 KiB of
 * fragments, each with a masked CRC-32C (4 bytes), a length (2), a type (1) and its bytes. A fragment never crosses a
 * block; fewer than 7 bytes at the end of a block are padding.
 */
export const logBlock = 32 * 1024;

const header = 7;
const full = 1;
const first = 2;
const last = 4;

/** What a log holds from a block's beginning on, as far as it is sound. */
export interface LogContent {
  /** Whole records, in order. */
  readonly records: readonly Uint8Array[];
  /**
   * Bytes at the end that LevelDB takes for a torn write and passes over in silence, although it was none: one flipped
   * bit in a length, which makes a record seem to reach past the end. 0 when nothing there is suspicious.
   */
  readonly mistaken: number;
}

/**
 * Reads a log, or its end from a multiple of {@link logBlock} on. It ends, as LevelDB's own reader does, at a fragment that
 * reaches past the end, and passes over the rest of a block after a fragment whose checksum is wrong.
 */
export function readLog(bytes: Uint8Array): LogContent {
  const records: Uint8Array[] = [];
  let parts: Uint8Array[] | undefined;
  for (let start = 0; start < bytes.length; start += logBlock) {
    const block = bytes.subarray(start, start + logBlock);
    for (let at = 0; at + header <= block.length; ) {
      const length = lengthAt(block, at);
      if (at + header + length > block.length) {
        if (block.length < logBlock) return { records, mistaken: wasFlipped(block, at) ? block.length - at : 0 };
        parts = undefined;
        break;
      }
      if (!isSound(block, at, length)) {
        parts = undefined;
        break;
      }
      const type = block[at + 6];
      if (type === full || type === first) parts = [];
      parts?.push(block.subarray(at + header, at + header + length));
      if ((type === full || type === last) && parts !== undefined) {
        records.push(parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts));
        parts = undefined;
      }
      at += header + length;
    }
  }
  return { records, mistaken: 0 };
}

/** The length that the head of a fragment tells. */
export function lengthAt(block: Uint8Array, at: number): number {
  return (block[at + 4] ?? 0) | ((block[at + 5] ?? 0) << 8);
}

/** Whether one flipped bit in the length explains a fragment that reaches past the end: undone, its checksum fits. */
export function wasFlipped(block: Uint8Array, at: number): boolean {
  const length = lengthAt(block, at);
  for (let bit = 0; bit < 16; bit++) {
    const other = length ^ (1 << bit);
    if (at + header + other <= block.length && isSound(block, at, other)) return true;
  }
  return false;
}

/** Whether the checksum of a fragment of this length fits its type and bytes. */
export function isSound(block: Uint8Array, at: number, length: number): boolean {
  const stored =
    ((block[at] ?? 0) | ((block[at + 1] ?? 0) << 8) | ((block[at + 2] ?? 0) << 16) | ((block[at + 3] ?? 0) << 24)) >>>
    0;
  return stored === checksumOf(block, at + 6, at + header + length);
}

/** The checksum of some bytes as LevelDB stores it. */
export function checksumOf(bytes: Uint8Array, from: number, to: number): number {
  return masked(crc32c(bytes, from, to));
}

/** LevelDB masks its checksums, so that one of bytes that hold checksums is still a good one (`util/crc32c.h`). */
function masked(crc: number): number {
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** CRC-32C (Castagnoli), of which Node has no native one in version 20. */
function crc32c(bytes: Uint8Array, from: number, to: number): number {
  let crc = 0xffffffff;
  for (let i = from; i < to; i++) crc = (crc >>> 8) ^ (table[(crc ^ (bytes[i] ?? 0)) & 0xff] ?? 0);
  return (crc ^ 0xffffffff) >>> 0;
}

const table = Uint32Array.from({ length: 256 }, (_, n) => {
  let crc = n;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc >>> 0;
});
