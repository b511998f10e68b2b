import type { Clock } from '../../core/clock.ts';
import { BusError } from '../../core/errors.ts';
import { FolderLock } from '../../storage/folder-lock.ts';
import { storeError } from '../../storage/store-error.ts';
import { formatAddress } from '../../transport/address.ts';
import type { Connection, Transport } from '../../transport/transport.ts';
import { type FolderOwner, SharedFiles } from './shared-files.ts';

/** The folder's own bus, as far as it has to be known here. */
export interface FolderBus {
  readonly state: string;
  close(options: { timeout: number }): Promise<void>;
}

/** What a process needs to take part in a shared folder. */
export interface SharedFolderHost {
  /** The node of this process. */
  readonly node: string;
  readonly clock: Clock;
  /** Connects to the socket of the owner. */
  readonly transport: Transport;
  /** Opens the folder's own bus. @param listen where it listens. @throws {BusError} */
  serve(folder: string, listen: string): Promise<FolderBus>;
}

/** How long to wait until the owner is looked for again, in milliseconds. */
const lookAgain = 50;
/** And until the lock is tried again: who has it is about to serve, and trying costs that one the processor. */
const tryAgain = 250;
/** How long the folder's own bus may take to answer what it was asked when it closes, in milliseconds. */
const lastAnswers = 1000;

/**
 * A process' part in a folder that several share. Whoever has the folder's lock runs the folder's own bus: node `folder`,
 * leader and home of every durable mailbox. The bus of each process, also of that one, is a leaf without a store that
 * dials the socket named in the folder; and when nobody answers there, dialling is what tries to take the lock.
 */
export class SharedFolder {
  readonly #host: SharedFolderHost;
  readonly #files: SharedFiles;
  readonly #path: string;
  /** Reaches the folder, whatever the address. */
  readonly transport: Transport;
  #owner: FolderOwner | undefined;
  #serving: { readonly bus: FolderBus; readonly lock: FolderLock; readonly socket: string } | undefined;
  #taking: Promise<boolean> | undefined;
  /** When the lock was refused last. */
  #refusedAt = Number.NEGATIVE_INFINITY;
  #closed = false;

  private constructor(path: string, files: SharedFiles, host: SharedFolderHost) {
    this.#path = path;
    this.#files = files;
    this.#host = host;
    this.transport = {
      dial: (_, { timeout }) => this.#reach(timeout),
      listen: (address, accept) => host.transport.listen(address, accept),
    };
  }

  /**
   * Finds the folder, or makes it. Nothing is taken yet: that begins when it is dialled.
   *
   * @throws {BusError} `OPTION_INVALID` when it is a file, `STORE_FULL`, `STORE_FAILED`.
   */
  static async open(path: string, host: SharedFolderHost): Promise<SharedFolder> {
    return new SharedFolder(path, await SharedFiles.open(path), host);
  }

  /** Who served the folder when it was reached last. */
  get status(): { folder: string; owner?: FolderOwner } {
    return { folder: this.#files.folder, ...(this.#owner !== undefined && { owner: { ...this.#owner } }) };
  }

  /** Stops serving the folder, its socket before its store. The bus of this process must have closed before. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#taking?.catch(() => undefined); // whoever has dialled has been told
    await this.#leave();
  }

  /** Connects to the owner, or becomes the owner and connects to that. */
  async #reach(timeout: number): Promise<Connection> {
    const { clock, transport } = this.#host;
    const end = clock.monotonic() + timeout;
    for (;;) {
      const current = await this.#files.current();
      let failure: unknown;
      if (current !== undefined) {
        try {
          const left = Math.max(lookAgain, end - clock.monotonic());
          const connection = await transport.dial({ scheme: 'unix', path: current.socket }, { timeout: left });
          this.#owner = current.owner;
          return connection;
        } catch (error) {
          failure = error;
        }
      }
      if (await this.#take()) continue;
      if (this.#closed || clock.monotonic() >= end) throw this.#unreachable(current?.owner, failure);
      await new Promise<void>((done) => void clock.timer(lookAgain, done));
    }
  }

  /** @returns whether this process serves the folder since now. */
  #take(): Promise<boolean> {
    this.#taking ??= this.#takeOver().finally(() => {
      this.#taking = undefined;
    });
    return this.#taking;
  }

  async #takeOver(): Promise<boolean> {
    if (this.#closed || this.#serving?.bus.state === 'running') return false;
    const { clock } = this.#host;
    if (clock.monotonic() - this.#refusedAt < tryAgain) return false;
    await this.#leave(); // the folder's bus has given up
    const { folder } = this.#files;
    let lock: FolderLock | undefined;
    try {
      lock = await FolderLock.take(folder);
      if (lock === undefined) {
        this.#refusedAt = clock.monotonic();
        return false;
      }
      const { epoch, socket } = await this.#files.prepare();
      const bus = await this.#host.serve(folder, formatAddress({ scheme: 'unix', path: socket }));
      this.#serving = { bus, lock, socket };
      await this.#files.announce({ epoch, node: this.#host.node, pid: process.pid }, socket);
      return true;
    } catch (error) {
      if (this.#serving !== undefined) await this.#leave();
      else await lock?.release();
      throw storeError(error, folder);
    }
  }

  async #leave(): Promise<void> {
    const serving = this.#serving;
    if (serving === undefined) return;
    this.#serving = undefined;
    try {
      await serving.bus.close({ timeout: lastAnswers });
      await this.#files.clear(serving.socket);
    } finally {
      await serving.lock.release();
    }
  }

  #unreachable(owner: FolderOwner | undefined, cause: unknown): BusError {
    const who =
      owner === undefined
        ? 'another process is about to serve it'
        : `node '${owner.node}', process ${owner.pid}, served it last`;
    return new BusError('NODE_UNREACHABLE', `nobody answers in the shared folder ${this.#path}: ${who}`, { cause });
  }
}
