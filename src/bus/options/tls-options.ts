import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { checkKnown, checkObject } from '../../core/checks.ts';
import type { Clock } from '../../core/clock.ts';
import { BusError } from '../../core/errors.ts';
import { type TlsCredentials, TlsTransport } from '../../transport/tls.ts';
import { nameProblem, nodeNamesOf } from '../../transport/tls-problem.ts';

/**
 * What a node shows and whom it trusts at `tls://` addresses. Each is a file's path, or PEM itself: what holds
 * `-----BEGIN`. Read once, when the bus is opened.
 */
export interface TlsOptions {
  /**
   * This node's certificate, with what stands between it and the authority behind it. A DNS entry of its subject alternative
   * name is the node's name, letter by letter; no wildcard is.
   */
  cert: string | Uint8Array;
  /** The private key of that certificate, without a passphrase. */
  key: string | Uint8Array;
  /** The certificates of the authorities that the other nodes' certificates may be from; no others are trusted. */
  ca: string | Uint8Array;
}

/** The same, read and checked. */
export interface ResolvedTls {
  readonly credentials: TlsCredentials;
  /** The names of nodes that the certificate bears; at least one. */
  readonly names: readonly string[];
}

/** A text of PEM, and what to call it in an error: its content never stands there. */
interface Pem {
  readonly text: string;
  readonly what: string;
}

/** @throws {BusError} `OPTION_INVALID`, naming the option and the file. */
export function resolveTls(given: unknown, clock: Clock): ResolvedTls | undefined {
  if (given === undefined) return undefined;
  checkObject('tls', given);
  const options = given as Partial<Record<keyof TlsOptions, unknown>>; // by checkObject()
  checkKnown('tls', options, ['cert', 'key', 'ca']);
  const [cert, key, ca] = [readPem('cert', options.cert), readPem('key', options.key), readPem('ca', options.ca)];
  const [own] = certificatesIn(cert);
  certificatesIn(ca);
  checkTime(own, cert, clock.now());
  if (!own.checkPrivateKey(keyIn(key))) throw invalid(key, `is not the key of the certificate in ${cert.what}`);
  const names = nodeNamesOf(own.subjectAltName);
  if (names.length === 0) {
    throw invalid(cert, "bears no node's name: its subject alternative name needs the node's name as a DNS entry");
  }
  const credentials = { cert: cert.text, key: key.text, ca: ca.text };
  try {
    new TlsTransport({ clock, credentials });
  } catch (cause) {
    // OpenSSL thinks too little of them, as of a key that is too short.
    throw new BusError('OPTION_INVALID', `tls: ${cert.what}, ${key.what}, ${ca.what}: not usable: ${reasonOf(cause)}`, {
      cause,
    });
  }
  return { credentials, names };
}

/** @throws {BusError} `OPTION_INVALID` when the certificate is not for a node of this name. */
export function checkBearer(node: string, tls: ResolvedTls | undefined): void {
  if (tls === undefined) return;
  const problem = nameProblem(node, tls.names);
  if (problem === undefined) return;
  throw new BusError('OPTION_INVALID', `tls.cert is not for this node: ${problem}; give 'node' a name that it bears`);
}

function readPem(option: keyof TlsOptions, given: unknown): Pem {
  const bytes = given instanceof Uint8Array ? Buffer.from(given) : given;
  if ((typeof bytes !== 'string' && !Buffer.isBuffer(bytes)) || bytes.length === 0) {
    throw new BusError('OPTION_INVALID', `tls.${option} must be the path of a PEM file, or PEM itself`);
  }
  const text = bytes.toString('utf8');
  if (text.includes('-----BEGIN')) return { text, what: `tls.${option}` };
  // Bytes are no path; and what may be a key without its first line must not be shown, nor the system's words on it.
  if (typeof bytes !== 'string' || /[\r\n]|[A-Za-z0-9+/=]{64}/.test(text)) {
    const pem = typeof bytes === 'string' ? readable(text) : undefined;
    if (pem !== undefined) return { text: pem, what: `tls.${option} ${JSON.stringify(text)}` };
    throw new BusError('OPTION_INVALID', `tls.${option} is neither PEM ('-----BEGIN …') nor the path of a file`);
  }
  const what = `tls.${option} ${JSON.stringify(bytes)}`;
  try {
    return { text: readFileSync(bytes, 'utf8'), what };
  } catch (cause) {
    throw new BusError('OPTION_INVALID', `${what} cannot be read: ${reasonOf(cause)}`, { cause });
  }
}

function readable(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function certificatesIn(pem: Pem): [X509Certificate, ...X509Certificate[]] {
  const blocks = pem.text.match(/-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----[^-]*-----END [A-Z0-9 ]*-----/g) ?? [];
  try {
    const [first, ...others] = blocks.map((block) => new X509Certificate(block));
    if (first !== undefined) return [first, ...others];
  } catch {
    // The cause would quote what it could not read.
  }
  throw invalid(pem, "holds no certificate in PEM ('-----BEGIN CERTIFICATE-----')");
}

function keyIn(pem: Pem): KeyObject {
  if (/-----BEGIN ENCRYPTED|^Proc-Type: 4,ENCRYPTED/m.test(pem.text))
    throw invalid(pem, "is locked by a passphrase: take it off, as by 'openssl pkey', and let file rights protect it");
  try {
    return createPrivateKey(pem.text);
  } catch {
    throw invalid(pem, "holds no private key in PEM ('-----BEGIN PRIVATE KEY-----')");
  }
}

function checkTime(cert: X509Certificate, pem: Pem, now: number): void {
  if (now > Date.parse(cert.validTo)) throw invalid(pem, `has expired: it was good until ${cert.validTo}`);
  if (now < Date.parse(cert.validFrom)) throw invalid(pem, `is not valid yet: it will be from ${cert.validFrom} on`);
}

function invalid({ what }: Pem, problem: string): BusError {
  return new BusError('OPTION_INVALID', `${what} ${problem}`);
}

function reasonOf(error: unknown): string {
  const { code, reason } = error as { code?: unknown; reason?: unknown }; // whatever was thrown, these are read only
  return String(code ?? reason ?? 'it is not known why');
}
