import type { Clock } from '../../core/clock.ts';
import { BusError } from '../../core/errors.ts';
import { checkName } from '../../core/topic.ts';
import type { Network } from './network.ts';

/** What promoting needs of the bus. */
export interface PromotionHost {
  readonly node: string;
  readonly clock: Clock;
  network(): Network | undefined;
}

/** How long a node waits until what it has answered is on its way, before it closes its links, in milliseconds. */
const handOver = 20;
/** How long another node may take to answer, in milliseconds. */
const answerTime = 5000;

/** Has another node lead, as an operator says. */
export class Promotion {
  readonly #host: PromotionHost;

  constructor(host: PromotionHost) {
    this.#host = host;
  }

  /** Has another node lead. @throws {BusError} as `bus.promote()`. */
  async promote(target: string, timeout: number): Promise<void> {
    const network = this.#host.network();
    const { clock, node } = this.#host;
    if (network === undefined) throw new BusError('OPTION_INVALID', 'a bus that stands alone has no leader');
    const { node: leader, linked = false } = network.leader ?? {};
    if (linked && leader === target) return;
    const end = clock.monotonic() + timeout;
    if (linked && network.leads) await this.#handOver(network, target, Math.min(timeout, answerTime));
    else if (linked && leader !== undefined)
      await network.request(leader, 'cluster.promote', { node: target }, timeout);
    else if (node === target) network.lead();
    else {
      throw new BusError(
        'NO_LEADER',
        `the leader is away: '${target}' has to be told itself (mailvan promote ${target} --leader <where it listens>)`,
      );
    }
    while (network.leader?.node !== target || !network.leader.linked) {
      if (clock.monotonic() >= end) throw new BusError('TIMEOUT', `'${target}' did not lead within ${timeout} ms`);
      await new Promise<void>((done) => void clock.timer(handOver, done));
    }
  }

  /** The leader hands over to a member. */
  async #handOver(network: Network, target: string, timeout: number): Promise<void> {
    const { clock } = this.#host;
    const member = network.registry.get(target);
    if (member?.state !== 'alive')
      throw new BusError('NODE_UNREACHABLE', `there is no node '${target}' that can be reached`);
    const { address } = member;
    if (address === undefined) {
      throw new BusError(
        'OPTION_INVALID',
        `node '${target}' cannot lead: it listens nowhere; give it the option 'listen'`,
      );
    }
    const { term } = network;
    await network.request(target, 'cluster.lead', { term: term + 1 }, timeout);
    // Whoever has asked for this gets an answer before the links close.
    clock.timer(2 * handOver, () => network.follow(address, term + 1));
  }

  /** The leader has asked this node to lead. */
  async #lead(source: string): Promise<undefined> {
    const network = this.#host.network();
    if (network === undefined || network.leader?.node !== source)
      throw new BusError('PROTOCOL_ERROR', `node '${source}' does not lead`);
    if (network.address === undefined)
      throw new BusError('OPTION_INVALID', `node '${this.#host.node}' listens nowhere: give it the option 'listen'`);
    this.#host.clock.timer(handOver, () => network.lead());
    return undefined;
  }

  /** Answers a request of another node; undefined when it is about something else. */
  answer(method: string, params: Readonly<Record<string, unknown>>, source: string): Promise<unknown> | undefined {
    if (method === 'cluster.lead') return this.#lead(source);
    return method === 'cluster.promote' ? this.#promote(params.node) : undefined;
  }

  async #promote(target: unknown): Promise<undefined> {
    checkName('node', target);
    const network = this.#host.network();
    if (network?.leads !== true) throw new BusError('NO_LEADER', `node '${this.#host.node}' does not lead`);
    if (target !== this.#host.node) await this.#handOver(network, target, answerTime);
    return undefined;
  }
}
