/**
 * Decodes Snappy's raw format, in which LevelDB stores its blocks (`format_description.txt` of Snappy).
 *
 * @returns undefined for what is no such thing.
 */
export function unsnap(from: Uint8Array): Uint8Array | undefined {
  let at = 0;
  let size = 0;
  for (let scale = 1; ; scale *= 128) {
    const byte = from[at++];
    if (byte === undefined || scale > 2 ** 28) return undefined;
    size += (byte & 0x7f) * scale;
    if (byte < 0x80) break;
  }
  if (size > 64 * from.length + 64) return undefined; // three bytes make 64 at most
  const to = new Uint8Array(size);
  let end = 0;
  const little = (bytes: number): number => {
    let value = 0;
    for (let i = 0; i < bytes; i++) value += (from[at++] ?? 0) * 256 ** i;
    return value;
  };
  while (at < from.length) {
    const tag = from[at++] ?? 0;
    let length = (tag >> 2) + 1;
    if ((tag & 3) === 0) {
      if (length > 60) length = little(length - 60) + 1;
      if (at + length > from.length || end + length > size) return undefined;
      to.set(from.subarray(at, at + length), end);
      at += length;
    } else {
      let offset: number;
      if ((tag & 3) === 1) {
        length = ((tag >> 2) & 7) + 4;
        offset = ((tag >> 5) << 8) + little(1);
      } else {
        offset = little((tag & 3) === 2 ? 2 : 4);
      }
      if (offset === 0 || offset > end || end + length > size) return undefined;
      for (let i = 0; i < length; i++) to[end + i] = to[end + i - offset] as number; // below end
    }
    end += length;
  }
  return end === size ? to : undefined;
}
