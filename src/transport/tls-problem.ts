/** Why a certificate is not accepted, by the name that OpenSSL has for it. The texts go on from 'it': they stand in refusals. */
const certificateProblems: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'its certificate, or one above it, has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet: compare the clocks of the two machines',
  INVALID_PURPOSE:
    'its certificate is not meant for this end of a link: it takes serverAuth to listen and clientAuth to dial',
};

const foreign = [
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_SIGNATURE_FAILURE',
];

/** Tells what is wrong with the other end's certificate. @param code such as `CERT_HAS_EXPIRED`. */
export function certificateProblem(code: string): string | undefined {
  if (foreign.includes(code)) return "its certificate is from none of the authorities in this node's tls.ca";
  if (Object.hasOwn(certificateProblems, code)) return certificateProblems[code];
  return /CERT|CRL|^INVALID_CA|PATH_LENGTH|EE_KEY|CA_MD/.test(code)
    ? `its certificate is not accepted: ${code}`
    : undefined;
}

/** Who speaks plain text where this node speaks TLS. */
export const plainProblem =
  'it speaks no TLS, and this node none but TLS there: both need the same scheme, tls:// or tcp://';

/** The first byte of a handshake of TLS. A frame of ours begins with 0 there. */
export const handshakeRecord = 0x16;

/** Why no TLS could be agreed on, for what is no fault of a certificate; undefined when the connection just broke. */
export function agreementProblem(code: string): string | undefined {
  if (!code.startsWith('ERR_SSL_')) return undefined;
  const alert = /ALERT_(.*)$/.exec(code)?.[1];
  if (alert === undefined && /WRONG_VERSION_NUMBER|PACKET_LENGTH|RECORD_LENGTH/.test(code)) return plainProblem;
  if (/UNSUPPORTED_PROTOCOL|VERSION_TOO_LOW|PROTOCOL_VERSION|NO_PROTOCOLS/.test(code))
    return 'it speaks no version of TLS from 1.2 on';
  return alert === undefined
    ? `no TLS could be agreed on with it: ${code}`
    : `it refused the TLS of this node: ${alert}`;
}

const alertRecord = 0x15;

/** Whether bytes begin as TLS does: a record of a handshake or an alert, of version 3.x. No frame of a handshake does. */
export function looksLikeTls(bytes: Uint8Array): boolean {
  return (bytes[0] === handshakeRecord || bytes[0] === alertRecord) && bytes[1] === 0x03;
}

const entry = /(?:^|, )([A-Za-z0-9 ]+):("(?:[^"\\]|\\.)*"|[^",]*)(?=,|$)/gy;
const nameOfNode = /^[A-Za-z0-9_.-]{1,128}$/;

/**
 * The names of nodes in a certificate's subject alternative name, as Node writes it: its DNS entries, letter by letter. Node
 * puts what could be taken for two entries in quotes; such a text, like a wildcard, is the name of no node.
 */
export function nodeNamesOf(subjectAltName: string | undefined): readonly string[] {
  const names: string[] = [];
  for (const [, kind, value = ''] of (subjectAltName ?? '').matchAll(entry)) {
    if (kind === 'DNS' && nameOfNode.test(value)) names.push(value);
  }
  return names;
}

/** How many names an error shows: a refusal has to fit into one small frame. */
const shown = 5;

/** Why who calls itself `node` cannot be it, by the names in its certificate; undefined where nobody shows one. */
export function nameProblem(node: string, names: readonly string[] | undefined): string | undefined {
  if (names === undefined || names.includes(node)) return undefined;
  const list = names.slice(0, shown).map((name) => `'${name}'`);
  const borne = `${list.join(', ')}${names.length > shown ? ', …' : ''}`;
  return `its certificate bears ${borne === '' ? "no node's name" : borne} and not '${node}', which it says it is`;
}
