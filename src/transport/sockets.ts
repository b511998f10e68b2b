import type { Clock } from '../core/clock.ts';
import { BusError } from '../core/errors.ts';
import { type Address, formatAddress } from './address.ts';
import { TcpTransport } from './tcp.ts';
import { type TlsCredentials, TlsTransport } from './tls.ts';
import type { Connection, Listener, Transport } from './transport.ts';

/**
 * The sockets of the operating system, by the scheme of an address. A node with credentials speaks TLS with other machines and
 * nothing else: an address that it has only heard of cannot bring it to go on in plain text.
 */
export class SocketTransport implements Transport {
  readonly #plain: TcpTransport;
  readonly #tls: TlsTransport | undefined;

  constructor(options: { readonly clock: Clock; readonly credentials: TlsCredentials | undefined }) {
    const { clock, credentials } = options;
    this.#plain = new TcpTransport({ clock });
    this.#tls = credentials === undefined ? undefined : new TlsTransport({ clock, credentials });
  }

  async listen(address: Address, accept: (connection: Connection) => void): Promise<Listener> {
    return this.#driver(address).listen(address, accept);
  }

  async dial(address: Address, options: { readonly timeout: number }): Promise<Connection> {
    return this.#driver(address).dial(address, options);
  }

  #driver(address: Address): Transport {
    if (address.scheme === 'unix') return this.#plain;
    const driver = address.scheme === 'tls' ? this.#tls : this.#tls === undefined ? this.#plain : undefined;
    if (driver !== undefined) return driver;
    const why =
      address.scheme === 'tls'
        ? "it asks for TLS, and this node has no 'tls'"
        : 'it is plain text, and this node has TLS';
    throw new BusError('NODE_UNREACHABLE', `${formatAddress(address)} is not for this node: ${why}`);
  }
}
