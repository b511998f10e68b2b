import { BusError, PermanentError } from '../../../src/core/errors.ts';

/** Does what each message says, and publishes what it has seen on `seen`. */
export default async function contract(context) {
  const { node, kind, placement, instance, generation, args } = context;
  const see = (what, more = {}) => context.publish('seen', { what, pid: process.pid, ...more });
  let last;
  return {
    onStart: () => see('start', { node, kind, placement, instance, generation, args }),
    onTell: (value) => {
      last = value;
      return see('tell', { value });
    },
    onStop: () => see('stop', { aborted: context.signal.aborted }),
    onMessage: async (message, given) => {
      const { id, topic, payload, headers, key, publishedAt, source } = message;
      const { attempt, subscription } = given;
      switch (payload.do) {
        case 'show':
          await see('message', { id, topic, payload, headers, key, publishedAt, source, attempt, subscription, last });
          return;
        case 'log':
          given.log.info({ depth: 3, err: new TypeError('odd') }, 'of the delivery');
          context.log.child({ more: 1 }).error({ odd: () => 1 }, 'of the instance');
          console.log('to stdout');
          console.error('to stderr');
          return;
        case 'stage':
          await given.publish('staged', payload.value);
          if (attempt < payload.good) throw new Error('not yet');
          return;
        case 'stage badly':
          await given.publish('$no', 1).catch((error) => see('refused', { name: error.name, code: error.code }));
          await given.publish('staged', { no: class {} }).catch((error) => see('refused', { code: error.code }));
          given.publish('$no', 1); // nobody waits for it
          return;
        case 'publish badly':
          await context
            .publish('$no', 1)
            .catch((error) => see('refused', { code: error.code, bus: error instanceof BusError }));
          return;
        case 'receipt':
          await see('receipt', { receipt: await context.publish('elsewhere', 1, { id: 'chosen' }) });
          return;
        case 'extend':
          given.extend(10_000);
          await new Promise((done) => setTimeout(done, payload.ms));
          return;
        case 'term':
          given.term('not wanted');
          return;
        case 'permanent':
          throw new PermanentError('never');
        case 'throw':
          throw new RangeError('out of range');
        case 'wait for abort':
          await new Promise((done) => given.signal.addEventListener('abort', done, { once: true }));
          await see('aborted', { code: given.signal.reason.code });
          return;
        case 'fail':
          context.fail(new Error('confused'));
          await new Promise(() => {});
      }
    },
  };
}
