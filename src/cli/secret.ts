import { defineCommand } from 'citty';
import { systemClock } from '../core/clock.ts';
import type { Invocation } from './invocation.ts';

/** As many as the proof has: more would add nothing. */
const secretBytes = 32;

/** `mailvan secret` */
export const secret = defineCommand({
  meta: { name: 'secret', description: 'Print a new secret for a cluster: 256 random bits' },
  args: {},
  run: async ({ data }) => {
    const { terminal } = data as Invocation; // main.ts hands it to every command
    await terminal.line(Buffer.from(systemClock.randomBytes(secretBytes)).toString('base64url'));
  },
});
