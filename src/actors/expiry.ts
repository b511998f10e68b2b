import type { Clock } from '../core/clock.ts';
import type { ExpiryReason } from '../core/events.ts';
import type { Delivery } from './delivery.ts';

/** When a message is to be gone from a mailbox that keeps messages for `age` ms, in milliseconds since the epoch. */
export function deadline({ message, arrivedAt }: Delivery, age: number): number {
  const oldest = arrivedAt === 0 ? Number.POSITIVE_INFINITY : arrivedAt + age;
  return message.expiresAt === 0 ? oldest : Math.min(message.expiresAt, oldest);
}

/** Why a message is not to be handed out any more; undefined when it is. */
export function expiry({ message, arrivedAt }: Delivery, age: number, clock: Clock): ExpiryReason | undefined {
  if (message.expiresAt === 0 && arrivedAt === 0) return undefined;
  const now = clock.now();
  if (message.expiresAt !== 0 && message.expiresAt <= now) return 'expired';
  return arrivedAt !== 0 && arrivedAt + age <= now ? 'age' : undefined;
}
