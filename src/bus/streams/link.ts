import type { Clock, Timer } from '../../core/clock.ts';
import { BusError } from '../../core/errors.ts';
import { Ring } from '../../core/ring.ts';
import type { Session } from '../../transport/session.ts';
import { FlowWriter, readFlow } from '../../wire/flow.ts';
import type { ControlFrame } from '../../wire/frame.ts';
import { DataReader, DataWriter, type Parcel } from '../../wire/pack.ts';

/** The numbered messages of one publisher to one mailbox, seen from the end that sends them over a link. */
export interface Sender {
  /** The number of its stream on the link that it is attached to. */
  stream: number;
  /** Whether it stands in the link's queue of those that have something to send. */
  queued: boolean;
  /** What opens the stream at the other end. */
  opening(): Omit<ControlFrame & { type: 'open' }, 'type' | 'stream'>;
  /** Adds rows until the writer is full. @returns whether there is more to send now. */
  fill(writer: DataWriter): boolean;
  /** The other end says something of the stream. */
  flow(kind: number, number: number, allow: number): void;
  /** The link has gone. */
  unlinked(): void;
}

/** The same stream seen from the end that receives it. */
export interface Receiver {
  /**
   * @param parcel undefined when the number was given up.
   * @param attempt of a delivery to a consumer: which one it is.
   */
  receive(number: number, parcel: Parcel | undefined, attempt: number): void;
  /** Everything that came together has been received. */
  settle(): void;
  /** A stream has ended here: the link has gone, or the sender has shut it. It may go on over another link already. */
  ended(link: Link, stream: number): void;
}

/** What a link needs of its surroundings. */
export interface LinkHost {
  readonly clock: Clock;
  /** Who takes in a stream that is opened here; undefined when nobody is there for it. */
  receiver(link: Link, open: ControlFrame & { type: 'open' }): Receiver | undefined;
  /** A stream was not taken, because there are too many. */
  refused(link: Link, reason: BusError): void;
  /** A link has taken nothing for a second while messages wait for it. */
  slow(link: Link, waiting: number): void;
}

/** How long a link may take nothing before it is reported, in milliseconds. */
const slowAfter = 1000;

/** How many streams the other end may have open. Further ones get the answer that nobody is there. */
export const maxStreams = 65_536;

/** The streams on one link, both ways. Packs what waits into frames, one turn of the event loop at a time. */
export class Link {
  readonly node: string;
  readonly incarnation: string;
  readonly session: Session;
  readonly #host: LinkHost;
  readonly #writer = new DataWriter();
  readonly #reader: DataReader;
  readonly #flow = new FlowWriter();
  readonly #senders = new Map<number, Sender>();
  readonly #receivers = new Map<number, Receiver>();
  readonly #ready = new Ring<Sender>();
  readonly #touched = new Set<Receiver>();
  #streams = 0;
  #scheduled = false;
  #flowScheduled = false;
  #slowTimer: Timer | undefined;
  #open = true;

  constructor(session: Session, host: LinkHost) {
    this.session = session;
    this.node = session.peer.node;
    this.incarnation = session.peer.incarnation;
    this.#host = host;
    this.#reader = new DataReader(session.peer.maxFrame / 2);
  }

  get open(): boolean {
    return this.#open;
  }

  /** How many streams are open, out and in. */
  get streams(): { out: number; in: number } {
    return { out: this.#senders.size, in: this.#receivers.size };
  }

  /**
   * Sends a control frame, behind what is to be told of streams: a delta that takes a node away must not overtake the
   * confirmations that came from it. @returns as `Session.send`.
   */
  send(frame: ControlFrame): boolean {
    if (!this.#flow.empty) this.#sendFlow();
    return this.session.send(frame);
  }

  /** Opens a stream for a sender. */
  attach(sender: Sender): void {
    sender.stream = ++this.#streams;
    sender.queued = false;
    this.#senders.set(sender.stream, sender);
    this.session.send({ type: 'open', stream: sender.stream, ...sender.opening() });
  }

  /** Ends a sender's stream in order. */
  detach(sender: Sender): void {
    if (this.#senders.get(sender.stream) !== sender) return;
    this.#senders.delete(sender.stream);
    this.session.send({ type: 'shut', stream: sender.stream });
  }

  /** A sender goes on over another link; another one hears what is still told of its stream here. */
  succeed(sender: Sender, by: Sender): void {
    by.stream = sender.stream;
    this.#senders.set(by.stream, by);
  }

  /** A sender has something to send. */
  notify(sender: Sender): void {
    if (sender.queued) return;
    sender.queued = true;
    this.#ready.push(sender);
    this.#schedule();
  }

  /** Sends what its senders have without waiting for the end of the turn. */
  flush(): void {
    if (this.#ready.size > 0) this.#pump();
  }

  /** Tells the sender of a stream something; it leaves with all that is told in this turn. */
  tell(kind: number, stream: number, number: number, allow: number): void {
    this.#flow.add(kind, stream, number, allow);
    if (this.#flow.full) {
      this.#sendFlow();
      return;
    }
    if (this.#flowScheduled) return;
    this.#flowScheduled = true;
    this.#host.clock.immediate(this.#sendFlow);
  }

  /** Sends what is to be told, without waiting for the end of the turn. */
  readonly #sendFlow = (): void => {
    this.#flowScheduled = false;
    if (!this.#flow.empty) this.session.sendPacked(this.#flow.take());
  };

  /** Takes a data frame. */
  data(body: Uint8Array): void {
    this.#reader.read(body, this.#receive);
  }

  /** Takes a flow frame. */
  flow(body: Uint8Array): void {
    readFlow(body, this.#told);
  }

  /** The other end opens a stream. */
  opened(frame: ControlFrame & { type: 'open' }, unlinked: number): void {
    if (this.#receivers.has(frame.stream))
      throw new BusError('PROTOCOL_ERROR', `stream ${frame.stream} was opened twice`);
    if (this.#receivers.size >= maxStreams) {
      this.#host.refused(this, new BusError('PROTOCOL_ERROR', `${this.node} has more than ${maxStreams} streams open`));
      this.tell(unlinked, frame.stream, 0, 0);
      return;
    }
    const receiver = this.#host.receiver(this, frame);
    if (receiver === undefined) this.tell(unlinked, frame.stream, 0, 0);
    else this.#receivers.set(frame.stream, receiver);
  }

  /** The other end ends a stream. */
  shut(stream: number): void {
    const receiver = this.#receivers.get(stream);
    this.#receivers.delete(stream);
    receiver?.ended(this, stream);
  }

  /** Everything that had come in together has been handed out. */
  idle(): void {
    if (this.#touched.size > 0) {
      for (const receiver of this.#touched) receiver.settle();
      this.#touched.clear();
    }
    if (!this.#flow.empty) this.#sendFlow();
  }

  /** There is room for data again. */
  writable(): void {
    this.#slowTimer?.cancel();
    this.#slowTimer = undefined;
    this.#pump();
  }

  /** The link has gone: every stream on it has ended. */
  close(): void {
    this.#open = false;
    this.#slowTimer?.cancel();
    this.#ready.clear();
    const senders = [...this.#senders.values()];
    const receivers = [...this.#receivers];
    this.#senders.clear();
    this.#receivers.clear();
    for (const sender of senders) sender.unlinked();
    for (const [stream, receiver] of receivers) receiver.ended(this, stream);
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#host.clock.immediate(this.#turn);
  }

  readonly #turn = (): void => {
    this.#scheduled = false;
    this.#pump();
  };

  #pump(): void {
    while (this.session.writable) {
      const sender = this.#ready.shift();
      if (sender === undefined) break;
      sender.queued = false;
      // It may have been detached while it stood in the queue.
      if (this.#senders.get(sender.stream) === sender && sender.fill(this.#writer)) {
        sender.queued = true;
        this.#ready.push(sender);
      }
      if (this.#writer.full) this.session.sendPacked(this.#writer.take());
    }
    if (this.#writer.rows > 0) this.session.sendPacked(this.#writer.take());
    if (this.#ready.size > 0 && this.#open) {
      this.#slowTimer ??= this.#host.clock.timer(slowAfter, () => this.#host.slow(this, this.#ready.size)).unref();
    }
  }

  readonly #receive = (stream: number, number: number, parcel: Parcel | undefined, attempt: number): void => {
    const receiver = this.#receivers.get(stream);
    if (receiver === undefined) return; // it was shut, or never had anybody here
    receiver.receive(number, parcel, attempt);
    this.#touched.add(receiver);
  };

  readonly #told = (kind: number, stream: number, number: number, allow: number): void => {
    this.#senders.get(stream)?.flow(kind, number, allow);
  };
}
