import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Clock } from '../core/clock.ts';
import { hexOf } from '../core/hex.ts';
import type { Hello } from '../wire/frame.ts';

/** The secrets that a node knows. */
interface Secrets {
  readonly secret: Uint8Array | undefined;
  readonly secrets?: ReadonlyMap<string, Uint8Array> | undefined;
}

/** The parts of a hello that a proof covers. */
type Greeting = Omit<Hello, 'type'>;

/**
 * Proves that one end of a link knows the secret: HMAC-SHA-256 (RFC 2104) over both greetings with their nonces. The role
 * is part of it, so that what one end sent cannot be played back to it as the other end's proof.
 *
 * @param secret undefined when the cluster has none: then a proof only shows that the other end has none either.
 */
export function prove(
  secret: Uint8Array | undefined,
  role: 'dialler' | 'listener',
  dialler: Greeting,
  listener: Greeting,
): Uint8Array {
  // An end that speaks only version 1 does not know the rest.
  const extended = Math.min(dialler.protocol[1], listener.protocol[1]) >= 2;
  return createHmac('sha256', secret ?? new Uint8Array(0))
    .update(JSON.stringify(['mailvan', role, transcript(dialler, extended), transcript(listener, extended)]))
    .digest();
}

/**
 * What a node that dials has to prove itself with: its own secret, else the common one. Where only single nodes have secrets
 * nobody else gets in, and it takes a proof to hear that.
 */
export function secretFor(node: string, { secret, secrets }: Secrets, clock: Clock): Uint8Array | undefined {
  return secrets?.get(node) ?? secret ?? (secrets === undefined ? undefined : clock.randomBytes(32));
}

/** Compares in a time that tells nothing. */
export function sameProof(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

function transcript(hello: Greeting, extended: boolean): unknown[] {
  const { protocol, cluster, node, incarnation, epoch, maxFrame, nonce } = hello;
  const known = [protocol, cluster, node, incarnation, epoch.term, epoch.start, maxFrame, hexOf(nonce)];
  if (!extended) return known;
  const { address = null, leader = null, promote = null, direct = null } = hello;
  return [...known, address, leader, promote, direct];
}
