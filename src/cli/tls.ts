import type { ArgsDef } from 'citty';
import type { TlsOptions } from '../bus/options/tls-options.ts';
import { misuse } from './failure.ts';

/** What every command takes to speak TLS. */
export const tlsArguments = {
  'tls-cert': {
    type: 'string',
    valueHint: 'file',
    description: "This node's certificate in PEM, for tls:// addresses (or MAILVAN_TLS_CERT)",
  },
  'tls-key': { type: 'string', valueHint: 'file', description: 'Its private key (or MAILVAN_TLS_KEY)' },
  'tls-ca': {
    type: 'string',
    valueHint: 'file',
    description: 'The certificates of the authorities that are trusted (or MAILVAN_TLS_CA)',
  },
} as const satisfies ArgsDef;

/** The options of TLS as they were given. */
export interface GivenTls {
  readonly 'tls-cert'?: string | undefined;
  readonly 'tls-key'?: string | undefined;
  readonly 'tls-ca'?: string | undefined;
}

const parts = [
  ['cert', 'tls-cert', 'MAILVAN_TLS_CERT'],
  ['key', 'tls-key', 'MAILVAN_TLS_KEY'],
  ['ca', 'tls-ca', 'MAILVAN_TLS_CA'],
] as const satisfies readonly [keyof TlsOptions, keyof GivenTls, string][];

/**
 * The `tls` of `createBus()`. What the environment says counts only where an address asks for TLS: it is there for every
 * command, whatever cluster that asks.
 *
 * @throws {Failure} with exit code 2 when a part of it is missing.
 */
export function tlsOf(given: GivenTls, addresses: readonly (string | true | undefined)[]): TlsOptions | undefined {
  const asked = addresses.some((address) => typeof address === 'string' && address.startsWith('tls://'));
  if (!asked && parts.every(([, option]) => given[option] === undefined)) return undefined;
  const [cert, key, ca] = parts.map(([, option, variable]) => given[option] || process.env[variable]);
  if (cert && key && ca) return { cert, key, ca };
  const missing = parts.filter(([, option, variable]) => !given[option] && !process.env[variable]);
  const list = missing.map(([, option, variable]) => `--${option} (or ${variable})`).join(', ');
  throw misuse(
    `TLS needs a certificate, its key and the authorities that are trusted; missing: ${list}`,
    "'mailvan cert gen <folder> <node>' makes all three for a test",
  );
}
