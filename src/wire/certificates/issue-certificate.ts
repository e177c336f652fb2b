import { randomBytes } from 'node:crypto';
import type * as X509 from '@peculiar/x509';
import { generateKey, importPrivateKey, importPublicKey, type KeyAndCertificate, publicKeyOf } from './keys.ts';
import { keyAlgorithm, x509Library } from './x509-library.ts';

/** What a certificate is for. */
export interface CertificateRequest {
  commonName: string;
  organizations?: readonly string[];
  dnsNames?: readonly string[];
  ipAddresses?: readonly string[];
  usages: readonly ('server' | 'client')[];
  /** How long it is good, days. Default 365. */
  days?: number;
}

const dayMs = 86_400_000;

/** Certificates begin a little in the past, because clocks differ. */
const earlierMs = 5 * 60_000;

/** An authority that signs certificates: its own key and certificate, PEM. */
export type CertificateAuthority = KeyAndCertificate;

/** Makes an authority with a certificate signed by itself, good for ten years. `now`: milliseconds since 1970. */
export async function createCertificateAuthority(commonName: string, now: number): Promise<CertificateAuthority> {
  const x509 = await x509Library();
  const key = await generateKey();
  const [privateKey, publicKey] = await Promise.all([
    importPrivateKey(key, keyAlgorithm),
    importPublicKey(publicKeyOf(key), keyAlgorithm),
  ]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: distinguishedName(x509, commonName, []),
    notBefore: new Date(now - earlierMs),
    notAfter: new Date(now + 3650 * dayMs),
    keys: { privateKey, publicKey },
    signingAlgorithm: keyAlgorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign | x509.KeyUsageFlags.digitalSignature,
        true,
      ),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
    ],
  });
  return { key, cert: `${certificate.toString('pem')}\n` };
}

/** Makes a key and a certificate for it, signed by the authority. */
export async function issueCertificate(
  authority: CertificateAuthority,
  request: CertificateRequest,
  now: number,
): Promise<KeyAndCertificate> {
  const key = await generateKey();
  return { key, cert: await signPublicKey(authority, publicKeyOf(key), request, now) };
}

/** Signs a certificate for somebody's public key (PEM). */
export async function signPublicKey(
  authority: CertificateAuthority,
  publicKey: string,
  request: CertificateRequest,
  now: number,
): Promise<string> {
  const x509 = await x509Library();
  const issuer = new x509.X509Certificate(authority.cert);
  const key = await importPublicKey(publicKey, keyAlgorithm).catch(() =>
    importPublicKey(publicKey, { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }),
  );
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: distinguishedName(x509, request.commonName, request.organizations ?? []),
    issuer: issuer.subject,
    notBefore: new Date(now - earlierMs),
    notAfter: new Date(now + (request.days ?? 365) * dayMs),
    publicKey: key,
    signingKey: await importPrivateKey(authority.key, keyAlgorithm),
    signingAlgorithm: keyAlgorithm,
    extensions: await extensionsOf(x509, request, issuer),
  });
  return `${certificate.toString('pem')}\n`;
}

async function extensionsOf(
  x509: typeof X509,
  request: CertificateRequest,
  issuer: X509.X509Certificate,
): Promise<X509.Extension[]> {
  const usages = request.usages.map((usage) =>
    usage === 'server' ? x509.ExtendedKeyUsage.serverAuth : x509.ExtendedKeyUsage.clientAuth,
  );
  const names = [
    ...(request.dnsNames ?? []).map((value) => ({ type: 'dns' as const, value })),
    ...(request.ipAddresses ?? []).map((value) => ({ type: 'ip' as const, value })),
  ];
  return [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment, true),
    new x509.ExtendedKeyUsageExtension(usages),
    await x509.AuthorityKeyIdentifierExtension.create(issuer),
    ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
  ];
}

/** Groups come first, as Go's libraries write them. */
function distinguishedName(x509: typeof X509, commonName: string, organizations: readonly string[]): X509.Name {
  return new x509.Name([...organizations.map((one) => ({ O: [one] })), { CN: [commonName] }]);
}

/** A positive serial number of 127 random bits. */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0]! &= 0x7f;
  return bytes.toString('hex');
}
