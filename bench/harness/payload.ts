/** The topic that everything is published on; the peers get it as it is. */
export const topic = 'orders.created';

/** A fresh object of 100 bytes as MessagePack (126 to 131 as JSON), as an application would make one for each message. */
export function orderOf(number: number): Record<string, unknown> {
  return {
    order: number,
    customer: 'c-48813',
    state: 'created',
    amount: 1299,
    currency: 'EUR',
    express: true,
    note: 'leave it at the door',
  };
}

/** 100 bytes. Both ends only look at their length, so one array serves for all messages. */
export const hundredBytes = new Uint8Array(100).fill(0x6d);
