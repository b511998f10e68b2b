import { type ChildProcess, execFileSync, fork } from 'node:child_process';
import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { pathOf } from '../cli/child.ts';
import { tempFolder } from '../storage/disk.ts';
import type { Methods } from './protocol-child.ts';

/** How long a node may take to answer, in milliseconds. */
const patience = 20_000;

/** An error as the child sends it. */
interface Told {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
}

/** An error as a node of either build has told it. */
export class Refused extends Error {
  readonly code: string | undefined;

  constructor({ name, message, code }: Told) {
    super(message);
    this.name = name;
    this.code = code;
  }
}

/** The entry module of this build. */
export const present = pathOf('src/index.ts');

/** Unpacks the last build that spoke version 1 alone. @returns its entry module. */
export function previous(t: TestContext): string {
  const folder = tempFolder(t);
  execFileSync('tar', ['-xzf', pathOf('test/fixtures/mailvan-protocol-1.tgz'), '-C', folder]);
  symlinkSync(pathOf('node_modules'), join(folder, 'node_modules'), 'junction');
  return join(folder, 'package', 'dist', 'index.js');
}

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

/** A bus of either build in a process of its own. It does not outlive its test. */
export class NodeProcess {
  readonly #child: ChildProcess;
  readonly #pending = new Map<number, Pending>();
  #last = 0;

  private constructor(t: TestContext, entry: string) {
    this.#child = fork(pathOf('test/bus/protocol-child.ts'), [entry], {
      execArgv: ['--import', 'tsx'],
      serialization: 'advanced',
    });
    this.#child.on('message', (message) => this.#answered(message as { id: number; result?: unknown; error?: Told })); // it sends nothing else
    this.#child.on('exit', (code, signal) => this.#ended(new Error(`the node has ended: ${signal ?? code}`)));
    t.after(() => void this.#child.kill('SIGKILL'));
  }

  /** Starts the process; nothing is open in it yet. */
  static async start(t: TestContext, entry: string): Promise<NodeProcess> {
    const started = new NodeProcess(t, entry);
    await started.#wait(0, 'start');
    return started;
  }

  /** Has it do something. @throws {Refused} what it throws. */
  ask<K extends keyof Methods>(method: K, ...args: Parameters<Methods[K]>): Promise<Awaited<ReturnType<Methods[K]>>> {
    const id = ++this.#last;
    const answer = this.#wait(id, method);
    this.#child.send({ id, method, args });
    return answer as Promise<Awaited<ReturnType<Methods[K]>>>; // the child answers with what its method returns
  }

  #wait(id: number, what: string): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(new Error(`a node did not answer '${what}' within ${patience} ms`));
      }, patience);
      this.#pending.set(id, { resolve, reject, timer });
    });
  }

  #answered({ id, result, error }: { id: number; result?: unknown; error?: Told }): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    clearTimeout(pending?.timer);
    if (error === undefined) pending?.resolve(result);
    else pending?.reject(new Refused(error));
  }

  #ended(error: Error): void {
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.#pending.clear();
  }
}
