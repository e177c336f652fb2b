import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../async/index.ts';
import type { ApiClient } from '../../client/index.ts';
import { followFiles } from '../../host/files/index.ts';
import type { Logger } from '../../log/index.ts';
import { createCertificateAuthority, issueCertificate, readCertificate } from '../../wire/certificates/index.ts';
import type { HttpServer, ServerTls } from '../../wire/http/index.ts';
import { isFeatureOn } from '../config/feature-gates.ts';
import type { KubeletConfig, KubeletSettings } from '../config/settings.ts';
import { checkTlsChoices } from '../config/tls-choices.ts';
import { ConfigurationError } from '../errors.ts';
import { CertificateManager } from './certificate-manager.ts';
import { CertificateStore } from './certificate-store.ts';

/** A certificate of our own is renewed when it is good for less than this, milliseconds. */
const renewBeforeMs = 30 * 86_400_000;

/** What the server's certificate is made from. */
export interface ServingTlsOptions {
  settings: KubeletSettings;
  given: KubeletConfig['serving'];
  client: ApiClient | undefined;
  log: Logger;
  clock: Clock;
}

/**
 * How the kubelet's server presents itself and whose client certificates it takes: as given, from the files that the
 * configuration names, from the API server (serverTLSBootstrap), or by a certificate of its own below the certificate
 * directory. Files are followed; what is replaced is used for new connections.
 */
export class ServingTls {
  readonly #options: ServingTlsOptions;
  #tls: ServerTls = {};
  #server: HttpServer | undefined;

  private constructor(options: ServingTlsOptions) {
    this.#options = options;
  }

  /** @throws ConfigurationError when a file that is named cannot be read */
  static async load(options: ServingTlsOptions): Promise<ServingTls> {
    const made = new ServingTls(options);
    made.#tls = {
      ...checkTlsChoices(options.settings.configuration),
      ...(await made.#readClientCa()),
      ...(await made.#readPair()),
    };
    return made;
  }

  get tls(): ServerTls {
    return this.#tls;
  }

  /** New certificates go to this server. */
  attach(server: HttpServer): void {
    this.#server = server;
    server.setTls(this.#tls);
  }

  /** Follows files and renews certificates until the signal aborts. `addresses` are those that the node has now. */
  follow(addresses: () => { dnsNames: string[]; ipAddresses: string[] } | undefined, signal: AbortSignal): void {
    const { settings, given, client, clock, log } = this.#options;
    const { configuration, nodeName, certDirectory } = settings;
    const { tlsCertFile, tlsPrivateKeyFile, authentication, featureGates, serverTLSBootstrap } = configuration;
    const { clientCAFile } = authentication.x509;
    const context = { clock, log, signal };
    if (clientCAFile && isFeatureOn(featureGates, 'ReloadKubeletClientCAFile'))
      void followFiles([clientCAFile], async () => this.#take(await this.#readClientCa()), {
        what: 'client CA',
        ...context,
      });
    if (given) return;
    if (tlsCertFile) {
      if (isFeatureOn(featureGates, 'ReloadKubeletServerCertificateFile'))
        void followFiles([tlsCertFile, tlsPrivateKeyFile], async () => this.#take(await this.#readPair()), {
          what: 'serving certificate',
          ...context,
        });
      return;
    }
    if (!serverTLSBootstrap || !client) return;
    const manager = new CertificateManager({
      store: new CertificateStore(certDirectory, 'kubelet-server'),
      signerName: 'kubernetes.io/kubelet-serving',
      usages: ['digital signature', 'server auth'],
      subject: () => {
        const names = addresses();
        return names && { commonName: `system:node:${nodeName}`, organizations: ['system:nodes'], ...names };
      },
      client,
      onNew: ({ cert, key }) => this.#take({ cert, key }),
      log,
      clock,
    });
    void manager.run(signal);
  }

  #take(part: ServerTls): void {
    this.#tls = { ...this.#tls, ...part };
    this.#server?.setTls(this.#tls);
  }

  async #readClientCa(): Promise<ServerTls> {
    const { clientCAFile } = this.#options.settings.configuration.authentication.x509;
    if (!clientCAFile) return {};
    const clientCa = await readNamed('authentication.x509.clientCAFile', clientCAFile);
    readCertificate(clientCa);
    return { clientCa };
  }

  async #readPair(): Promise<ServerTls> {
    const { settings, given, client, clock } = this.#options;
    const { tlsCertFile, tlsPrivateKeyFile, serverTLSBootstrap } = settings.configuration;
    if (given) return given;
    if (tlsCertFile && tlsPrivateKeyFile) {
      const cert = await readNamed('tlsCertFile', tlsCertFile);
      readCertificate(cert);
      return { cert, key: await readNamed('tlsPrivateKeyFile', tlsPrivateKeyFile) };
    }
    // The API server has it signed; until then nobody can be served.
    if (serverTLSBootstrap && client) return {};
    return ownCertificate(settings, clock);
  }
}

async function readNamed(field: string, path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new ConfigurationError(field, `cannot read ${path}: ${(error as Error).message}`, { cause: error });
  }
}

async function ownCertificate(settings: KubeletSettings, clock: Clock): Promise<{ cert: string; key: string }> {
  const { nodeName, nodeIps, certDirectory } = settings;
  const paths = { cert: join(certDirectory, 'kubelet.crt'), key: join(certDirectory, 'kubelet.key') };
  try {
    const [cert, key] = await Promise.all([readFile(paths.cert, 'utf8'), readFile(paths.key, 'utf8')]);
    const fresh = Number(readCertificate(cert).notAfter) - clock.now() > renewBeforeMs;
    if (fresh) return { cert, key };
  } catch {
    // None yet, or not readable as one: a new one is made.
  }
  const now = clock.now();
  const authority = await createCertificateAuthority(`${nodeName}-ca@${Math.floor(now / 1000)}`, now);
  const request = { commonName: nodeName, dnsNames: [nodeName], ipAddresses: nodeIps, usages: ['server'] as const };
  const made = await issueCertificate(authority, request, now);
  const chain = `${made.cert.trimEnd()}\n${authority.cert}`;
  await mkdir(certDirectory, { recursive: true, mode: 0o750 });
  await writeFile(`${paths.key}.new`, made.key, { mode: 0o600 });
  await rename(`${paths.key}.new`, paths.key);
  await writeFile(`${paths.cert}.new`, chain, { mode: 0o644 });
  await rename(`${paths.cert}.new`, paths.cert);
  return { cert: chain, key: made.key };
}
