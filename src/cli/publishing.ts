import type { Bus } from '../bus/bus.ts';
import type { PublishOptions } from '../bus/options/publish-options.ts';
import { type Deferred, deferred } from '../core/async.ts';
import { systemClock, type Timer } from '../core/clock.ts';
import type { Receipt } from '../core/errors.ts';
import { exitCodes, Failure, failureOf } from './failure.ts';
import { numberOf } from './table.ts';
import type { Terminal } from './terminal.ts';

/** How many messages may wait for their receipts: enough to fill a link, few enough to stop soon. */
const window = 512;
/** How often the progress is shown, in milliseconds. */
const refresh = 100;

/** Publishes one message after the other on one topic, a bounded number at a time, and keeps count. */
export class Publishing {
  readonly #bus: Bus;
  readonly #terminal: Terminal;
  readonly #topic: string;
  readonly #options: PublishOptions;
  readonly #begun = systemClock.monotonic();
  #timer: Timer | undefined;
  #read = 0;
  #published = 0;
  #failed = 0;
  #partly = 0;
  #waiting = 0;
  #room: Deferred<void> | undefined;
  #first: Failure | undefined;

  constructor(bus: Bus, terminal: Terminal, topic: string, options: PublishOptions) {
    this.#bus = bus;
    this.#terminal = terminal;
    this.#topic = topic;
    this.#options = options;
    // Whoever types the messages sees them anyway, and should not have them written over.
    if (terminal.isInteractive && !process.stdin.isTTY) this.#show();
  }

  /** Whether a message has failed: none should follow it. */
  get hasFailed(): boolean {
    return this.#first !== undefined;
  }

  /** Sends the next message. @returns a promise when it has to wait for room before another one. */
  send(payload: () => unknown): Promise<void> | undefined {
    const line = ++this.#read;
    this.#waiting++;
    void this.#publish(payload, line);
    if (this.#waiting < window) return undefined;
    this.#room ??= deferred();
    return this.#room.promise;
  }

  /** Waits for every receipt and sums up. @throws {Failure} the first one, or that some subscribers missed something. */
  async finish(): Promise<void> {
    while (this.#waiting > 0) {
      this.#room ??= deferred();
      await this.#room.promise;
    }
    this.#timer?.cancel();
    const seconds = (systemClock.monotonic() - this.#begun) / 1000;
    const counts = { published: this.#published, failed: this.#failed, partlyUnreachable: this.#partly };
    await this.#terminal.line(this.#terminal.json ? JSON.stringify({ ...counts, seconds }) : this.#summary(seconds));
    if (this.#first !== undefined) throw this.#first;
    if (this.#partly > 0) {
      const message = `${numberOf(this.#partly)} messages did not reach every subscription that matched`;
      const hint = "'mailvan status' shows who is away";
      throw new Failure({ code: 'NODE_UNREACHABLE', message, exitCode: exitCodes.connect, hint, details: counts });
    }
  }

  async #publish(payload: () => unknown, line: number): Promise<void> {
    try {
      const receipt = await this.#bus.publish(this.#topic, payload(), this.#options);
      const missed = missedBy(receipt);
      if (missed !== undefined && receipt.unreachable.length === receipt.matched) throw missed;
      this.#published++;
      if (missed !== undefined) this.#partly++;
    } catch (error) {
      this.#failed++;
      this.#first ??= atLine(line, failureOf(error));
    }
    this.#waiting--;
    if (this.#waiting > window / 2) return;
    this.#room?.resolve();
    this.#room = undefined;
  }

  #show(): void {
    const rate = this.#published / Math.max(0.001, (systemClock.monotonic() - this.#begun) / 1000);
    const counts = `${numberOf(this.#published)} published · ${numberOf(this.#waiting)} under way`;
    this.#terminal.progress(`${counts} · ${numberOf(Math.round(rate))}/s`);
    this.#timer = systemClock.timer(refresh, () => this.#show()).unref();
  }

  #summary(seconds: number): string {
    const rate = seconds > 0.5 ? `, ${numberOf(Math.round(this.#published / seconds))}/s` : '';
    const failed = this.#failed === 0 ? '' : `; ${numberOf(this.#failed)} failed`;
    const count = `${numberOf(this.#published)} message${this.#published === 1 ? '' : 's'}`;
    return `published ${count} on '${this.#topic}' in ${seconds.toFixed(1)} s${rate}${failed}`;
  }
}

/** A failure when a receipt names somebody who could not be reached. */
export function missedBy({ id, matched, unreachable }: Receipt): Failure | undefined {
  if (unreachable.length === 0) return undefined;
  const names = unreachable.slice(0, 3).join(', ') + (unreachable.length > 3 ? ', …' : '');
  return new Failure({
    code: 'NODE_UNREACHABLE',
    message: `${unreachable.length} of ${matched} subscriptions could not be reached and will not get ${id}: ${names}`,
    exitCode: exitCodes.connect,
    hint: "'mailvan status' shows who is away; publish again when they are back",
    details: { id, matched, unreachable },
  });
}

function atLine(line: number, { code, message, exitCode, hint, details, trace }: Failure): Failure {
  const text = `line ${numberOf(line)}: ${message}`;
  return new Failure({ code, message: text, exitCode, hint, details: { ...details, line }, trace });
}
