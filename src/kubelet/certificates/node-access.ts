import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Clock } from '../../async/index.ts';
import {
  type ApiClient,
  type ClientConfig,
  createClient,
  formatKubeconfig,
  loadKubeconfig,
} from '../../client/index.ts';
import { followFiles } from '../../host/files/index.ts';
import type { Logger } from '../../log/index.ts';
import { generateKey, readCertificate } from '../../wire/certificates/index.ts';
import { CertificateManager } from './certificate-manager.ts';
import { CertificateStore, parsePair } from './certificate-store.ts';
import { CertificateRefused, type CertificateWish, requestCertificate } from './request-certificate.ts';

/** How a node reaches its API server. */
export interface NodeAccessOptions {
  kubeconfig: string;
  /** Used to ask for a client certificate while there is none. */
  bootstrapKubeconfig?: string;
  /** In place of the kubeconfig's. */
  server?: string;
  nodeName: string;
  certDirectory: string;
  /** Renew the client certificate before its end. */
  rotate: boolean;
  userAgent: string;
  log: Logger;
  clock: Clock;
}

const clientSigner: Pick<CertificateWish, 'signerName' | 'usages'> = {
  signerName: 'kubernetes.io/kube-apiserver-client-kubelet',
  // Keys are of elliptic curves here, which encipher no keys.
  usages: ['digital signature', 'client auth'],
};

const temporaryKey = 'kubelet-client.key.tmp';

const subjectOf = (nodeName: string) => ({ commonName: `system:node:${nodeName}`, organizations: ['system:nodes'] });

/**
 * The client of a node. When the kubeconfig is not there, or its certificate is over, a certificate is asked for with the
 * bootstrap kubeconfig and the kubeconfig is written; that may wait for somebody to approve. The client follows its files:
 * what is replaced on disk (or renewed) is used for new connections, and those that are open go on.
 * @throws Error for a kubeconfig that cannot be used
 */
export async function openNodeAccess(options: NodeAccessOptions, signal: AbortSignal): Promise<ApiClient> {
  const { kubeconfig, bootstrapKubeconfig, clock, log } = options;
  if (bootstrapKubeconfig && !(await isUsable(kubeconfig, clock))) await bootstrap(options, signal);
  const read = async (): Promise<ClientConfig> => {
    const config = await loadKubeconfig(kubeconfig);
    return { ...config, ...(options.server ? { server: options.server } : {}), userAgent: options.userAgent };
  };
  const client = createClient(await read(), { clock });
  const store = new CertificateStore(options.certDirectory, 'kubelet-client');
  if (options.rotate) void rotate(options, client, store, signal);
  const changed = async (): Promise<void> => client.reconfigure(await read());
  void followFiles([kubeconfig, store.currentPath], changed, { what: 'kubeconfig', clock, log, signal });
  return client;
}

/** Whether a kubeconfig is there with a certificate that is good, or with another credential. */
async function isUsable(file: string, clock: Clock): Promise<boolean> {
  try {
    const { cert, key, token, tokenFile } = await loadKubeconfig(file);
    if (!cert || !key) return Boolean(token || tokenFile);
    return (parsePair(cert, key)?.notAfter ?? 0) > clock.now();
  } catch {
    return false;
  }
}

/** Gets the first client certificate and writes the kubeconfig that uses it. */
async function bootstrap(options: NodeAccessOptions, signal: AbortSignal): Promise<void> {
  const { bootstrapKubeconfig, kubeconfig, nodeName, certDirectory, clock, log } = options;
  const config = await loadKubeconfig(bootstrapKubeconfig!);
  const store = new CertificateStore(certDirectory, 'kubelet-client');
  const known = await store.read();
  if (!known || known.notAfter <= clock.now()) {
    log.info('asks for the client certificate of the node', { bootstrapKubeconfig });
    const client = createClient({ ...config, userAgent: options.userAgent }, { clock });
    try {
      const ask = async (): Promise<void> => {
        const key = await keepKey(certDirectory);
        const wish = { subject: subjectOf(nodeName), ...clientSigner, key, named: true };
        try {
          const cert = await requestCertificate(client, wish, { clock, log, signal });
          await store.write({ cert, key }, clock.now());
        } catch (error) {
          if (!(error instanceof CertificateRefused)) throw error;
          // The next request is another one, with a key and so a name of its own.
          await rm(join(certDirectory, temporaryKey), { force: true });
          throw error;
        }
        await rm(join(certDirectory, temporaryKey), { force: true });
      };
      await patiently(ask, options, signal);
    } finally {
      client.close();
    }
  }
  await writeKubeconfig(kubeconfig, config, store.currentPath);
  log.info('has written the kubeconfig of the node', { kubeconfig });
}

/** The key of a request that is under way, so that a kubelet that begins anew asks for the same. */
async function keepKey(directory: string): Promise<string> {
  const path = join(directory, temporaryKey);
  const known = await readFile(path, 'utf8').catch(() => '');
  if (known.includes('PRIVATE KEY')) return known;
  const key = await generateKey();
  await mkdir(directory, { recursive: true, mode: 0o755 });
  await writeFile(`${path}.new`, key, { mode: 0o600, flush: true });
  await rename(`${path}.new`, path);
  return key;
}

/** Tries until it succeeds: an API server may be away, a request be denied and later be wanted. */
async function patiently<T>(
  work: () => Promise<T>,
  { clock, log }: NodeAccessOptions,
  signal: AbortSignal,
): Promise<T> {
  for (let waitMs = 1000; ; waitMs = Math.min(waitMs * 2, 60_000)) {
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      log.warn('no client certificate yet', { error });
      await clock.sleep(waitMs, signal);
    }
  }
}

async function writeKubeconfig(path: string, config: ClientConfig, pem: string): Promise<void> {
  const { server, ca, serverName, insecureSkipTlsVerify } = config;
  const text = formatKubeconfig(
    {
      server,
      ...(ca ? { ca } : {}),
      ...(serverName ? { serverName } : {}),
      ...(insecureSkipTlsVerify ? { insecureSkipTlsVerify } : {}),
      certFile: pem,
      keyFile: pem,
      namespace: 'default',
    },
    { cluster: 'default-cluster', user: 'default-auth' },
  );
  await mkdir(dirname(path), { recursive: true });
  await writeFile(`${path}.new`, text, { mode: 0o600, flush: true });
  await rename(`${path}.new`, path);
}

/** Renews the client certificate; a kubeconfig that holds another certificate is made to use the renewed one. */
async function rotate(
  options: NodeAccessOptions,
  client: ApiClient,
  store: CertificateStore,
  signal: AbortSignal,
): Promise<void> {
  const { nodeName, clock, log, kubeconfig } = options;
  // A kubeconfig with a certificate of its own (data, or other files) is where the first renewal begins.
  const { cert, key } = client.config;
  const pair = cert && key ? parsePair(cert, key) : undefined;
  const kept = await store.read();
  if (
    pair &&
    (!kept || kept.notAfter < pair.notAfter || readCertificate(kept.cert).commonName !== subjectOf(nodeName).commonName)
  )
    await store
      .write(pair, clock.now())
      .catch((error: unknown) => log.warn('cannot keep the client certificate', { error }));
  const manager = new CertificateManager({
    store,
    ...clientSigner,
    subject: () => subjectOf(nodeName),
    client,
    onNew: (renewed) => {
      if (renewed.cert === client.config.cert) return;
      void writeKubeconfig(kubeconfig, client.config, store.currentPath)
        .then(() => client.reconfigure({ ...client.config, cert: renewed.cert, key: renewed.key }))
        .catch((error: unknown) => log.warn('cannot write the kubeconfig', { error }));
    },
    log,
    clock,
  });
  await manager.run(signal);
}
