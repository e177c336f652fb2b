import { createPublicKey } from 'node:crypto';
import type * as X509 from '@peculiar/x509';
import { type CertificateAuthority, type CertificateRequest, signPublicKey } from './issue-certificate.ts';
import { generateKey, importPrivateKey, importPublicKey, publicKeyOf } from './keys.ts';
import { keyAlgorithm, x509Library } from './x509-library.ts';

/** A PKCS #10 request, read. */
export interface SigningRequest {
  commonName: string;
  organizations: string[];
  dnsNames: string[];
  ipAddresses: string[];
  emails: string[];
  uris: string[];
  /** PEM (SPKI). */
  publicKey: string;
}

/** Makes a key and a request for a certificate for it; both PEM. */
export async function createSigningRequest(
  request: Pick<CertificateRequest, 'commonName' | 'organizations' | 'dnsNames' | 'ipAddresses'>,
  existingKey?: string,
): Promise<{ key: string; request: string }> {
  const x509 = await x509Library();
  const key = existingKey ?? (await generateKey());
  const names = [
    ...(request.dnsNames ?? []).map((value) => ({ type: 'dns' as const, value })),
    ...(request.ipAddresses ?? []).map((value) => ({ type: 'ip' as const, value })),
  ];
  const made = await x509.Pkcs10CertificateRequestGenerator.create({
    name: new x509.Name([...(request.organizations ?? []).map((one) => ({ O: [one] })), { CN: [request.commonName] }]),
    keys: {
      privateKey: await importPrivateKey(key, keyAlgorithm),
      publicKey: await importPublicKey(publicKeyOf(key), keyAlgorithm),
    },
    signingAlgorithm: keyAlgorithm,
    extensions: names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : [],
  });
  return { key, request: `${made.toString('pem')}\n` };
}

/** Reads a PEM request and checks that its sender holds the key. @throws Error when it is none, or not signed by its key */
export async function readSigningRequest(pem: string): Promise<SigningRequest> {
  const x509 = await x509Library();
  const request = new x509.Pkcs10CertificateRequest(pem);
  if (!(await request.verify())) throw new Error('certificate request is not signed by its own key');
  const names = readNames(x509, request);
  const of = (type: string) => names.filter((name) => name.type === type).map(({ value }) => String(value));
  return {
    commonName: request.subjectName.getField('CN')[0] ?? '',
    organizations: request.subjectName.getField('O'),
    dnsNames: of('dns'),
    ipAddresses: of('ip'),
    emails: of('email'),
    uris: of('url'),
    publicKey: createPublicKey({ key: Buffer.from(request.publicKey.rawData), format: 'der', type: 'spki' })
      .export({ type: 'spki', format: 'pem' })
      .toString(),
  };
}

/** The names that a request asks for (OID 2.5.29.17). */
function readNames(x509: typeof X509, request: X509.Pkcs10CertificateRequest): X509.JsonGeneralNames {
  const extension = request.getExtension('2.5.29.17');
  return extension ? new x509.SubjectAlternativeNameExtension(extension.rawData).names.toJSON() : [];
}

/** Signs what a request asks for. */
export async function signRequest(
  authority: CertificateAuthority,
  request: SigningRequest,
  usages: CertificateRequest['usages'],
  now: number,
  options: Pick<CertificateRequest, 'days' | 'keyUsages'> = {},
): Promise<string> {
  return signPublicKey(authority, request.publicKey, { ...request, usages, ...options }, now);
}
