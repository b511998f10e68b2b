import type { Link } from './link.ts';

/** Of so many earlier ones it is known; a publisher that keeps to the protocol has one. */
const mostOthers = 3;

interface Path {
  readonly link: Link;
  readonly stream: number;
}

/**
 * The streams over which one publisher reaches its home: one, and two for a moment when its path changes. Links do not wait
 * for each other: the opening over the old one, relayed, may come after that over the new one. Which of them the publisher
 * listens to is not known here, so it is told on each that it has not shut; what it hears of others it lets pass.
 */
export class Paths {
  #link: Link | undefined;
  #stream = 0;
  #others: Path[] = [];

  /** Whether there is any. */
  get some(): boolean {
    return this.#link !== undefined;
  }

  add(link: Link, stream: number): void {
    if (this.#link !== undefined) {
      if (this.#others.length === mostOthers) this.#others.shift();
      this.#others.push({ link: this.#link, stream: this.#stream });
    }
    this.#link = link;
    this.#stream = stream;
  }

  /** A stream has ended. */
  remove(link: Link, stream: number): void {
    if (link !== this.#link || stream !== this.#stream) {
      this.#others = this.#others.filter((path) => path.link !== link || path.stream !== stream);
      return;
    }
    const path = this.#others.pop();
    this.#link = path?.link;
    this.#stream = path?.stream ?? 0;
  }

  tell(kind: number, number: number, allow: number): void {
    this.#link?.tell(kind, this.#stream, number, allow);
    for (const { link, stream } of this.#others) link.tell(kind, stream, number, allow);
  }
}
