import { createServer } from 'node:net';

// Stands for a database: confirms each line that it is sent. It listens on the port that it is given; 0 for any.

const server = createServer((socket) => {
  socket.setEncoding('utf8');
  socket.on('error', () => undefined);
  let rest = '';
  socket.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) socket.write(`stored ${line}\n`);
  });
});
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => {
  const address = server.address();
  process.send?.({ port: typeof address === 'object' && address !== null ? address.port : 0 });
});
process.on('disconnect', () => process.exit());
