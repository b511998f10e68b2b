/** What is known of a link's traffic; all times monotonic, in milliseconds. */
export interface Traffic {
  readonly lastSent: number;
  readonly lastReceived: number;
}

/** `ping`: send something; `silent`: the other end has not been heard for too long. */
export type LinkVerdict = 'fine' | 'ping' | 'silent';

/**
 * Judges a link by its traffic. Any byte is a sign of life, and both ends ping by themselves when they have nothing else
 * to send, so no reply to a ping is needed.
 */
export function judgeLink(traffic: Traffic, limits: { ping: number; suspect: number }, now: number): LinkVerdict {
  if (now - traffic.lastReceived >= limits.suspect) return 'silent';
  return now - traffic.lastSent >= limits.ping ? 'ping' : 'fine';
}

/** When to judge again, in milliseconds from now. */
export function nextLook(traffic: Traffic, limits: { ping: number; suspect: number }, now: number): number {
  const due = Math.min(traffic.lastSent + limits.ping, traffic.lastReceived + limits.suspect);
  return Math.max(1, Math.ceil(due - now));
}
