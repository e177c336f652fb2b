import { createPrivateKey, X509Certificate } from 'node:crypto';
import { chmod, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../async/index.ts';
import { formatKubeconfig } from '../../client/index.ts';
import {
  type CertificateAuthority,
  createCertificateAuthority,
  generateKey,
  isSignedBy,
  issueCertificate,
  type KeyAndCertificate,
  publicKeyOf,
  readCertificate,
} from '../../wire/certificates/index.ts';
import { type PkiOptions, type PlannedCertificate, planCertificates } from './certificate-plan.ts';
import { readOptional, writeSecret } from './files.ts';
import { PkiError } from './pki-error.ts';

/** Where things are in a certificate directory. */
export interface PkiFiles {
  directory: string;
  /** The authority's certificate and key, PEM. */
  ca: string;
  caKey: string;
  /** Names (without .crt and .key) of the certificates that were signed by this call. */
  issued: string[];
}

/** A certificate is renewed when less than this part of its life is left. */
const renewBelow = 0.2;

/**
 * Makes the certificates, keys and kubeconfigs of a cluster in a directory, or keeps those that are there and still good:
 * signed by the authority, for the same names, not near their end. Files are for their owner only and written atomically.
 * @throws PkiError when the authority is there in part or not readable; nothing is changed then
 */
export async function ensurePki(directory: string, options: PkiOptions & { clock: Clock }): Promise<PkiFiles> {
  const now = options.clock.now();
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await chmod(directory, 0o700);
  await removeLeftovers(directory);
  const [authority] = await Promise.all([
    ensureAuthority(directory, options.clusterName, now),
    ensureServiceAccountKey(directory),
  ]);
  const issued: string[] = [];
  await Promise.all(
    planCertificates(options).map(async (planned) => {
      const { pair, fresh } = await ensureCertificate(directory, authority, planned, now);
      if (fresh) issued.push(planned.file);
      if (planned.kubeconfigUser) await ensureKubeconfig(directory, authority, planned, pair, options);
    }),
  );
  return { directory, ca: authority.cert, caKey: authority.key, issued: issued.sort() };
}

/** Files of a write that was cut short. */
async function removeLeftovers(directory: string): Promise<void> {
  const names = await readdir(directory);
  await Promise.all(
    names.filter((name) => /\.[0-9a-f]{8}\.new$/.test(name)).map((name) => rm(join(directory, name), { force: true })),
  );
}

async function ensureAuthority(directory: string, name: string, now: number): Promise<CertificateAuthority> {
  const certPath = join(directory, 'ca.crt');
  const keyPath = join(directory, 'ca.key');
  const [cert, key] = await Promise.all([readOptional(certPath), readOptional(keyPath)]);
  if (cert !== undefined && key !== undefined) {
    if (!belongTogether({ cert, key }))
      throw new PkiError('AUTHORITY_DAMAGED', `${certPath} and ${keyPath} are damaged or do not belong together`);
    return { cert, key };
  }
  if (cert !== undefined) {
    throw new PkiError('AUTHORITY_INCOMPLETE', `${keyPath} is missing: certificates of this cluster cannot be signed`);
  }
  // A key alone is what a kill between the two writes leaves: nothing was signed with it yet.
  const authority = await createCertificateAuthority(name, now);
  await writeSecret(keyPath, authority.key, true);
  await writeSecret(certPath, authority.cert, true);
  return authority;
}

/** The key pair that signs service-account tokens (ES256). */
async function ensureServiceAccountKey(directory: string): Promise<void> {
  const path = join(directory, 'sa.key');
  const publicPath = join(directory, 'sa.pub');
  let key = await readOptional(path);
  if (key === undefined) await writeSecret(path, (key = await generateKey()), true);
  let publicKey: string;
  try {
    publicKey = publicKeyOf(key);
  } catch (cause) {
    throw new PkiError('KEY_DAMAGED', `${path} is not a private key`, { cause });
  }
  if ((await readOptional(publicPath)) !== publicKey) await writeSecret(publicPath, publicKey);
}

async function ensureCertificate(
  directory: string,
  authority: CertificateAuthority,
  planned: PlannedCertificate,
  now: number,
): Promise<{ pair: KeyAndCertificate; fresh: boolean }> {
  const certPath = join(directory, `${planned.file}.crt`);
  const keyPath = join(directory, `${planned.file}.key`);
  const [cert, key] = await Promise.all([readOptional(certPath), readOptional(keyPath)]);
  if (cert !== undefined && key !== undefined && isGood({ cert, key }, authority, planned, now))
    return { pair: { cert, key }, fresh: false };
  const pair = await issueCertificate(authority, planned.request, now);
  await writeSecret(keyPath, pair.key);
  await writeSecret(certPath, pair.cert);
  return { pair, fresh: true };
}

/** Whether a certificate on disk can be used as it is. */
function isGood(
  pair: KeyAndCertificate,
  authority: CertificateAuthority,
  { request }: PlannedCertificate,
  now: number,
): boolean {
  if (!belongTogether(pair) || !isSignedBy(pair.cert, authority.cert)) return false;
  const found = readCertificate(pair.cert);
  const life = found.notAfter - found.notBefore;
  return (
    found.commonName === request.commonName &&
    sameSet(found.organizations, request.organizations ?? []) &&
    sameSet(found.dnsNames, request.dnsNames ?? []) &&
    sameSet(found.ipAddresses.map(canonicalAddress), (request.ipAddresses ?? []).map(canonicalAddress)) &&
    now >= found.notBefore &&
    found.notAfter - now > life * renewBelow
  );
}

function belongTogether({ cert, key }: KeyAndCertificate): boolean {
  try {
    return new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
  } catch {
    return false;
  }
}

function sameSet(left: readonly string[], right: readonly string[]): boolean {
  const set = new Set(left);
  return set.size === new Set(right).size && right.every((one) => set.has(one));
}

/** IPv6 addresses have many spellings; the URL parser knows the canonical one. */
function canonicalAddress(address: string): string {
  return address.includes(':') ? new URL(`http://[${address}]`).hostname : address;
}

async function ensureKubeconfig(
  directory: string,
  authority: CertificateAuthority,
  planned: PlannedCertificate,
  pair: KeyAndCertificate,
  options: PkiOptions,
): Promise<void> {
  const path = join(directory, `${planned.file}.conf`);
  const text = formatKubeconfig(
    { server: options.server, ca: authority.cert, cert: pair.cert, key: pair.key },
    { cluster: options.clusterName, user: planned.kubeconfigUser! },
    { format: 'json' },
  );
  if ((await readOptional(path)) !== text) await writeSecret(path, text);
}
