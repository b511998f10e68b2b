import { maxDepth, maxValues } from '../core/payload.ts';

const problems = [
  'is well-formed',
  'ends in the middle of a value',
  'goes on after its value',
  `is nested deeper than ${maxDepth}`,
  `holds more than ${maxValues} values`,
  'has a map key that is not a string',
  "has a member named '__proto__'",
  'holds an extension type',
  'holds a timestamp that is no valid date',
  'holds the byte 0xc1, which means nothing',
] as const;

/** What {@link scanTokens} found: 0 when all is well, otherwise a code for {@link scanProblem}. */
export type ScanResult = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9;

const truncated = 1;
const trailing = 2;
const tooDeep = 3;
const tooMany = 4;
const badKey = 5;
const protoKey = 6;
const extension = 7;
const badTimestamp = 8;
const reserved = 9;

/** What a result says, as the end of a sentence: 'is nested deeper than 32'. */
export function scanProblem(result: ScanResult): string {
  return problems[result];
}

// How much is left to read of each container that is open around the current one, and whether that is a map. The scan runs
// to its end before anything else can start, so one array serves every call.
const outerLeft = new Float64Array(maxDepth);
const outerIsMap = new Uint8Array(maxDepth);

/**
 * Checks that the bytes from `start` to `end` hold exactly one MessagePack value that is safe to decode: nil, booleans,
 * numbers, strings, binary, arrays, maps with string keys and timestamps, within the limits of a payload. Keys count as no
 * values, as in the walk at publish. Reads each token once, skips contents and allocates nothing.
 */
export function scanTokens(bytes: Uint8Array, start: number, end: number): ScanResult {
  let at = start;
  let values = 0;
  let depth = 0;
  let left = 1; // what is left to read of the current container: elements, or keys and values
  let isMap = false;
  for (;;) {
    if (at >= end) return truncated;
    const token = bytes[at++] as number; // at < end, here and below: lengths that run past the end are caught by the next turn
    if (isMap && (left & 1) === 0) {
      let length: number;
      if (token >= 0xa0 && token < 0xc0) {
        length = token & 0x1f;
      } else if (token === 0xd9) {
        if (at >= end) return truncated;
        length = bytes[at++] as number;
      } else if (token === 0xda) {
        if (end - at < 2) return truncated;
        length = uint16(bytes, at);
        at += 2;
      } else if (token === 0xdb) {
        if (end - at < 4) return truncated;
        length = uint32(bytes, at);
        at += 4;
      } else {
        return badKey;
      }
      if (length > end - at) return truncated;
      if (length === 9 && isProto(bytes, at)) return protoKey;
      at += length;
      left--;
      continue;
    }
    if (++values > maxValues) return tooMany;
    left--;
    let items = 0;
    let opens = false;
    let opensMap = false;
    if (token < 0x80 || token >= 0xe0) {
      // a small integer
    } else if (token < 0x90) {
      opens = opensMap = true;
      items = (token & 0x0f) * 2;
    } else if (token < 0xa0) {
      opens = true;
      items = token & 0x0f;
    } else if (token < 0xc0) {
      at += token & 0x1f;
    } else {
      switch (token) {
        case 0xc0:
        case 0xc2:
        case 0xc3:
          break;
        case 0xc4:
        case 0xd9:
          if (at >= end) return truncated;
          at += 1 + (bytes[at] as number);
          break;
        case 0xc5:
        case 0xda:
          if (end - at < 2) return truncated;
          at += 2 + uint16(bytes, at);
          break;
        case 0xc6:
        case 0xdb:
          if (end - at < 4) return truncated;
          at += 4 + uint32(bytes, at);
          break;
        case 0xcc:
        case 0xd0:
          at += 1;
          break;
        case 0xcd:
        case 0xd1:
          at += 2;
          break;
        case 0xca:
        case 0xce:
        case 0xd2:
          at += 4;
          break;
        case 0xcb:
        case 0xcf:
        case 0xd3:
          at += 8;
          break;
        case 0xdc:
        case 0xde:
          if (end - at < 2) return truncated;
          opens = true;
          opensMap = token === 0xde;
          items = opensMap ? uint16(bytes, at) * 2 : uint16(bytes, at);
          at += 2;
          break;
        case 0xdd:
        case 0xdf:
          if (end - at < 4) return truncated;
          opens = true;
          opensMap = token === 0xdf;
          items = opensMap ? uint32(bytes, at) * 2 : uint32(bytes, at);
          at += 4;
          break;
        case 0xc7:
        case 0xd6:
        case 0xd7: {
          const length = token === 0xd6 ? 4 : token === 0xd7 ? 8 : (bytes[at++] ?? 0);
          if (end - at < 1 + length) return truncated;
          if (bytes[at] !== 0xff || (length !== 4 && length !== 8 && length !== 12)) return extension;
          if (!isDate(bytes, at + 1, length)) return badTimestamp;
          at += 1 + length;
          break;
        }
        case 0xc1:
          return reserved;
        default:
          return extension;
      }
    }
    if (at > end) return truncated;
    if (opens) {
      if (depth === maxDepth) return tooDeep;
      // Each item takes a byte at least.
      if (items > end - at) return truncated;
      if ((opensMap ? items / 2 : items) > maxValues - values) return tooMany; // without counting them first
      outerLeft[depth] = left;
      outerIsMap[depth] = isMap ? 1 : 0;
      depth++;
      left = items;
      isMap = opensMap;
    }
    while (left === 0) {
      if (depth === 0) return at === end ? 0 : trailing;
      depth--;
      left = outerLeft[depth] as number; // depth < maxDepth
      isMap = outerIsMap[depth] === 1;
    }
  }
}

function uint16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number); // the caller has checked the length
}

function uint32(bytes: Uint8Array, at: number): number {
  return uint16(bytes, at) * 0x10000 + uint16(bytes, at + 2);
}

function isProto(bytes: Uint8Array, at: number): boolean {
  // '__pro' tells it from nearly every other key of nine bytes.
  return (
    bytes[at] === 0x5f &&
    bytes[at + 1] === 0x5f &&
    bytes[at + 2] === 0x70 &&
    bytes[at + 3] === 0x72 &&
    bytes[at + 4] === 0x6f &&
    bytes[at + 5] === 0x74 &&
    bytes[at + 6] === 0x6f &&
    bytes[at + 7] === 0x5f &&
    bytes[at + 8] === 0x5f
  );
}

/** The MessagePack specification allows no more nanoseconds than a second has; a Date holds 8.64e12 seconds each way. */
function isDate(bytes: Uint8Array, at: number, length: number): boolean {
  if (length === 4) return true;
  if (length === 8) return uint32(bytes, at) >>> 2 <= 999_999_999;
  const nanoseconds = uint32(bytes, at);
  if (nanoseconds > 999_999_999) return false;
  const seconds = (uint32(bytes, at + 4) | 0) * 0x1_0000_0000 + uint32(bytes, at + 8);
  return seconds >= -8.64e12 && (seconds < 8.64e12 || (seconds === 8.64e12 && nanoseconds === 0));
}
