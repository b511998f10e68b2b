import type { Delivery } from '../../actors/delivery.ts';
import { unasked } from './receiving.ts';
import { RemoteConsumer } from './remote-consumer.ts';

/** How long to wait for what the home has sent before its answer and has not arrived yet, in milliseconds. */
const patience = 5000;

/** A consumer of another node's mailbox that is handed as many messages as are asked for. */
export class PulledConsumer extends RemoteConsumer {
  /** How many deliveries are wanted, those that are out included. */
  want(demand: number): void {
    this.runner.concurrency = demand;
    this.keep(Math.max(0, demand - this.runner.running));
  }

  /** Resolves when everything below a number has come and been handed out, or that takes too long. */
  async caught(next: number, waits: () => boolean): Promise<void> {
    const end = this.clock.monotonic() + patience;
    while (waits() && this.active && (this.next < next || this.arrived > 0) && this.clock.monotonic() < end) {
      await new Promise<void>((done) => void this.clock.timer(1, done));
    }
  }

  override settle(): void {
    this.keep(Math.max(0, this.runner.concurrency - this.runner.running));
    super.settle();
  }

  override failed(delivery: Delivery, thrown: unknown): void {
    if (thrown === unasked) this.unseen(delivery);
    else super.failed(delivery, thrown);
  }
}
