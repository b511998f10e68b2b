/**
 * How many bytes a valid payload takes as MessagePack, exactly, without encoding it: strings, binary, arrays and maps with
 * the shortest header that fits, numbers as integers of at most 32 bits or as float64.
 */
export function encodedSize(value: unknown): number {
  switch (typeof value) {
    case 'string':
      return textSize(value);
    case 'number':
      return numberSize(value);
    case 'bigint':
      return 9;
    case 'object':
      return value === null ? 1 : objectSize(value);
    default:
      return 1;
  }
}

function objectSize(value: object): number {
  if (value instanceof Uint8Array) return value.byteLength + header(value.byteLength, 0, 2, 3);
  if (value instanceof Date) return dateSize(value.getTime());
  let size = 0;
  if (Array.isArray(value)) {
    for (const item of value) size += encodedSize(item);
    return size + header(value.length, 16, 3, 3);
  }
  let members = 0;
  for (const key in value) {
    const member = (value as Record<string, unknown>)[key];
    if (member === undefined) continue;
    members++;
    size += textSize(key) + encodedSize(member);
  }
  return size + header(members, 16, 3, 3);
}

function textSize(text: string): number {
  const bytes = Buffer.byteLength(text);
  return bytes + header(bytes, 32, 2, 3);
}

/** The header of something of `length`: one byte below `tiny`, then what 8, 16 and 32 bits of length take. */
function header(length: number, tiny: number, upTo8: number, upTo16: number): number {
  if (length < tiny) return 1;
  return length < 0x100 ? upTo8 : length < 0x10000 ? upTo16 : 5;
}

function numberSize(value: number): number {
  if (!Number.isInteger(value) || Object.is(value, -0) || value >= 0x1_0000_0000 || value < -0x8000_0000) return 9;
  if (value >= 0) return value < 0x80 ? 1 : value < 0x100 ? 2 : value < 0x10000 ? 3 : 5;
  return value >= -0x20 ? 1 : value >= -0x80 ? 2 : value >= -0x8000 ? 3 : 5;
}

function dateSize(time: number): number {
  const seconds = Math.floor(time / 1000);
  if (seconds < 0 || seconds >= 0x4_0000_0000) return 15;
  return time === seconds * 1000 && seconds < 0x1_0000_0000 ? 6 : 10;
}
