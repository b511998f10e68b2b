import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import type { Consumer, Producer } from './role.ts';

/** Sends back what comes: what a round trip costs before any library does something. */
export async function consumer(): Promise<Consumer> {
  const server = createServer({ noDelay: true }, (socket) => socket.on('data', (chunk) => socket.write(chunk)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // of a TCP server that listens
  return { address: String(port), close: async () => server.close() };
}

export async function producer(port: string): Promise<Producer> {
  const socket = connect({ host: '127.0.0.1', port: Number(port), noDelay: true });
  await once(socket, 'connect');
  const request = Buffer.alloc(150); // a message of 100 bytes with what surrounds it, about
  let answered: () => void = () => undefined;
  socket.on('data', () => answered());
  return {
    send: () => Promise.reject(new Error('the echo takes part in the round trips alone')),
    roundTrip: () =>
      new Promise<void>((resolve) => {
        answered = resolve;
        socket.write(request);
      }),
    close: async () => socket.destroy(),
  };
}
