import { TcpTransport } from '../transport/tcp.ts';
import type { BusParts } from './bus-parts.ts';
import { type BusOptions, checkOptions, defaultNode } from './options/options.ts';
import { folderNode } from './options/shared-options.ts';
import { type FolderBus, SharedFolder } from './shared/shared-folder.ts';

/** What a bus is opened with, and the shared folder that it takes part in. */
export interface Joined {
  readonly options: BusOptions | undefined;
  readonly parts: BusParts;
  readonly shared: SharedFolder | undefined;
}

/**
 * Finds the shared folder that the options name, if they name one.
 *
 * @param open opens a bus.
 * @throws {BusError} `OPTION_INVALID`, `NAME_INVALID`, `STORE_FULL`, `STORE_FAILED`.
 */
export async function joinFolder(
  options: BusOptions | undefined,
  parts: BusParts,
  open: (options: BusOptions, parts: BusParts) => Promise<FolderBus>,
): Promise<Joined> {
  if (options?.shared === undefined) return { options, parts, shared: undefined };
  const { clock } = checkOptions(options, parts);
  const node = options.node ?? defaultNode(clock);
  const shared = await SharedFolder.open(options.shared, {
    node,
    clock,
    transport: new TcpTransport({ clock }),
    serve: (folder, listen) => open(folderOptions(options, folder, listen), { clock, folder: true }),
  });
  return { options: { ...options, node }, parts: { ...parts, transport: shared.transport }, shared };
}

/** The options of the folder's own bus, in the process that serves it. */
function folderOptions(options: BusOptions, folder: string, listen: string): BusOptions {
  const { cluster, durability, secret, liveness, redial, limits, logger, syslog } = options;
  const given = { cluster, durability, secret, liveness, redial, limits, logger, syslog };
  const said = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  return { ...said, node: folderNode, leader: true, listen, dataDir: folder };
}
