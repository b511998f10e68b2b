import type { Message } from '../core/message.ts';
import type { Gone, Partial } from './journal-state.ts';
import type { SegmentHead } from './segment.ts';

/** A segment of which some messages are in memory. */
export interface Segment extends SegmentHead {
  /** The key of its record. */
  readonly key: string;
  /** Its record, or the beginning of it that a stub keeps. */
  readonly record: Uint8Array;
  /** How many of its messages have not left, and the bytes of those. */
  left: number;
  leftBytes: number;
  /** One bit a message that has left, as soon as one has. */
  bits: Uint8Array | undefined;
  /** Its stub has been written, or is about to be. */
  emptied: boolean;
}

/** One message of a journal, in memory. */
export interface Entry {
  readonly message: Message;
  readonly sequence: number;
  readonly segment: Segment;
}

const none: Segment[] = [];

/**
 * The segments of a journal that are in memory, in their order, and what has left them. Where publishes come one at a time,
 * each is a segment of its own, and there are as many as messages: only what has to be told of a part of them looks at all.
 */
export class Loaded {
  /** From the head on; those that are empty already stand behind one that is not. */
  #segments = none;
  /** How many at the beginning have been passed. */
  #passed = 0;
  /** How many have not been passed whose stub is written, or about to be. */
  #holes = 0;
  /** Of how many some messages have left, and no stub is written. */
  #broken = 0;

  /** The first that has not been passed. */
  get head(): Segment | undefined {
    return this.#segments[this.#passed];
  }

  /** Whether a part of some segment has left. */
  get broken(): boolean {
    return this.#broken > 0;
  }

  /** One more, behind the others. */
  add(segment: Segment): void {
    // Made for one, an array has room for one: pushed to, an empty one gets room for 17.
    if (this.#segments === none) this.#segments = [segment];
    else this.#segments.push(segment);
    if (segment.emptied) this.#holes++;
    else if (segment.left < segment.count) this.#broken++;
  }

  /** A message leaves. @returns whether its segment is empty now; undefined when the message had left before. */
  leave({ sequence, segment, message }: Entry): boolean | undefined {
    if (segment.count > 1) {
      const place = sequence - segment.first;
      segment.bits ??= new Uint8Array((segment.count + 7) >> 3);
      const byte = segment.bits[place >> 3] as number; // place < count
      if ((byte & (1 << (place & 7))) !== 0) return undefined;
      segment.bits[place >> 3] = byte | (1 << (place & 7));
    } else if (segment.left === 0) {
      return undefined;
    }
    if (segment.left === segment.count) this.#broken++;
    segment.left--;
    segment.leftBytes -= message.size;
    return segment.left === 0;
  }

  /** The stub of an empty segment is about to be written. */
  clear(segment: Segment): void {
    segment.emptied = true;
    this.#broken--;
    if (!this.#isPassed(segment)) this.#holes++;
  }

  /** It could not be written. */
  restore(segment: Segment): void {
    segment.emptied = false;
    this.#broken++;
    if (!this.#isPassed(segment)) this.#holes--;
  }

  /** Moves the head past what is empty. @returns whether something empty stands behind the head. */
  pass(): boolean {
    const segments = this.#segments;
    for (; this.#holes > 0 && segments[this.#passed]?.emptied === true; this.#holes--) this.#passed++;
    if (this.#passed === segments.length || (this.#passed > 64 && this.#passed > segments.length / 2)) {
      if (this.#passed > 0) this.#segments = this.#passed === segments.length ? none : segments.slice(this.#passed);
      this.#passed = 0;
    }
    return this.#holes > 0;
  }

  /** Runs of messages that have left, behind the head. */
  gone(): Gone[] {
    const gone: Gone[] = [];
    if (this.#holes === 0) return gone;
    for (let i = this.#passed; i < this.#segments.length; i++) {
      const { first, count, bytes, emptied } = this.#segments[i] as Segment; // i < length
      if (!emptied) continue;
      const last = gone[gone.length - 1];
      if (last !== undefined && last.first + last.count === first) {
        gone[gone.length - 1] = { first: last.first, count: last.count + count, bytes: last.bytes + bytes };
      } else {
        gone.push({ first, count, bytes });
      }
    }
    return gone;
  }

  /** Segments of which some messages have left. */
  partials(): Partial[] {
    const partials: Partial[] = [];
    if (this.#broken === 0) return partials;
    for (let i = this.#passed; i < this.#segments.length; i++) {
      const { first, count, bytes, bits, left, leftBytes, emptied } = this.#segments[i] as Segment; // i < length
      if (!emptied && bits !== undefined)
        partials.push({ first, left: bits, count: count - left, bytes: bytes - leftBytes });
    }
    return partials;
  }

  #isPassed({ first }: Segment): boolean {
    const { head } = this;
    return head === undefined || first < head.first;
  }
}
