import type { Clock, Timer } from '../core/clock.ts';
import { BusError, type ErrorCode, errorCodes } from '../core/errors.ts';
import { Lifecycle, type SessionState, sessionTransitions } from '../core/lifecycle.ts';
import { oneLine } from '../core/line.ts';
import { FrameDecoder } from '../wire/decoder.ts';
import { type ControlFrame, decodeFrame, type Epoch, encodeFrame, type Hello, protocolRange } from '../wire/frame.ts';
import { judgeLink, nextLook } from './liveness.ts';
import { prove, sameProof, secretFor } from './proof.ts';
import { looksLikeTls, nameProblem } from './tls-problem.ts';
import type { Connection } from './transport.ts';

/** What a node says of itself in a handshake. */
export interface Identity {
  readonly cluster: string;
  readonly node: string;
  readonly incarnation: string;
  readonly secret: Uint8Array | undefined;
  /** Those of single nodes that dial this one, by their names; the others have the common one. */
  readonly secrets?: ReadonlyMap<string, Uint8Array> | undefined;
  readonly maxFrame: number;
}

/** Why a node that proved itself is turned away all the same. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly detail: string;
  /** Where to try instead: there the leader listens. */
  readonly leader?: string;
}

/** What a session needs of its surroundings. */
export interface SessionHost {
  readonly clock: Clock;
  readonly identity: Identity;
  readonly liveness: { readonly ping: number; readonly suspect: number };
  /** How long the handshake may take, in milliseconds. */
  readonly handshake: number;
  /** What else a hello says. */
  greeting(): Pick<Hello, 'address' | 'leader' | 'promote' | 'direct'>;
  /** The highest epoch that this node has heard of, or leads under. */
  epoch(): Epoch;
  /** Decides over a node that has proven itself; asked by the listening end only. */
  admit(hello: Hello): Refusal | undefined;
  /** What a ping tells. */
  registryVersion(): number;
  opened(session: Session, epoch: Epoch): void;
  /** @param body a frame without its length; it may be kept, but not changed. */
  frame(session: Session, body: Uint8Array): void;
  /** Everything that had come in together has been handed out. */
  idle(session: Session): void;
  /** There is room for data again. */
  writable(session: Session): void;
  /** Called once, also when the session never opened. */
  closed(session: Session, reason: BusError): void;
}

/** The largest frame before the other end has proven itself, in bytes. */
const greetingFrame = 4096;
/** How much control traffic may wait behind a link that takes nothing. */
const maxControlBacklog = 32 * 1024 * 1024;

/**
 * One link: a connection on which both ends have proven who they are. Cuts the bytes into frames, keeps the link alive and
 * notices when it is not. See 'Session' in docs/wire.md.
 */
export class Session {
  readonly role: 'dialler' | 'listener';
  readonly #host: SessionHost;
  readonly #connection: Connection;
  readonly #decoder = new FrameDecoder({ maxFrame: greetingFrame });
  readonly #lifecycle = new Lifecycle<SessionState>('session', sessionTransitions, 'greeting');
  readonly #hello: Hello;
  #peer: Hello | undefined;
  /** On the listening end: what the dialler has to prove itself with. */
  #secret: Uint8Array | undefined;
  #timer: Timer | undefined;
  #lastReceived: number;
  #lastSent: number;
  #writable = true;
  #backlog = 0;
  #reason: BusError | undefined;
  #hint: string | undefined;
  /** Bytes in both directions since the beginning. */
  readonly bytes = { sent: 0, received: 0 };

  constructor(role: 'dialler' | 'listener', connection: Connection, host: SessionHost) {
    this.role = role;
    this.#host = host;
    this.#connection = connection;
    const { identity, clock } = host;
    this.#lastReceived = this.#lastSent = clock.monotonic();
    const { cluster, node, incarnation, maxFrame } = identity;
    this.#hello = {
      type: 'hello',
      protocol: protocolRange,
      cluster,
      node,
      incarnation,
      epoch: host.epoch(),
      maxFrame,
      nonce: clock.randomBytes(16),
      ...host.greeting(),
    };
    this.#timer = clock.timer(host.handshake, () =>
      this.kill(
        new BusError(
          role === 'dialler' ? 'NODE_UNREACHABLE' : 'HANDSHAKE_REFUSED', // nobody has refused: worth another try
          `the handshake with ${connection.remote} took longer than ${host.handshake} ms`,
        ),
      ),
    );
    connection.open({
      data: (chunk) => this.#receive(chunk),
      drain: () => this.#drained(),
      refused: (problem) => this.#reject({ code: 'HANDSHAKE_REFUSED', detail: problem }),
      closed: (error) => this.#closed(error),
    });
    if (role === 'dialler') this.#write(encodeFrame(this.#hello));
  }

  get state(): SessionState {
    return this.#lifecycle.state;
  }

  /** Where the other end is, for people. */
  get remote(): string {
    return this.#connection.remote;
  }

  /** What the other end said of itself; true once the session is open. */
  get peer(): Hello {
    if (this.#peer === undefined) throw new BusError('INTERNAL', 'a session has no peer before its handshake');
    return this.#peer;
  }

  /** Whether it links two members, beside their links to the leader. */
  get direct(): boolean {
    return (this.role === 'dialler' ? this.#hello : this.#peer)?.direct !== undefined;
  }

  /** Whether data may be sent now. Control frames may be sent always. */
  get writable(): boolean {
    return this.#writable && this.state === 'open';
  }

  /** Where the leader listens, as told by who refused this node. */
  get hint(): string | undefined {
    return this.#hint;
  }

  /** How long nothing has come in, in milliseconds. */
  get silence(): number {
    return this.#host.clock.monotonic() - this.#lastReceived;
  }

  /**
   * Sends a control frame; before any data that still waits. A link whose control backlog grows too long is closed.
   *
   * @returns false, and nothing was sent, when a request or reply is larger than the other end takes. Any other frame that
   *   is too large closes the link.
   */
  send(frame: ControlFrame): boolean {
    if (this.state === 'closed') return true;
    const bytes = encodeFrame(frame);
    if (this.#peer !== undefined && bytes.length - 4 > this.#peer.maxFrame) {
      if (frame.type === 'request' || frame.type === 'reply') return false;
      this.kill(
        new BusError(
          'PROTOCOL_ERROR',
          `a '${frame.type}' frame of ${bytes.length} bytes is over the limit of ${this.#peer.node}`,
        ),
      );
      return true;
    }
    this.#write(bytes);
    return true;
  }

  /** Sends a packed frame. Ask `writable` before. */
  sendPacked(bytes: Uint8Array): void {
    if (this.state === 'open') this.#write(bytes);
  }

  /** Sends what is waiting and closes. */
  close(reason: BusError): void {
    if (this.state === 'closed') return;
    this.#reason ??= reason;
    this.#end();
    this.#connection.close();
  }

  /** Closes at once, also what is closing in order. */
  kill(reason: BusError): void {
    if (this.state !== 'closed') {
      this.#reason ??= reason;
      this.#end();
    }
    this.#connection.destroy(reason);
  }

  #end(): void {
    this.#lifecycle.to('closed');
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #closed(error: Error | undefined): void {
    if (this.state !== 'closed') this.#end();
    const { node } = this.#peer ?? { node: this.remote };
    if (error instanceof BusError && error.code === 'HANDSHAKE_REFUSED') this.#reason ??= error;
    this.#host.closed(
      this,
      this.#reason ??
        new BusError('NODE_UNREACHABLE', `the link to ${node} closed`, error === undefined ? {} : { cause: error }),
    );
  }

  #write(bytes: Uint8Array): void {
    this.#lastSent = this.#host.clock.monotonic();
    this.bytes.sent += bytes.length;
    if (!this.#writable) {
      this.#backlog += bytes.length;
      if (this.#backlog > maxControlBacklog) {
        this.kill(new BusError('NODE_UNREACHABLE', `${this.remote} takes nothing: ${this.#backlog} bytes wait`));
        return;
      }
    }
    if (!this.#connection.write(bytes)) this.#writable = false;
  }

  #drained(): void {
    this.#writable = true;
    this.#backlog = 0;
    if (this.state === 'open') this.#host.writable(this);
  }

  #receive(chunk: Uint8Array): void {
    if (this.state === 'closed') return;
    this.#lastReceived = this.#host.clock.monotonic();
    this.bytes.received += chunk.length;
    if (this.bytes.received === chunk.length && looksLikeTls(chunk)) {
      const detail = 'it speaks TLS, and this node plain text there: both need the same scheme, tls:// or tcp://';
      this.#reject({ code: 'HANDSHAKE_REFUSED', detail });
      return;
    }
    try {
      this.#decoder.push(chunk, this.#onFrame);
      if (this.state === 'open') this.#host.idle(this);
    } catch (error) {
      this.kill(
        error instanceof BusError ? error : new BusError('INTERNAL', 'a frame could not be handled', { cause: error }),
      );
    }
  }

  readonly #onFrame = (body: Uint8Array): boolean => {
    if (this.state === 'open') this.#host.frame(this, body);
    else this.#handshake(decodeFrame(body));
    return this.state !== 'closed';
  };

  #handshake(frame: ControlFrame): void {
    if (this.role === 'dialler') {
      if (frame.type === 'reject') {
        this.#hint = frame.leader;
        this.kill(refusal(frame.code, `${this.remote} refused this node: ${oneLine(frame.detail)}`));
      } else if (frame.type === 'challenge' && this.state === 'greeting') this.#answer(frame);
      else if (frame.type === 'welcome' && this.state === 'proving') this.#open(frame.epoch);
      else throw unexpected(frame.type);
    } else if (frame.type === 'hello' && this.state === 'greeting') this.#challenge(frame);
    else if (frame.type === 'proof' && this.state === 'proving') this.#admit(frame.proof);
    else throw unexpected(frame.type);
  }

  #challenge(hello: Hello): void {
    const problem = this.#mismatch(hello);
    if (problem !== undefined) {
      this.#reject({ code: 'HANDSHAKE_REFUSED', detail: problem });
      return;
    }
    this.#peer = hello;
    this.#secret = secretFor(hello.node, this.#host.identity, this.#host.clock);
    const proof = prove(this.#secret, 'listener', hello, this.#hello);
    this.#lifecycle.to('proving');
    this.send({ ...this.#hello, type: 'challenge', proof });
  }

  #answer(challenge: ControlFrame & { type: 'challenge' }): void {
    const { proof, ...rest } = challenge;
    const hello: Hello = { ...rest, type: 'hello' };
    const problem = this.#mismatch(hello);
    if (problem !== undefined) {
      this.kill(new BusError('HANDSHAKE_REFUSED', `${this.remote} does not fit: ${problem}`));
      return;
    }
    const { secret } = this.#host.identity;
    if (!sameProof(proof, prove(secret, 'listener', this.#hello, hello))) {
      this.kill(
        new BusError('HANDSHAKE_REFUSED', `${this.remote} does not know this node's secret: give both the same`),
      );
      return;
    }
    this.#peer = hello;
    this.#lifecycle.to('proving');
    this.send({ type: 'proof', proof: prove(secret, 'dialler', this.#hello, hello) });
  }

  #admit(proof: Uint8Array): void {
    const hello = this.peer;
    if (!sameProof(proof, prove(this.#secret, 'dialler', hello, this.#hello))) {
      this.#reject({ code: 'HANDSHAKE_REFUSED', detail: 'its proof does not fit the secret' });
      return;
    }
    const refused = this.#host.admit(hello);
    if (refused !== undefined) {
      this.#reject(refused);
      return;
    }
    const epoch = this.#host.epoch();
    this.send({ type: 'welcome', epoch });
    this.#open(epoch);
  }

  #mismatch(hello: Hello): string | undefined {
    const { cluster } = this.#host.identity;
    const [low, high] = hello.protocol;
    const [lowest, highest] = protocolRange;
    if (low > highest || high < lowest)
      return `it speaks protocol ${low} to ${high}, this node ${lowest} to ${highest}`;
    if (hello.cluster !== cluster) return 'it belongs to another cluster';
    return nameProblem(hello.node, this.#connection.names);
  }

  #reject(refused: Refusal): void {
    this.send({ type: 'reject', ...refused });
    this.close(new BusError(refused.code, `${this.remote} was refused: ${refused.detail}`));
  }

  #open(epoch: Epoch): void {
    this.#timer?.cancel();
    this.#lifecycle.to('open');
    this.#decoder.maxFrame = this.#host.identity.maxFrame;
    this.#look();
    this.#host.opened(this, epoch);
  }

  // A timer that fires late because the event loop was busy must look at the input that waits before it judges: twice
  // around the loop, so that the poll phase has run in between.
  readonly #look = (): void => {
    const { clock, liveness } = this.#host;
    this.#timer = undefined;
    if (this.state !== 'open') return;
    if (this.#judge() === 'silent') {
      clock.immediate(() => clock.immediate(this.#endSilence));
      return;
    }
    this.#timer = clock.timer(nextLook(this.#traffic, liveness, clock.monotonic()), this.#look).unref();
  };

  readonly #endSilence = (): void => {
    if (this.state !== 'open') return;
    if (this.#judge() !== 'silent') {
      this.#look();
      return;
    }
    const { suspect } = this.#host.liveness;
    this.kill(new BusError('NODE_UNREACHABLE', `nothing came from ${this.peer.node} for ${suspect} ms`));
  };

  get #traffic(): { lastSent: number; lastReceived: number } {
    return { lastSent: this.#lastSent, lastReceived: this.#lastReceived };
  }

  #judge(): 'fine' | 'ping' | 'silent' {
    const { clock, liveness } = this.#host;
    const verdict = judgeLink(this.#traffic, liveness, clock.monotonic());
    if (verdict === 'ping') this.send({ type: 'ping', version: this.#host.registryVersion() });
    return verdict;
  }
}

function unexpected(type: string): BusError {
  return new BusError('PROTOCOL_ERROR', `a '${type}' frame came before the handshake was over`);
}

function refusal(code: string, text: string): BusError {
  return new BusError(Object.hasOwn(errorCodes, code) ? (code as ErrorCode) : 'HANDSHAKE_REFUSED', text);
}
