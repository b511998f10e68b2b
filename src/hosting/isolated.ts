import type { Clock } from '../core/clock.ts';
import { BusError, describe } from '../core/errors.ts';
import { Cell, type CellOptions } from './cell.ts';
import { Gate, Suspects } from './gate.ts';
import type { ActorContext, HandlerActor, Kind } from './kinds.ts';
import type { Abilities } from './pipe.ts';

/** A kind whose instances each run in a process of their own. */
export function isolatedKind(options: CellOptions, clock: Clock): Kind {
  const suspects = new Suspects();
  /** The processes that there are, by instance: the next one starts when the last one is gone. */
  const cells = new Map<string, Cell>();
  return async (context) => {
    const key = `${context.placement}.${context.instance}`;
    await cells.get(key)?.ended;
    if (context.signal.aborted) throw context.signal.reason;
    const gate = new Gate(suspects, context.timeout);
    const cell = new Cell(options, clock, context, gate);
    cells.set(key, cell);
    void cell.ended.then(() => {
      if (cells.get(key) === cell) cells.delete(key);
    });
    context.signal.addEventListener('abort', () => cell.kill('its instance has ended'), { once: true });
    return actorOf(cell, gate, suspects, context, await cell.start());
  };
}

function actorOf(cell: Cell, gate: Gate, suspects: Suspects, context: ActorContext, can: Abilities): HandlerActor {
  return {
    ...(can.onStart && { onStart: () => cell.call('onStart') }),
    ...(can.onTell && { onTell: (value: unknown) => cell.tell(value) }),
    ...(can.onMessage && {
      onMessage: async (message, given) => {
        const key = `${given.subscription}/${message.id}`;
        await gate.enter(key, given);
        try {
          await cell.handle(message, given);
          suspects.clear(key);
        } finally {
          gate.leave(key);
        }
      },
    }),
    onStop: async () => {
      try {
        if (can.onStop && !context.signal.aborted) await cell.call('onStop');
      } finally {
        await cell.exit();
      }
    },
  };
}

/** A kind that a module of this process makes. @param module its URL. */
export function importedKind(module: string): Kind {
  return async (context) => (await load(module))(context);
}

/** The kind that a module exports by default. @throws {BusError} `OPTION_INVALID`, and what the module throws. */
async function load(module: string): Promise<Kind> {
  const { default: kind } = (await import(module)) as { default?: unknown };
  if (typeof kind === 'function') return kind as Kind;
  throw new BusError('OPTION_INVALID', `the default export of ${module} is ${describe(kind)}, not a kind`);
}
