import type { DurableMailbox } from '../../actors/durable-mailbox.ts';
import type { Subscriber } from '../../actors/subscriber.ts';
import { BusError } from '../../core/errors.ts';
import type { Session } from '../../transport/session.ts';
import { flow } from '../../wire/flow.ts';
import { type ControlFrame, decodeFrame, frameType, typeOf } from '../../wire/frame.ts';
import type { RemoteConsumer } from '../consuming/remote-consumer.ts';
import type { Gate } from '../streams/gate.ts';
import type { Inboxes } from '../streams/inboxes.ts';
import type { Link, Receiver } from '../streams/link.ts';
import { type Lane, RelayStream } from '../streams/relay.ts';
import type { RequestHandler, Requests } from './requests.ts';
import type { Role } from './role.ts';

/** What the switchboard needs of the network and of the bus. */
export interface SwitchboardHost {
  readonly node: string;
  readonly incarnation: string;
  /** What this node is now. */
  role(): Role;
  readonly requests: Requests;
  readonly inboxes: Inboxes;
  /** Refuses what publishers may not publish, on its way to others. */
  readonly gate: Gate | undefined;
  readonly handle: RequestHandler;
  /** What waits for a link on behalf of other nodes. */
  lane(link: Link): Lane | undefined;
  /** A mailbox in memory of this node, by its id. */
  subscriber(mailbox: string): Subscriber | undefined;
  /** A durable one. */
  mailbox(id: string): DurableMailbox | undefined;
  /** Who takes the deliveries of another node's mailbox. */
  consumer(id: string): RemoteConsumer | undefined;
  /** A node asks for more than it may have. */
  refused(kind: 'streams' | 'requests', remote: string, reason: BusError): void;
}

/** How many requests of one node are answered at a time: as many as it may wait for, four times over. */
export const maxUnanswered = 4096;

/** Takes every frame of every link to whom it concerns. */
export class Switchboard {
  readonly #host: SwitchboardHost;

  constructor(host: SwitchboardHost) {
    this.#host = host;
  }

  /** Takes a frame without its length. @throws {BusError} `PROTOCOL_ERROR`. */
  take(session: Session, link: Link, body: Uint8Array): void {
    const type = typeOf(body);
    if (type === frameType.data) link.data(body);
    else if (type === frameType.flow) link.flow(body);
    else this.#control(session, link, decodeFrame(body));
  }

  /** Takes a control frame. */
  #control(session: Session, link: Link, frame: ControlFrame): void {
    switch (frame.type) {
      case 'open':
        link.opened(frame, flow.unlinked);
        return;
      case 'shut':
        link.shut(frame.stream);
        return;
      case 'request':
        this.#request(link, frame);
        return;
      case 'reply':
        if (frame.target === this.#host.node) this.#host.requests.take(frame);
        else this.#onward(link, frame.target)?.send(frame);
        return;
      case 'ping':
      case 'leave':
        if (!session.direct) this.#host.role().take(session, link, frame);
        return;
      default:
        if (session.direct)
          throw new BusError(
            'PROTOCOL_ERROR',
            `node '${link.node}' sent a '${frame.type}' to one that does not lead it`,
          );
        this.#host.role().take(session, link, frame);
    }
  }

  /** In whose name the node at the other end of a link speaks. @throws {BusError} `PROTOCOL_ERROR`. */
  #vouch(link: Link, source: string): string {
    if (!link.session.direct) return this.#host.role().vouch(link, source);
    if (source === link.node) return source;
    throw new BusError('PROTOCOL_ERROR', `node '${link.node}' speaks in the name of '${source}'`);
  }

  /** The link over which something goes on that has come over another one, and is for another node. */
  #onward(link: Link, target: string): Link | undefined {
    const onward = link.session.direct ? undefined : this.#host.role().path(target);
    return onward === link ? undefined : onward;
  }

  #request(link: Link, frame: ControlFrame & { type: 'request' }): void {
    const source = this.#vouch(link, frame.source);
    if (frame.target === this.#host.node) {
      if (this.#host.requests.answering(source) >= maxUnanswered) {
        const message = `${maxUnanswered} requests of node '${source}' wait for their answers`;
        this.#host.refused('requests', link.session.remote, new BusError('MAILBOX_FULL', message));
        link.send({ type: 'reply', id: frame.id, target: source, error: { code: 'MAILBOX_FULL', message } });
        return;
      }
      this.#host.requests.answer(frame, this.#host.handle, link);
      return;
    }
    const onward = this.#onward(link, frame.target);
    if (onward !== undefined) {
      onward.send(frame);
      return;
    }
    const message = `there is no link to a node '${frame.target}'`;
    link.send({ type: 'reply', id: frame.id, target: source, error: { code: 'NODE_UNREACHABLE', message } });
  }

  /** Who takes in a stream: a mailbox of this node, or on the leader the link to another one. */
  receiver(link: Link, frame: ControlFrame & { type: 'open' }): Receiver | undefined {
    const { node, incarnation, inboxes, lane: laneOf } = this.#host;
    this.#vouch(link, frame.source);
    if (frame.target === node) {
      if (frame.consumer === undefined && !inboxes.hasRoom(frame)) return this.#tooManyLives(link, frame);
      if (frame.incarnation === '') {
        const mailbox = this.#host.mailbox(frame.mailbox);
        if (mailbox === undefined) return undefined;
        if (!inboxes.remembers(mailbox, frame)) return this.#tooManyLives(link, frame);
        return inboxes.openDurable(link, frame, mailbox);
      }
      if (frame.incarnation !== incarnation) return undefined;
      if (frame.consumer !== undefined) {
        const consumer = this.#host.consumer(frame.consumer);
        return consumer?.open(link, frame.stream, frame.from, frame.moved === true) ? consumer : undefined;
      }
      const subscriber = this.#host.subscriber(frame.mailbox);
      return subscriber === undefined ? undefined : inboxes.open(link, frame, subscriber);
    }
    const onward = this.#onward(link, frame.target);
    const lane = onward && laneOf(onward);
    if (onward === undefined || lane === undefined) return undefined;
    // A durable mailbox outlives the life of its home.
    if (frame.incarnation !== '' && onward.incarnation !== frame.incarnation) return undefined;
    return new RelayStream(link, onward, lane, frame, this.#host.gate);
  }

  #tooManyLives(link: Link, { source, mailbox }: ControlFrame & { type: 'open' }): undefined {
    const text = `too many lives of node '${source}' publish to mailbox ${mailbox} at a time`;
    this.#host.refused('streams', link.session.remote, new BusError('PROTOCOL_ERROR', text));
  }
}
