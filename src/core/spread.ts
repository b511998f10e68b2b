/** A number of 32 bits that a text gives: the same everywhere (FNV-1a over its UTF-16 units). */
export function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return value >>> 0;
}

/**
 * How much a key belongs to a holder, from the hashes of both: of many holders the one with the highest weight has it, so that
 * all who ask agree, and a holder that goes or comes moves only its own keys (rendezvous hashing; the mixing is MurmurHash3's).
 */
export function weight(key: number, holder: number): number {
  let value = key ^ holder;
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}
