import { constants } from 'node:crypto';
import { createServer, type Socket } from 'node:net';
import {
  connect,
  createSecureContext,
  createServer as createTlsServer,
  type SecureContext,
  type SecureContextOptions,
  type TLSSocket,
} from 'node:tls';
import type { Clock } from '../core/clock.ts';
import { BusError } from '../core/errors.ts';
import { type Address, formatAddress, type HostAddress } from './address.ts';
import { SecuringConnection } from './securing.ts';
import { bind, codeOf, isSelf, remoteOf, SocketConnection, SocketListener } from './socket.ts';
import { agreementProblem, certificateProblem, handshakeRecord, nodeNamesOf, plainProblem } from './tls-problem.ts';
import { type Connection, highWaterMark, type Listener, type Transport } from './transport.ts';

/** What a node shows, and whom it trusts: all in PEM. */
export interface TlsCredentials {
  /** This node's certificate, and those between it and the authority, if there are any. */
  readonly cert: string | Uint8Array;
  /** The private key of that certificate. */
  readonly key: string | Uint8Array;
  /** The authorities whose certificates are accepted; no others are. */
  readonly ca: string | Uint8Array;
}

/**
 * What both ends insist on. A session of TLS is never resumed and never renegotiated: each connection shows its certificate
 * once, in full, and what was checked then holds as long as it lasts.
 */
function contextOptions({ cert, key, ca }: TlsCredentials): SecureContextOptions {
  return {
    cert: Buffer.from(cert),
    key: Buffer.from(key),
    ca: Buffer.from(ca),
    minVersion: 'TLSv1.2',
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
  };
}

/**
 * TLS from version 1.2 on, over TCP; both ends show certificates. Of whom a certificate speaks is told by
 * {@link Connection.names}: the name of the host plays no part, because nodes are known by their own names.
 */
export class TlsTransport implements Transport {
  readonly #clock: Clock;
  readonly #options: SecureContextOptions;
  readonly #context: SecureContext;

  /** @throws when the credentials do not fit each other. */
  constructor(options: { readonly clock: Clock; readonly credentials: TlsCredentials }) {
    this.#clock = options.clock;
    this.#options = contextOptions(options.credentials);
    this.#context = createSecureContext(this.#options);
  }

  /**
   * A connection is handed out before TLS is agreed on, so that whoever limits connections and the time for a handshake sees
   * it. It says nothing and hears nothing until then.
   */
  async listen(address: Address, accept: (connection: Connection) => void): Promise<Listener> {
    const { host, port } = hostOf(address);
    const pending = new Map<string, SecuringConnection>();
    const taken = (socket: Socket): SecuringConnection | undefined => {
      const place = placeOf(socket);
      const connection = pending.get(place);
      pending.delete(place);
      return connection;
    };
    // Whose certificate fails is told why by whoever owns the connection, instead of being cut off without a word.
    const agreeing = createTlsServer({ ...this.#options, requestCert: true, rejectUnauthorized: false });
    agreeing.on('secureConnection', (socket) => {
      const connection = taken(socket);
      if (connection === undefined) socket.destroy();
      else connection.secured(socket, namesOf(socket), problemOf(socket));
    });
    agreeing.on('tlsClientError', (error, socket) => {
      taken(socket)?.failed(error, agreementProblem(codeOf(error) ?? ''));
    });
    const server = createServer({ noDelay: true }, (socket) => {
      const place = placeOf(socket);
      const connection = new SecuringConnection(socket, remoteOf(socket, address), this.#clock);
      socket.once('close', () => {
        if (pending.get(place) === connection) pending.delete(place);
      });
      accept(connection);
      socket.once('data', (chunk) => {
        if (chunk[0] !== handshakeRecord) {
          connection.refuse(plainProblem);
          return;
        }
        socket.pause();
        socket.unshift(chunk);
        pending.set(place, connection);
        agreeing.emit('connection', socket);
      });
    });
    await bind(server, { host, port, exclusive: true }, address);
    const bound = server.address();
    const chosen = typeof bound === 'object' && bound !== null ? bound.port : port;
    return new SocketListener(server, formatAddress({ scheme: 'tls', host, port: chosen }), () => {});
  }

  /** @throws {BusError} also `HANDSHAKE_REFUSED`, when who answers speaks no TLS or shows a certificate that is not accepted. */
  async dial(address: Address, options: { readonly timeout: number }): Promise<Connection> {
    const { host, port } = hostOf(address);
    const where = formatAddress(address);
    return new Promise((resolve, reject) => {
      const socket = connect({
        ...{ host, port, secureContext: this.#context, highWaterMark },
        rejectUnauthorized: true, // whatever the environment says
        checkServerIdentity: () => undefined,
      });
      const fail = (error: BusError): void => {
        timer.cancel();
        socket.destroy();
        reject(error);
      };
      const failed = (cause: Error): void => fail(dialProblem(where, cause));
      const timer = this.#clock.timer(options.timeout, () => {
        failed(new BusError('TIMEOUT', `no answer within ${options.timeout} ms`));
      });
      socket.once('error', failed);
      socket.once('connect', () => {
        if (isSelf(socket)) failed(new Error('nobody listens there'));
      });
      socket.once('secureConnect', () => {
        timer.cancel();
        socket.off('error', failed);
        socket.setNoDelay(true);
        resolve(new SocketConnection(socket, remoteOf(socket, address), this.#clock, namesOf(socket)));
      });
    });
  }
}

function hostOf(address: Address): HostAddress {
  if (address.scheme === 'tls') return address;
  throw new BusError('INTERNAL', `${formatAddress(address)} is no address of TLS`);
}

/** What the two sockets of a connection have in common: the one that came in, and the one that TLS makes of it. */
function placeOf({ remoteAddress, remotePort, localAddress }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress}`;
}

function namesOf(socket: TLSSocket): readonly string[] {
  return nodeNamesOf(socket.getPeerX509Certificate()?.subjectAltName);
}

/** Why the certificate that a dialler has shown is not accepted. */
function problemOf(socket: TLSSocket): string | undefined {
  if (socket.authorized) return undefined;
  if (socket.getPeerX509Certificate() === undefined) return 'it shows no certificate: every node needs one of its own';
  const code = String(socket.authorizationError); // typed as an error, but it is the name of one
  return certificateProblem(code) ?? `its certificate is not accepted: ${code}`;
}

function dialProblem(where: string, cause: Error): BusError {
  const code = codeOf(cause) ?? cause.message;
  const refused = agreementProblem(code) ?? certificateProblem(code);
  if (refused !== undefined) return new BusError('HANDSHAKE_REFUSED', `${where} is not trusted: ${refused}`, { cause });
  return new BusError('NODE_UNREACHABLE', `cannot reach ${where}: ${code}`, { cause });
}
