import type { Clock } from '../core/clock.ts';
import { ActorTree, type Driver, type Runtime, type RuntimeOptions } from './runtime.ts';

/** What a virtual runtime is made with. */
export interface VirtualRuntimeOptions extends RuntimeOptions {
  /** Turns run in its immediates: under a virtual clock, only when that is told to settle or advance. */
  readonly clock: Clock;
}

/**
 * The deterministic twin of the runtime over nact: the same tree and the same rules, but each turn is an immediate of
 * the given clock. Turns run in order of wake, so the same seed gives the same run.
 *
 * @throws {BusError} `NAME_INVALID`.
 */
export function createVirtualRuntime(options: VirtualRuntimeOptions): Runtime {
  const { clock } = options;
  // An immediate cannot be taken back; one that comes after its actor was stopped finds it so and does nothing.
  const driver: Driver<() => void> = {
    open: (_parent, _name, actor) => () => actor.run(),
    wake: (run) => clock.immediate(run),
    close: () => {},
    end: () => {},
  };
  return new ActorTree(options, () => driver);
}
