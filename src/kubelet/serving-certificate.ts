import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../async/index.ts';
import { createCertificateAuthority, issueCertificate, readCertificate } from '../wire/certificates/index.ts';
import type { KubeletConfig, KubeletSettings } from './config/settings.ts';
import { ConfigurationError } from './errors.ts';

/** What the kubelet's server shows and asks for, PEM. */
export interface ServingMaterial {
  cert: string;
  key: string;
  clientCa?: string;
}

/** A certificate of our own is renewed when it is good for less than this, milliseconds. */
const renewBeforeMs = 30 * 86_400_000;

/**
 * The server's certificate: as given, from the files that the configuration names, or one of our own below
 * `<root>/pki`, made once. @throws ConfigurationError when a file that is named cannot be read
 */
export async function servingMaterial(
  config: Pick<KubeletConfig, 'serving'>,
  settings: KubeletSettings,
  clock: Clock,
): Promise<ServingMaterial> {
  const { tlsCertFile, tlsPrivateKeyFile, authentication } = settings.configuration;
  const { clientCAFile } = authentication.x509;
  const clientCa = clientCAFile ? { clientCa: await readNamed('authentication.x509.clientCAFile', clientCAFile) } : {};
  if (config.serving) return { ...config.serving, ...clientCa };
  if (tlsCertFile && tlsPrivateKeyFile) {
    const cert = await readNamed('tlsCertFile', tlsCertFile);
    return { cert, key: await readNamed('tlsPrivateKeyFile', tlsPrivateKeyFile), ...clientCa };
  }
  return { ...(await ownCertificate(settings, clock)), ...clientCa };
}

async function readNamed(field: string, path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new ConfigurationError(field, `cannot read ${path}: ${(error as Error).message}`, { cause: error });
  }
}

async function ownCertificate(settings: KubeletSettings, clock: Clock): Promise<{ cert: string; key: string }> {
  const directory = join(settings.rootDirectory, 'pki');
  const paths = { cert: join(directory, 'kubelet.crt'), key: join(directory, 'kubelet.key') };
  try {
    const [cert, key] = await Promise.all([readFile(paths.cert, 'utf8'), readFile(paths.key, 'utf8')]);
    const fresh = Number(readCertificate(cert).notAfter) - clock.now() > renewBeforeMs;
    if (fresh) return { cert, key };
  } catch {
    // None yet, or not readable as one: a new one is made.
  }
  const now = clock.now();
  const { nodeName, nodeIps } = settings;
  const authority = await createCertificateAuthority(`${nodeName}-ca@${Math.floor(now / 1000)}`, now);
  const request = { commonName: nodeName, dnsNames: [nodeName], ipAddresses: nodeIps, usages: ['server'] as const };
  const made = await issueCertificate(authority, request, now);
  const chain = `${made.cert.trimEnd()}\n${authority.cert}`;
  await mkdir(directory, { recursive: true, mode: 0o750 });
  await writeFile(`${paths.key}.new`, made.key, { mode: 0o600 });
  await rename(`${paths.key}.new`, paths.key);
  await writeFile(`${paths.cert}.new`, chain, { mode: 0o644 });
  await rename(`${paths.cert}.new`, paths.cert);
  return { cert: chain, key: made.key };
}
