import { type ControlFrame, encodeFrame } from '../../src/wire/frame.ts';

/** What values are put in place of others: what borders on what is allowed, and what other languages would be hurt by. */
const strange: readonly unknown[] = [
  ...[0, -0, 1, -1, 255, 1025, 65_536, 2 ** 31, 2 ** 32, 2 ** 52, 2 ** 53 - 1, 2 ** 53, 1e308, 0.5],
  ...[Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 2n ** 63n, -(2n ** 63n)],
  ...[
    '',
    ' ',
    '\u0000',
    '\n\u001b[31m',
    '$sys',
    'x'.repeat(129),
    'x'.repeat(1025),
    'é\u202e',
    '../..',
    'a/b/c',
    '(a*)*b',
  ],
  ...['toString', 'constructor', 'hasOwnProperty', '[', '.*a.{100}b', 'default/kept', 'orders.1'],
  ...[
    null,
    true,
    false,
    [],
    {},
    [[]],
    { length: 1 },
    { valueOf: 'x' },
    new Uint8Array(0),
    new Uint8Array(5000),
    new Date(0),
  ],
];

/** Changes frames so that they stay nearly right. The same numbers from `random` give the same changes. */
export class Mutator {
  readonly #random: () => number;

  constructor(random: () => number) {
    this.#random = random;
  }

  below(most: number): number {
    return Math.floor(this.#random() * most);
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T; // lists here are not empty
  }

  /** Changes values, members and lengths within a control frame, and encodes it. @returns its body. */
  control(frame: ControlFrame): Uint8Array {
    const { type, ...fields } = frame;
    const copy = structuredClone(fields) as Record<string, unknown>;
    for (let i = this.below(3); i >= 0; i--) this.#change(copy);
    try {
      return encodeFrame({ ...copy, type } as unknown as ControlFrame).subarray(4);
    } catch {
      return encodeFrame(frame).subarray(4); // it cannot be said in MessagePack
    }
  }

  #change(root: Record<string, unknown>): void {
    let at: Record<string, unknown> | unknown[] = root;
    for (;;) {
      const keys = Object.keys(at);
      if (keys.length === 0) break;
      const key = this.pick(keys);
      const value: unknown = Reflect.get(at, key);
      const inner =
        typeof value === 'object' && value !== null && !ArrayBuffer.isView(value) && !(value instanceof Date);
      if (inner && this.#random() < 0.8) {
        at = value as Record<string, unknown>;
        continue;
      }
      this.#replace(at, key, value);
      return;
    }
    this.#replace(at, Array.isArray(at) ? '0' : 'a', undefined);
  }

  #replace(at: object, key: string, value: unknown): void {
    switch (this.below(8)) {
      case 0:
        if (Array.isArray(at)) at.pop();
        else Reflect.deleteProperty(at, key);
        return;
      case 1: {
        let nested: unknown = value ?? 1;
        for (let i = this.pick([1, 2, 29, 40]); i > 0; i--) nested = i % 2 === 0 ? [nested] : { a: nested };
        Reflect.set(at, key, nested);
        return;
      }
      case 2:
        Reflect.defineProperty(at, this.pick(['__proto__', 'constructor', 'toString', 'later', 'x'.repeat(300)]), {
          value: this.pick(strange),
          enumerable: true,
          configurable: true,
          writable: true,
        });
        return;
      case 3:
        if (Array.isArray(at)) for (let i = this.pick([1, 2, 50, 1000]); i > 0; i--) at.push(value);
        else
          Reflect.set(
            at,
            key,
            Array.from({ length: this.pick([1, 100, 2000]) }, () => this.pick(strange)),
          );
        return;
      default:
        Reflect.set(at, key, this.pick(strange));
    }
  }

  /** Changes the bytes of a body: also its type, its numbers, and where it ends. @param other some of it may come in. */
  bytes(body: Uint8Array, other: Uint8Array): Uint8Array {
    let made = Buffer.from(body);
    for (let i = this.below(4); i >= 0; i--) {
      const at = this.below(made.length);
      switch (this.below(10)) {
        case 0:
          made[at] = (made[at] ?? 0) ^ (1 << this.below(8));
          break;
        case 1:
          made = made.subarray(0, at + 1);
          break;
        case 2: {
          const end = at + this.below(made.length - at);
          made = Buffer.concat([made.subarray(0, end), made.subarray(at)]);
          break;
        }
        case 3: {
          const from = this.below(other.length);
          made = Buffer.concat([made.subarray(0, at), other.subarray(from, from + this.below(200)), made.subarray(at)]);
          break;
        }
        case 4:
          made = Buffer.concat([made.subarray(0, at), made.subarray(Math.min(made.length, at + 1 + this.below(8)))]);
          break;
        case 5:
          made[at] = this.pick([0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc4, 0xc6, 0xc7, 0xc9]);
          break;
        case 6:
          made[at] = this.pick([
            0xca, 0xcb, 0xcf, 0xd3, 0xd4, 0xd6, 0xd7, 0xd8, 0xd9, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xff,
          ]);
          break;
        case 7:
          if (made.length - at >= 4) made.writeUInt32BE(this.pick([0, 1, 0xff, 0x7fffffff, 0xffffffff]), at);
          break;
        case 8:
          if (made.length - at >= 8) {
            const number = this.pick([
              0,
              -1,
              1,
              2 ** 53,
              2 ** 53 - 1,
              Number.NaN,
              Number.POSITIVE_INFINITY,
              1e300,
              0.5,
            ]);
            made.writeDoubleBE(number, at);
          }
          break;
        default:
          made[this.below(Math.min(2, made.length))] = this.below(40);
      }
      if (made.length === 0) made = Buffer.from([1]);
    }
    return made;
  }

  /** Changes one field of one row of a data frame (row of 40 bytes) or of a flow frame (of 21). */
  row(body: Uint8Array): Uint8Array {
    const made = Buffer.from(body);
    const double = (): number =>
      this.pick([0, -1, 1, 2, 3, 1024, 2 ** 52, 2 ** 53 - 1, 2 ** 53, Number.NaN, 1e300, 0.5]);
    const word = (): number => this.pick([0, 1, 2, 3, 4, 5, 40, 4095, 65_535, 0x7fffffff, 0xffffffff]);
    if (made[1] === 33) {
      const at = 2 + 21 * this.below((made.length - 2) / 21);
      const field = this.below(4);
      if (field === 0) made[at] = this.below(9);
      else if (field === 1) made.writeUInt32BE(word(), at + 1);
      else made.writeDoubleBE(double(), at + (field === 2 ? 5 : 13));
      return made;
    }
    let at = 8;
    for (let i = made.readUInt16BE(2); i > 0; i--) at += 3 + (made[at + 2] ?? 0);
    at += 40 * this.below(made.readUInt32BE(4));
    switch (this.below(8)) {
      case 0:
        made.writeUInt32BE(word(), at);
        break;
      case 1:
        made.writeUInt16BE(word() & 0xffff, at + 4);
        break;
      case 2:
        made[at + 6] = this.below(5);
        break;
      case 3:
        made.writeUInt32BE(word(), at + 8);
        break;
      case 4:
        made.writeUInt32BE(word(), at + 12);
        break;
      default:
        made.writeDoubleBE(double(), at + this.pick([16, 24, 32]));
    }
    return made;
  }
}
