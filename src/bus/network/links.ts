import type { Session } from '../../transport/session.ts';
import { Link, type LinkHost } from '../streams/link.ts';
import { Lane } from '../streams/relay.ts';

/** The links of a node that are open. */
export class Links {
  readonly #host: LinkHost;
  /** By session, so that what a replaced link still says reaches nobody. */
  readonly #links = new Map<Session, Link>();
  readonly #lanes = new Map<Link, Lane>();

  constructor(host: LinkHost) {
    this.#host = host;
  }

  [Symbol.iterator](): Iterator<Link> {
    return this.#links.values();
  }

  get(session: Session): Link | undefined {
    return this.#links.get(session);
  }

  /** What waits for a link on behalf of other nodes. */
  lane(link: Link): Lane | undefined {
    return this.#lanes.get(link);
  }

  opened(session: Session): Link {
    const link = new Link(session, this.#host);
    this.#links.set(session, link);
    this.#lanes.set(link, new Lane());
    return link;
  }

  /** @returns the link that has gone with a session. */
  closed(session: Session): Link | undefined {
    const link = this.#links.get(session);
    if (link === undefined) return undefined;
    this.#links.delete(session);
    this.#lanes.delete(link);
    link.close();
    return link;
  }
}
