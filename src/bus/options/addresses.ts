import { BusError, describe } from '../../core/errors.ts';
import { type Address, formatAddress, isLoopback, parseAddress } from '../../transport/address.ts';
import type { ResolvedTls } from './tls-options.ts';

/** What a node is to its cluster. */
export type NodeRole = 'alone' | 'leader' | 'leaf';

/** The options that say where a node is. */
interface AddressOptions {
  readonly leader?: unknown;
  readonly listen?: unknown;
  readonly secret?: unknown;
  readonly secrets?: unknown;
  readonly insecure?: unknown;
}

/**
 * Whether a node leads, whom it follows and where it listens.
 *
 * @param shared the folder that leads instead, in whichever process.
 * @throws {BusError} `OPTION_INVALID`.
 */
export function resolveAddresses(
  options: AddressOptions,
  tls: ResolvedTls | undefined,
  shared?: string,
): { readonly role: NodeRole; readonly leader: Address | undefined; readonly listen: Address | undefined } {
  if (shared !== undefined) return { role: 'leaf', leader: { scheme: 'unix', path: shared }, listen: undefined };
  const role = options.leader === undefined ? 'alone' : options.leader === true ? 'leader' : 'leaf';
  const leader =
    typeof options.leader === 'string' ? parseAddress(options.leader, 'leader') : checkLeader(options.leader);
  const listen = resolveListen(options, role, tls);
  checkSchemes(tls, { leader, listen });
  return { role, leader, listen };
}

function checkLeader(leader: unknown): undefined {
  if (leader !== undefined && leader !== true) {
    throw new BusError(
      'OPTION_INVALID',
      `leader ${describe(leader)} must be true or an address such as 'tcp://10.0.8.1:1900'`,
    );
  }
}

function resolveListen(options: AddressOptions, role: NodeRole, tls: ResolvedTls | undefined): Address | undefined {
  if (role !== 'leader' && options.listen === undefined) return undefined;
  if (role === 'alone') {
    throw new BusError(
      'OPTION_INVALID',
      "createBus(): 'listen' is not available here: a bus that stands alone listens nowhere; say leader: true, or where the leader is",
    );
  }
  const { listen = tls === undefined ? 'tcp://127.0.0.1:1900' : 'tls://127.0.0.1:1900' } = options;
  const address = parseAddress(listen, 'listen');
  const open = options.secret === undefined && options.secrets === undefined && tls === undefined;
  if (!isLoopback(address) && open && options.insecure !== true) {
    throw new BusError(
      'OPTION_INVALID',
      `listen ${describe(listen)} is reachable from other machines: give every node the same secret or a certificate (tls), or say insecure: true`,
    );
  }
  return address;
}

/**
 * Sees to it that what is to be protected is: a node with certificates speaks TLS with other machines and nothing else.
 *
 * @throws {BusError} `OPTION_INVALID`.
 */
function checkSchemes(tls: ResolvedTls | undefined, addresses: Readonly<Record<string, Address | undefined>>): void {
  const given = Object.entries(addresses).flatMap(([option, address]) =>
    address === undefined ? [] : [{ option, address }],
  );
  for (const { option, address } of given) {
    const text = formatAddress(address);
    if (address.scheme === 'tls' && tls === undefined) {
      throw new BusError(
        'OPTION_INVALID',
        `${option} '${text}' needs a certificate: give tls: { cert, key, ca }, or write 'tcp${text.slice(3)}'`,
      );
    }
    if (address.scheme === 'tcp' && tls !== undefined) {
      throw new BusError(
        'OPTION_INVALID',
        `${option} '${text}' is plain text, and tls is given: write 'tls${text.slice(3)}', or leave tls out`,
      );
    }
  }
  if (tls === undefined || given.some(({ address }) => address.scheme === 'tls')) return;
  const where = given[0]?.option ?? 'leader';
  throw new BusError(
    'OPTION_INVALID',
    `tls is given, and nothing is at a tls:// address: write ${where}: 'tls://10.0.8.1:1900', or leave tls out`,
  );
}
