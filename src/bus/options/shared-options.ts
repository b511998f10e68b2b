import { BusError, describe } from '../../core/errors.ts';

/** What a node that serves a shared folder is called: the folder's own node, leader and home in one. */
export const folderNode = 'folder';

/** What a process brings to a bus of its own, and has no use for in a shared folder. */
const instead = {
  leader: 'the process that serves the folder leads, whichever that is',
  listen: 'the process that serves the folder listens, on a socket of its own',
  dataDir: 'the store is in the shared folder',
  secrets: 'only one user connects; a common secret may be asked for besides',
  access: 'the processes of one user share everything',
  promote: 'who serves the folder leads',
  tls: 'the processes of one machine talk through a socket in the folder',
} as const;

/** Checks the option `shared`, and that nothing stands beside it that it replaces. @throws {BusError} `OPTION_INVALID`. */
export function checkShared(options: Readonly<Record<string, unknown>>): string | undefined {
  const { shared } = options;
  if (shared === undefined) return undefined;
  if (typeof shared !== 'string' || shared === '') {
    throw new BusError('OPTION_INVALID', `shared ${describe(shared)} must be the path of a folder`);
  }
  for (const [name, why] of Object.entries(instead)) {
    if (options[name] === undefined) continue;
    throw new BusError('OPTION_INVALID', `createBus(): '${name}' does not go with 'shared': ${why}`);
  }
  if (options.node === folderNode) {
    throw new BusError('OPTION_INVALID', `node '${folderNode}' is the shared folder's own name: choose another one`);
  }
  return shared;
}
