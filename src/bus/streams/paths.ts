import type { Link } from './link.ts';

/** So many are told; a publisher that keeps to the protocol has two at most. */
const most = 4;

/**
 * The streams over which one publisher reaches its home: one, and two for a moment when its path changes. Links do not wait
 * for each other: the opening over the old one, relayed, may come after that over the new one. Which of them the publisher
 * listens to is not known here, so it is told on each that it has not shut; what it hears of others it lets pass.
 */
export class Paths {
  #paths: { readonly link: Link; readonly stream: number }[] = [];

  /** Whether there is any. */
  get some(): boolean {
    return this.#paths.length > 0;
  }

  add(link: Link, stream: number): void {
    if (this.#paths.length === most) this.#paths.shift();
    this.#paths.push({ link, stream });
  }

  /** A stream has ended. */
  remove(link: Link, stream: number): void {
    this.#paths = this.#paths.filter((path) => path.link !== link || path.stream !== stream);
  }

  tell(kind: number, number: number, allow: number): void {
    for (const { link, stream } of this.#paths) link.tell(kind, stream, number, allow);
  }
}
