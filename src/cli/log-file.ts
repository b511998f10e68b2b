import { appendFileSync, closeSync, openSync } from 'node:fs';

/**
 * Has everything that this process prints from now on appended to a file, which is opened anew on SIGHUP: so a rotation of logs
 * may move it away. What Node itself says of a crash goes to where stderr was when the process was started.
 */
export function logTo(path: string): void {
  let fd = openSync(path, 'a');
  const write = (
    chunk: string | Uint8Array,
    encoding?: BufferEncoding | ((error?: Error | null) => void),
    callback?: (error?: Error | null) => void,
  ): boolean => {
    try {
      appendFileSync(fd, chunk, typeof encoding === 'string' ? { encoding } : undefined);
    } catch {
      // A full disk: there is nobody else to tell, and a log must not take down what it tells of.
    }
    const done = typeof encoding === 'function' ? encoding : callback;
    done?.();
    return true;
  };
  process.stdout.write = write;
  process.stderr.write = write;
  process.on('SIGHUP', () => {
    const before = fd;
    try {
      fd = openSync(path, 'a');
      closeSync(before);
    } catch {
      // Its folder has gone: what is said goes on to where it went.
    }
  });
}
