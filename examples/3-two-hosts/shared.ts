// What the consumer and the producer have in common.
import type { Bus, LivenessOptions } from 'mailvan';

/** Shows on stderr what the bus tells of itself: who joins, who is suspect, whether the leader is lost or found. */
export function showEvents(bus: Bus): void {
  bus.on('*', (event) => {
    const who = 'node' in event ? ` ${event.node}` : '';
    const why = 'reason' in event ? ` (${event.reason})` : '';
    console.error(`[${event.type}]${who}${why}`);
  });
}

/**
 * How long a silent link is trusted: `suspect` milliseconds, by default 3,000. A shorter time finds a broken link sooner
 * and calls a slow one broken more often.
 */
export function livenessOf(suspect: string | undefined): Partial<LivenessOptions> {
  return suspect === undefined ? {} : { ping: Math.floor(Number(suspect) / 3), suspect: Number(suspect) };
}
