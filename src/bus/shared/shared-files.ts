import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  rmdir,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { BusError } from '../../core/errors.ts';
import { storeError } from '../../storage/store-error.ts';
import { maxUnixPath } from '../../transport/address.ts';

/** Who serves a shared folder. */
export interface FolderOwner {
  /** Counts the owners of the folder, from 1. */
  readonly epoch: number;
  /** The node of the process that serves it. */
  readonly node: string;
  readonly pid: number;
}

/** What stands in the file: the path of the socket is relative to the folder where it lies in it. */
type Current = FolderOwner & { readonly socket: string };

/** What the folders for sockets are called whose paths would be too long elsewhere. */
const elsewhere = 'mailvan-';

/** The files of a shared folder beside its store: where its owner listens. */
export class SharedFiles {
  /** The folder, by its one name. */
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /**
   * Finds the folder, or makes it for this user alone.
   *
   * @throws {BusError} `OPTION_INVALID` when it is a file, `STORE_FULL`, `STORE_FAILED` when it cannot be made.
   */
  static async open(given: string): Promise<SharedFiles> {
    const path = resolve(given);
    try {
      await mkdir(path, { recursive: true, mode: 0o700 });
      return new SharedFiles(await realpath(path));
    } catch (error) {
      const { code } = error as { code?: unknown };
      if (code !== 'EEXIST' && code !== 'ENOTDIR') throw storeError(error, path);
      throw new BusError('OPTION_INVALID', `shared: ${path} is a file, or lies in one: name a folder`, {
        cause: error,
      });
    }
  }

  /** Who was the last to say that it serves the folder, and the path where it listens; it may be gone. */
  async current(): Promise<{ owner: FolderOwner; socket: string } | undefined> {
    const found = await this.#read();
    if (found === undefined) return undefined;
    const { socket, ...owner } = found;
    return { owner, socket: resolve(this.folder, socket) };
  }

  /**
   * For who holds the lock: removes the sockets of earlier owners, and finds a place for the next one.
   *
   * @returns its epoch, and the path of its socket.
   */
  async prepare(): Promise<{ epoch: number; socket: string }> {
    const before = await this.#read();
    const epoch = (before?.epoch ?? 0) + 1;
    const run = join(this.folder, 'run');
    await mkdir(run, { mode: 0o700, recursive: true });
    await chmod(run, 0o700); // only this user may connect, whoever may look into the folder
    for (const name of await readdir(run)) await removeSocket(join(run, name));
    if (before !== undefined) await removeElsewhere(resolve(this.folder, before.socket));
    const socket = join(run, `${epoch}.sock`);
    if (Buffer.byteLength(socket) <= maxUnixPath) return { epoch, socket };
    return { epoch, socket: join(await mkdtemp(join(tmpdir(), elsewhere)), `${epoch}.sock`) };
  }

  /** For who holds the lock and listens: tells the others where. */
  async announce(owner: FolderOwner, socket: string): Promise<void> {
    await chmod(socket, 0o600);
    const inside = socket.startsWith(`${this.folder}/`) ? socket.slice(this.folder.length + 1) : socket;
    const current: Current = { ...owner, socket: inside };
    const next = join(this.folder, 'current.next');
    await writeFile(next, `${JSON.stringify(current)}\n`, { mode: 0o600 });
    await rename(next, join(this.folder, 'current'));
  }

  /** For who holds the lock and listens no more: removes what was made elsewhere for its socket. */
  async clear(socket: string): Promise<void> {
    await removeElsewhere(socket);
  }

  async #read(): Promise<Current | undefined> {
    try {
      const { epoch, node, pid, socket } = JSON.parse(await readFile(join(this.folder, 'current'), 'utf8')) as Current;
      const sound = Number.isSafeInteger(epoch) && Number.isSafeInteger(pid) && typeof node === 'string';
      return sound && typeof socket === 'string' ? { epoch, node, pid, socket } : undefined;
    } catch {
      return undefined; // nobody has served it yet, or a power failure has left half of it
    }
  }
}

async function removeSocket(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found?.isSocket() === true) await rm(path, { force: true });
}

/** The socket of an earlier owner under the system's temporary folder, and the folder that was made for it. */
async function removeElsewhere(socket: string): Promise<void> {
  const folder = dirname(socket);
  if (dirname(folder) !== tmpdir() || !basename(folder).startsWith(elsewhere)) return;
  await removeSocket(socket);
  await rmdir(folder).catch(() => undefined); // it is gone, or something else is in it
}
