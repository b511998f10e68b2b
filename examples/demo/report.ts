// What the processes of the demo tell each other, over the channel that Node opens between a process and its children.
import type { Bus, Logger } from 'mailvan';

/** From a child to the demo. */
export type Report =
  | { type: 'ready'; address?: string | undefined }
  | { type: 'event'; event: string; node: string }
  | { type: 'handled'; n: number; topic: string }
  | { type: 'receipt'; n: number; topic: string; matched: number; unreachable: string[] }
  | { type: 'sent'; to: number };

/** From the demo to the producer: publish messages `from` to `to`, one every `interval` milliseconds. */
export interface Order {
  from: number;
  to: number;
  interval: number;
}

/** The topics that are published on, in turn. */
export const topics = ['orders.created', 'orders.paid', 'payments.received', 'stock.low'] as const;

const nothing = (): void => {};

/** Keeps the library's warnings off the screen: the demo shows the events that matter. */
export const quiet: Logger = { debug: nothing, info: nothing, warn: nothing, error: console.error, child: () => quiet };

/** Tells the demo something. */
export function tell(report: Report): void {
  process.send?.(report);
}

/** Tells the demo who joins and who is suspected, and ends this process when it is told to or the demo has gone. */
export function attach(bus: Bus): void {
  for (const type of ['node.joined', 'node.suspect'] as const) {
    bus.on(type, ({ node }) => tell({ type: 'event', event: type, node }));
  }
  const close = (): void => void bus.close().finally(() => process.exit());
  process.once('disconnect', close);
  process.once('SIGTERM', close);
  tell({ type: 'ready', address: bus.address });
}
