import { prove } from '../../src/transport/proof.ts';
import type { Connection } from '../../src/transport/transport.ts';
import { FrameDecoder } from '../../src/wire/decoder.ts';
import { flow, readFlow } from '../../src/wire/flow.ts';
import { type ControlFrame, decodeFrame, encodeFrame, type Hello } from '../../src/wire/frame.ts';

/** Who an intruder says it is. */
export interface Guise {
  readonly node: string;
  readonly incarnation?: string;
  readonly cluster?: string;
  readonly secret?: Uint8Array;
  readonly maxFrame?: number;
  readonly nonce?: Uint8Array;
  readonly epoch?: Hello['epoch'];
}

/** A peer that knows the secret, or not, and sends whatever it likes. */
export class Intruder {
  readonly #connection: Connection;
  readonly #hello: Hello;
  readonly #secret: Uint8Array | undefined;
  readonly #decoder = new FrameDecoder({ maxFrame: 8 * 1024 * 1024 });
  #look: (() => void)[] = [];
  /** The control frames that have come, the last 100 of them. */
  readonly frames: ControlFrame[] = [];
  /** Up to which number is confirmed, by stream. */
  readonly confirmed = new Map<number, number>();
  state: 'greeting' | 'in' | 'closed' = 'greeting';

  constructor(connection: Connection, { secret, ...guise }: Guise) {
    this.#connection = connection;
    this.#secret = secret;
    this.#hello = {
      type: 'hello',
      protocol: [1, 2],
      cluster: 'default',
      incarnation: '0-00000000000000aa',
      epoch: { term: 0, start: 0 },
      maxFrame: 8 * 1024 * 1024,
      nonce: new Uint8Array(16).fill(7),
      ...guise,
    };
    connection.open({
      data: (chunk) => this.#decoder.push(chunk, (body) => this.#take(body)),
      drain: () => {},
      closed: () => {
        this.state = 'closed';
        this.#told();
      },
    });
  }

  /** Goes through the handshake. @returns whether it was let in. */
  async greet(): Promise<boolean> {
    this.say(this.#hello);
    await this.until(() => this.state !== 'greeting');
    return this.state === 'in';
  }

  say(frame: ControlFrame): void {
    this.send(encodeFrame(frame));
  }

  /** Sends bytes, with their length in front if they are to be a frame. */
  send(bytes: Uint8Array): void {
    this.#connection.write(bytes);
  }

  leave(): void {
    this.#connection.destroy();
  }

  /** Resolves when something is so, or the connection has closed. */
  async until(is: () => boolean): Promise<void> {
    while (this.state !== 'closed' && !is()) await new Promise<void>((done) => this.#look.push(done));
  }

  #take(body: Uint8Array): void {
    if (body[1] === 33)
      readFlow(body, (kind, stream, number) => kind === flow.confirm && this.confirmed.set(stream, number));
    if (body[1] === 32 || body[1] === 33) return;
    const frame = decodeFrame(body);
    if (frame.type === 'challenge')
      this.say({ type: 'proof', proof: prove(this.#secret, 'dialler', this.#hello, frame) });
    if (frame.type === 'welcome') this.state = 'in';
    this.frames.push(frame);
    if (this.frames.length > 100) this.frames.shift();
    this.#told();
  }

  #told(): void {
    const waiting = this.#look;
    this.#look = [];
    for (const look of waiting) look();
  }
}
