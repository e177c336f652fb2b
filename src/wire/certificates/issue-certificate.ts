import { randomBytes } from 'node:crypto';
import type * as X509 from '@peculiar/x509';
import { generateKey, importPrivateKey, importPublicKey, type KeyAndCertificate, publicKeyOf } from './keys.ts';
import { algorithmOf, keyAlgorithm, x509Library } from './x509-library.ts';

/** What a certificate is for. */
export interface CertificateRequest {
  commonName: string;
  organizations?: readonly string[];
  dnsNames?: readonly string[];
  ipAddresses?: readonly string[];
  emails?: readonly string[];
  uris?: readonly string[];
  usages: readonly ('server' | 'client')[];
  /** What the key may be used for. Default: digital signature and key encipherment. */
  keyUsages?: readonly KeyUsage[];
  /** How long it is good, days. Default 365. */
  days?: number;
}

/** Uses of a key by the names that the API of Kubernetes has for them. */
export type KeyUsage =
  | 'digital signature'
  | 'content commitment'
  | 'key encipherment'
  | 'data encipherment'
  | 'key agreement';

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
  const key = await importPublicKey(publicKey, algorithmOf(publicKey));
  const signingAlgorithm = algorithmOf(publicKeyOf(authority.key));
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: distinguishedName(x509, request.commonName, request.organizations ?? []),
    issuer: issuer.subject,
    notBefore: new Date(now - earlierMs),
    notAfter: new Date(Math.min(now + (request.days ?? 365) * dayMs, issuer.notAfter.getTime())),
    publicKey: key,
    signingKey: await importPrivateKey(authority.key, signingAlgorithm),
    signingAlgorithm,
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
    ...(request.emails ?? []).map((value) => ({ type: 'email' as const, value })),
    ...(request.uris ?? []).map((value) => ({ type: 'url' as const, value })),
  ];
  const flags: Record<KeyUsage, number> = {
    'digital signature': x509.KeyUsageFlags.digitalSignature,
    'content commitment': x509.KeyUsageFlags.nonRepudiation,
    'key encipherment': x509.KeyUsageFlags.keyEncipherment,
    'data encipherment': x509.KeyUsageFlags.dataEncipherment,
    'key agreement': x509.KeyUsageFlags.keyAgreement,
  };
  const keyUsages = request.keyUsages ?? (['digital signature', 'key encipherment'] as const);
  return [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(
      keyUsages.reduce((sum, usage) => sum | flags[usage], 0),
      true,
    ),
    ...(usages.length > 0 ? [new x509.ExtendedKeyUsageExtension(usages)] : []),
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
