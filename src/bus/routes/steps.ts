import type { StepOutput } from '../../actors/consumer.ts';
import type { Staged } from '../../actors/delivery.ts';
import type { Publisher } from './publisher.ts';
import type { DurableTarget, Route } from './route.ts';

/** One message of a step, on its way to a durable mailbox. */
interface Output {
  readonly route: DurableTarget;
  readonly message: Staged;
}

/** One message of a step, for those who get it when the step is written. */
interface Later {
  readonly message: Staged;
  readonly routes: readonly Route[];
}

/**
 * The atomic step of a handler: what it has staged is given to every durable mailbox in the same turn of the event loop as
 * its settlement, and so is written in the same commit: both or neither.
 */
export class Steps {
  readonly #publisher: Publisher;
  /** Of steps whose commit failed: the settlement is written again by its mailbox, and the outputs by us, in one commit. */
  #unknown: Output[] = [];
  /** What those send to where nothing is written. */
  #unsent: Later[] = [];

  constructor(publisher: Publisher) {
    this.#publisher = publisher;
  }

  /** @throws {BusError} when a mailbox does not take what was staged: then none has. */
  readonly step = (messages: readonly Staged[]): StepOutput => {
    const outputs: Output[] = [];
    const later: Later[] = [];
    for (const message of messages) {
      const routes = this.#publisher.routesOf(message.topic);
      const memory = routes.filter((route) => route.durable === undefined);
      if (memory.length > 0) later.push({ message, routes: memory });
      for (const { durable } of routes) {
        if (durable === undefined) continue;
        const problem = durable.refuses(message);
        if (problem !== undefined) throw problem;
        outputs.push({ route: durable, message });
      }
    }
    for (const { route, message } of outputs) route.stage(message, undefined);
    return {
      committed: () => this.#send(later),
      failed: () => {
        this.#unknown.push(...outputs);
        this.#unsent.push(...later);
      },
    };
  };

  /** The store is open again: what a failed commit has not brought to the disk is given once more. */
  restored(): void {
    const outputs = this.#unknown;
    const later = this.#unsent;
    this.#unknown = [];
    this.#unsent = [];
    for (const output of outputs) {
      const { route, message } = output;
      if (route.has(message)) continue;
      route.stage(message, { committed: () => {}, failed: () => void this.#unknown.push(output) });
    }
    // Its settlement is kept by its mailbox whatever becomes of the next commit, so it is handled.
    this.#send(later);
  }

  #send(later: readonly Later[]): void {
    for (const { message, routes } of later) this.#publisher.sendTo(message, routes);
  }
}
