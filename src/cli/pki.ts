import { createHash, webcrypto, X509Certificate } from 'node:crypto';
import { BitString, Integer, OctetString, Utf8String } from 'asn1js';
import {
  AttributeTypeAndValue,
  AuthorityKeyIdentifier,
  BasicConstraints,
  Certificate,
  Extension,
  ExtKeyUsage,
  GeneralName,
  GeneralNames,
  type RelativeDistinguishedNames,
  Time,
  TimeType,
} from 'pkijs';
import type { Clock } from '../core/clock.ts';
import { hexOf } from '../core/hex.ts';

/** A certificate and its private key, both in PEM. */
export interface Issued {
  readonly cert: string;
  readonly key: string;
}

/** From when until when a certificate holds, in milliseconds since 1970. */
export interface Validity {
  readonly from: number;
  readonly until: number;
}

/** Which ends of a link a certificate is for. */
export type Purpose = 'serverAuth' | 'clientAuth';

const curve = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const purposes: Readonly<Record<Purpose, string>> = {
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
};

/** Bits of a key usage, from the left (RFC 5280, 4.2.1.3). */
const usages = { digitalSignature: 0x80, signsCertificates: 0x06 } as const;

/** Makes an authority: a certificate that signs those of nodes, and none that sign further ones. */
export async function makeAuthority(clock: Clock, validity: Validity): Promise<Issued> {
  const keys = await makeKeys();
  // Two authorities of one name would be taken for each other until their signatures are compared.
  const name = `mailvan test CA ${hexOf(clock.randomBytes(4))}`;
  const cert = await blank(clock, name, keys.publicKey, validity);
  setName(cert.issuer, name);
  cert.extensions = [
    extension('2.5.29.19', new BasicConstraints({ cA: true, pathLenConstraint: 0 }).toSchema(), true),
    keyUsage(usages.signsCertificates),
    subjectKey(cert),
  ];
  await cert.sign(keys.privateKey, 'SHA-256');
  return issued(cert, keys.privateKey);
}

/**
 * Makes a certificate for nodes: their names are DNS entries of its subject alternative name.
 *
 * @param facts `purposes`: by default both, since a node may dial and listen.
 */
export async function issue(
  clock: Clock,
  authority: Issued,
  facts: Validity & { readonly names: readonly string[]; readonly purposes?: readonly Purpose[] },
): Promise<Issued> {
  const { names, purposes: wanted = ['serverAuth', 'clientAuth'] } = facts;
  const keys = await makeKeys();
  const [first = ''] = names;
  const cert = await blank(clock, first.slice(0, 64), keys.publicKey, facts); // as long as a common name may be
  const above = Certificate.fromBER(new X509Certificate(authority.cert).raw);
  cert.issuer = above.subject;
  const alternatives = new GeneralNames({ names: names.map((value) => new GeneralName({ type: 2, value })) });
  cert.extensions = [
    extension('2.5.29.19', new BasicConstraints({ cA: false }).toSchema(), true),
    keyUsage(usages.digitalSignature),
    extension('2.5.29.37', new ExtKeyUsage({ keyPurposes: wanted.map((one) => purposes[one]) }).toSchema()),
    extension('2.5.29.17', alternatives.toSchema()),
    subjectKey(cert),
    extension('2.5.29.35', new AuthorityKeyIdentifier({ keyIdentifier: keyIdentifier(above) }).toSchema()),
  ];
  await cert.sign(await readKey(authority.key), 'SHA-256');
  return issued(cert, keys.privateKey);
}

function makeKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(curve, true, ['sign', 'verify']);
}

async function blank(clock: Clock, name: string, key: webcrypto.CryptoKey, validity: Validity): Promise<Certificate> {
  const cert = new Certificate();
  cert.version = 2; // counted from 0
  const serial = clock.randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40; // positive, and of full length
  cert.serialNumber = new Integer({ valueHex: serial });
  setName(cert.subject, name);
  cert.notBefore = timeOf(validity.from);
  cert.notAfter = timeOf(validity.until);
  await cert.subjectPublicKeyInfo.importKey(key);
  return cert;
}

function setName(subject: RelativeDistinguishedNames, value: string): void {
  subject.typesAndValues.push(new AttributeTypeAndValue({ type: '2.5.4.3', value: new Utf8String({ value }) }));
}

/** The short form ends in 2049 (RFC 5280, 4.1.2.5). */
function timeOf(at: number): Time {
  const value = new Date(at);
  return new Time({ type: value.getUTCFullYear() < 2050 ? TimeType.UTCTime : TimeType.GeneralizedTime, value });
}

function extension(extnID: string, schema: { toBER(): ArrayBuffer }, critical = false): Extension {
  return new Extension({ extnID, critical, extnValue: schema.toBER() });
}

function keyUsage(bits: number): Extension {
  const unusedBits = bits & 0x80 ? 7 : 1;
  return extension('2.5.29.15', new BitString({ valueHex: Uint8Array.of(bits), unusedBits }), true);
}

function subjectKey(cert: Certificate): Extension {
  return extension('2.5.29.14', keyIdentifier(cert));
}

/** The SHA-1 of the public key (RFC 5280, 4.2.1.2): a short name for it, not a signature. */
function keyIdentifier(cert: Certificate): OctetString {
  const key = cert.subjectPublicKeyInfo.subjectPublicKey.valueBlock.valueHexView;
  return new OctetString({ valueHex: createHash('sha1').update(key).digest() });
}

async function issued(cert: Certificate, key: webcrypto.CryptoKey): Promise<Issued> {
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', key);
  return { cert: pem('CERTIFICATE', cert.toSchema(true).toBER()), key: pem('PRIVATE KEY', pkcs8) };
}

function pem(label: string, bytes: ArrayBuffer): string {
  const lines = Buffer.from(bytes)
    .toString('base64')
    .replace(/.{64}(?=.)/g, '$&\n');
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}

async function readKey(text: string): Promise<webcrypto.CryptoKey> {
  const body = text.replace(/-----[^-]*-----|\s/g, '');
  return webcrypto.subtle.importKey('pkcs8', Buffer.from(body, 'base64'), curve, false, ['sign']);
}
