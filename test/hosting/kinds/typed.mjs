import { z } from 'zod';
import { topic } from '../../../src/index.ts';

const seen = topic('seen', z.object({ sum: z.number(), refused: z.boolean().optional() }));

/** Takes sums as texts, and publishes them as numbers. */
export default function typed() {
  return {
    schema: z.object({ sum: z.string().transform(Number) }),
    async onMessage({ payload }, context) {
      await context.publish(seen, payload);
      await context.publish(seen, { sum: 'no number' }).catch(({ code, issues }) => {
        const refused = code === 'PAYLOAD_INVALID' && issues[0].path === 'payload.sum';
        return context.publish(seen, { sum: 0, refused });
      });
    },
  };
}
