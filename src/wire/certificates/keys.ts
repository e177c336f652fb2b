import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject, X509Certificate } from 'node:crypto';
import { promisify } from 'node:util';

/** A private key and a certificate for it, PEM. */
export interface KeyAndCertificate {
  key: string;
  cert: string;
}

/** Makes an ECDSA P-256 key; PEM (PKCS #8). */
export async function generateKey(): Promise<string> {
  const { privateKey } = await promisify(generateKeyPair)('ec', { namedCurve: 'P-256' });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** Makes an RSA key of 2048 bits; PEM (PKCS #8). Service-account tokens are signed RS256, which every client reads. */
export async function generateRsaKey(): Promise<string> {
  const { privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: 2048 });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** The public half of a private key; PEM (SPKI). */
export function publicKeyOf(privateKey: string): string {
  return createPublicKey(createPrivateKey(privateKey)).export({ type: 'spki', format: 'pem' }).toString();
}

/** A PEM key for WebCrypto. */
export async function importPrivateKey(
  pem: string,
  algorithm: { name: string; namedCurve?: string; hash: string },
): Promise<CryptoKey> {
  return crypto.subtle.importKey(
    'pkcs8',
    createPrivateKey(pem).export({ type: 'pkcs8', format: 'der' }) as Uint8Array<ArrayBuffer>,
    algorithm,
    true,
    ['sign'],
  );
}

/** The public half of a PEM key for WebCrypto. */
export async function importPublicKey(
  key: string | KeyObject,
  algorithm: { name: string; namedCurve?: string; hash: string },
): Promise<CryptoKey> {
  const object = typeof key === 'string' ? createPublicKey(key) : key;
  return crypto.subtle.importKey(
    'spki',
    object.export({ type: 'spki', format: 'der' }) as Uint8Array<ArrayBuffer>,
    algorithm,
    true,
    ['verify'],
  );
}

/** What is in a certificate. */
export interface CertificateDetails {
  commonName: string;
  organizations: string[];
  dnsNames: string[];
  ipAddresses: string[];
  /** Milliseconds since 1970. */
  notBefore: number;
  notAfter: number;
}

/** Reads a PEM certificate. @throws Error when it is none */
export function readCertificate(pem: string): CertificateDetails {
  const certificate = new X509Certificate(pem);
  const subject = certificate.subject?.split('\n') ?? [];
  const values = (attribute: string) =>
    subject.filter((line) => line.startsWith(`${attribute}=`)).map((line) => line.slice(attribute.length + 1));
  const names = certificate.subjectAltName?.split(', ') ?? [];
  return {
    commonName: values('CN')[0] ?? '',
    organizations: values('O'),
    dnsNames: names.filter((name) => name.startsWith('DNS:')).map((name) => name.slice(4)),
    ipAddresses: names.filter((name) => name.startsWith('IP Address:')).map((name) => name.slice(11)),
    notBefore: Date.parse(certificate.validFrom),
    notAfter: Date.parse(certificate.validTo),
  };
}

/** Whether a certificate was signed by an authority. */
export function isSignedBy(cert: string, authority: string): boolean {
  const issuer = new X509Certificate(authority);
  return new X509Certificate(cert).verify(issuer.publicKey);
}
