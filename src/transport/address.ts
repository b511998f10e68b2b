import { isIPv4, isIPv6 } from 'node:net';
import { BusError, describe } from '../core/errors.ts';

/** Where a node listens or is dialled: a TCP port of a host, or a Unix socket. */
export type Address = HostAddress | UnixAddress;

/** A TCP port of a host. */
export interface HostAddress {
  /** `tls`: what goes there is encrypted, and both ends show certificates. */
  readonly scheme: 'tcp' | 'tls';
  /** An IPv4 or IPv6 address, without brackets, or a name. */
  readonly host: string;
  /** 0 to 65,535. 0 lets a listener choose a free one. */
  readonly port: number;
}

/** A Unix socket. */
export interface UnixAddress {
  readonly scheme: 'unix';
  /** Absolute, or relative to the process' working directory. */
  readonly path: string;
}

/** The port of an address that names none. */
export const defaultPort = 1900;

/**
 * The longest path of a Unix socket, in bytes. The smallest room that a kernel gives it is 104 bytes with the closing
 * zero (macOS; Linux has 108), and a listener binds under a name that is 3 bytes longer before it moves it into place.
 */
export const maxUnixPath = 100;

const placePattern = /^(\[[^\]]*\]|[^:[\]]*)(?::(\d{1,5}))?$/;
const hostPattern = /^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?$/;
const examples = "write 'tcp://10.0.8.1:1900', 'tls://10.0.8.1:1900', 'tcp://[::1]:1900' or 'unix:/run/mailvan.sock'";

/**
 * Reads `tcp://host:port` or `tls://host:port`, where the host is an IPv4 address, an IPv6 address in brackets or a name and the port is
 * {@link defaultPort} when left out, or `unix:path`.
 *
 * @param option what the text was given for, for the error.
 * @throws {BusError} `OPTION_INVALID` naming the value and a correct one.
 */
export function parseAddress(text: unknown, option = 'address'): Address {
  if (typeof text !== 'string') throw invalid(option, text, `is no text; ${examples}`);
  if (text.startsWith('tcp://')) return parseHost('tcp', text, option);
  if (text.startsWith('tls://')) return parseHost('tls', text, option);
  if (text.startsWith('unix:')) return parseUnix(text, option);
  throw invalid(option, text, `starts with none of 'tcp://', 'tls://' and 'unix:'; ${examples}`);
}

/** The text of an address, as {@link parseAddress} reads it, always with its port. */
export function formatAddress(address: Address): string {
  if (address.scheme === 'unix') return `unix:${address.path}`;
  return `${address.scheme}://${formatHost(address.host, address.port)}`;
}

/** `host:port`, with an IPv6 address in brackets. */
export function formatHost(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether only processes of this machine can reach the address: a Unix socket, 127.0.0.0/8, ::1 or `localhost`. */
export function isLoopback(address: Address): boolean {
  if (address.scheme === 'unix') return true;
  const host = address.host.toLowerCase();
  if (isIPv4(host)) return host.startsWith('127.');
  if (isIPv6(host)) return new URL(`tcp://[${host}]`).hostname === '[::1]' || /^::ffff:127\./.test(host);
  return host === 'localhost' || host.endsWith('.localhost');
}

function parseHost(scheme: HostAddress['scheme'], text: string, option: string): HostAddress {
  const [, bracketed, digits] = placePattern.exec(text.slice(6)) ?? [];
  if (bracketed === undefined || bracketed === '') throw invalid(option, text, `is no host and port; ${examples}`);
  const host = bracketed.startsWith('[') ? bracketed.slice(1, -1) : bracketed;
  const fits = bracketed.startsWith('[') ? isIPv6(host) : /^[\d.]+$/.test(host) ? isIPv4(host) : hostPattern.test(host);
  if (!fits) throw invalid(option, text, `names no IP address or host; ${examples}`);
  const port = digits === undefined ? defaultPort : Number(digits);
  if (port > 65_535)
    throw invalid(option, text, `has the port ${port}; ports go from 0 to 65535, as in ${example(scheme, host)}`);
  return { scheme, host, port };
}

function parseUnix(text: string, option: string): UnixAddress {
  // 'unix:///run/a' is how many programs write it.
  const path = text.startsWith('unix:///') ? text.slice(7) : text.slice(5);
  if (path === '' || path.startsWith('//') || path.endsWith('/') || path.includes('\0')) {
    throw invalid(option, text, "is no path of a socket; write 'unix:/run/mailvan.sock'");
  }
  const bytes = Buffer.byteLength(path);
  if (bytes > maxUnixPath) {
    throw invalid(option, text, `has a path of ${bytes} bytes; a Unix socket takes at most ${maxUnixPath}`);
  }
  return { scheme: 'unix', path };
}

function example(scheme: HostAddress['scheme'], host: string): string {
  return `'${scheme}://${formatHost(host, defaultPort)}'`;
}

function invalid(option: string, value: unknown, problem: string): BusError {
  // What stands before an '@' may be a password, and errors end up in logs.
  const shown = typeof value === 'string' ? value.replace(/\/\/[^/]*@/, '//…@') : value;
  return new BusError('OPTION_INVALID', `${option} ${describe(shown)} ${problem}`);
}
