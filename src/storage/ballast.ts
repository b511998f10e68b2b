import { open, rm, stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Clock, systemClock } from '../core/clock.ts';
import { storeError } from './store-error.ts';

const most = 16 * 1024 * 1024;
const least = 64 * 1024;

/**
 * How large a ballast may be on a volume with so many bytes free: a sixteenth of them, between 64 KiB and 16 MiB, or 0 when
 * not even the smallest fits into a sixteenth.
 */
export function ballastSize(free: number): number {
  const share = Math.floor(free / 16 / least) * least;
  return share < least ? 0 : Math.min(share, most);
}

/**
 * A file that takes room on the store's volume, so that there is some to give when the disk is full: acks and compaction
 * need it to make more. Its calls run one after the other.
 */
export class Ballast {
  readonly #file: string;
  readonly #clock: Clock;
  #size: number;
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(file: string, size: number, clock: Clock) {
    this.#file = file;
    this.#size = size;
    this.#clock = clock;
  }

  /**
   * Takes the file as it is, or makes it when there is room; without room it holds nothing, until {@link Ballast.restore}.
   *
   * @param file beside the store's folder, on the same volume.
   * @param clock gives the bytes, which no file system can compress.
   * @throws {BusError} `STORE_FAILED` when the file cannot be made for another reason than room.
   */
  static async open(file: string, clock: Clock = systemClock): Promise<Ballast> {
    const ballast = new Ballast(file, await allocated(file), clock);
    await ballast.restore();
    return ballast;
  }

  /** The bytes that it holds: 0 once released. */
  get size(): number {
    return this.#size;
  }

  /** Gives its room back. Whether it held any. */
  release(): Promise<boolean> {
    return this.#next(async () => {
      const held = this.#size > 0;
      await rm(this.#file, { force: true });
      this.#size = 0;
      return held;
    });
  }

  /** Takes room again, at most a sixteenth of what is free. Whether it holds any now. */
  restore(): Promise<boolean> {
    return this.#next(async () => {
      if (this.#size === 0) this.#size = await this.#make();
      return this.#size > 0;
    });
  }

  async #make(): Promise<number> {
    await rm(this.#file, { force: true });
    const { bavail, bsize } = await statfs(dirname(this.#file));
    const size = ballastSize(bavail * bsize);
    if (size === 0) return 0;
    const file = await open(this.#file, 'wx', 0o600);
    try {
      for (let written = 0; written < size; written += least) await file.writeFile(this.#clock.randomBytes(least));
      await file.sync();
      return size;
    } catch (error) {
      await rm(this.#file, { force: true });
      if (storeError(error, this.#file).code === 'STORE_FULL') return 0;
      throw error;
    } finally {
      await file.close();
    }
  }

  #next<T>(work: () => Promise<T>): Promise<T> {
    const next = this.#turn.then(work).catch((error: unknown) => {
      throw storeError(error, this.#file);
    });
    this.#turn = next.catch(() => undefined);
    return next;
  }
}

/** The bytes that a file really takes, or 0 when it is missing, sparse or too small to be of use. */
async function allocated(file: string): Promise<number> {
  const found = await stat(file).catch(() => undefined);
  if (found === undefined || !found.isFile() || found.size < least) return 0;
  return found.blocks * 512 >= found.size ? found.size : 0;
}
