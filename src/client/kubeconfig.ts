import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { loadYaml, plainJson } from '../wire/documents/index.ts';

/** How to reach an API server, and as whom. Certificates and keys are PEM text. */
export interface ClientConfig {
  /** `https://host:port` */
  server: string;
  ca?: string;
  cert?: string;
  key?: string;
  /** A bearer token. */
  token?: string;
  /** A file that holds the bearer token; read again when it changes. */
  tokenFile?: string;
  insecureSkipTlsVerify?: boolean;
  /** Name that the server's certificate must carry, when it is not the host of `server`. */
  serverName?: string;
  /** Default namespace of the context. */
  namespace?: string;
  userAgent?: string;
  /** The files that it was read from: what is replaced there is to be read again. */
  files?: readonly string[];
}

interface Named {
  name: string;
  [section: string]: any;
}

/**
 * Reads a kubeconfig file (kind Config, v1) and takes the given or current context.
 * @throws Error naming the file and what is missing or wrong
 */
export async function loadKubeconfig(file: string, context?: string): Promise<ClientConfig> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw new Error(`cannot read kubeconfig ${file}`, { cause });
  }
  let config: Record<string, any>;
  try {
    config = (plainJson(text) ?? loadYaml().parse(text) ?? {}) as Record<string, any>;
  } catch (cause) {
    throw new Error(`kubeconfig ${file} is not YAML`, { cause });
  }
  const wanted = context ?? config['current-context'];
  const pick = (section: string, name: string | undefined, key: string): Record<string, any> => {
    const found = ((config[section] ?? []) as Named[]).find((one) => one.name === name)?.[key];
    if (!found) throw new Error(`kubeconfig ${file} has no ${key} ${JSON.stringify(name ?? '')}`);
    return found;
  };
  const chosen = pick('contexts', wanted, 'context');
  const cluster = pick('clusters', chosen['cluster'], 'cluster');
  const user = chosen['user'] ? pick('users', chosen['user'], 'user') : {};
  if (!cluster['server'])
    throw new Error(`kubeconfig ${file}: cluster ${JSON.stringify(chosen['cluster'])} has no server`);
  const material = (section: Record<string, any>, key: string): Promise<string | undefined> =>
    readMaterial(file, section, key);
  const [ca, cert, key] = await Promise.all([
    material(cluster, 'certificate-authority'),
    material(user, 'client-certificate'),
    material(user, 'client-key'),
  ]);
  const named = (section: Record<string, any>, key: string): string[] =>
    section[key] && !section[`${key}-data`] ? [resolve(dirname(file), section[key])] : [];
  return {
    files: [
      file,
      ...named(cluster, 'certificate-authority'),
      ...named(user, 'client-certificate'),
      ...named(user, 'client-key'),
    ],
    server: String(cluster['server']).replace(/\/$/, ''),
    ...(ca ? { ca } : {}),
    ...(cert ? { cert } : {}),
    ...(key ? { key } : {}),
    ...(user['token'] ? { token: user['token'] } : {}),
    ...(user['tokenFile'] ? { tokenFile: resolve(dirname(file), user['tokenFile']) } : {}),
    ...(cluster['insecure-skip-tls-verify'] ? { insecureSkipTlsVerify: true } : {}),
    ...(cluster['tls-server-name'] ? { serverName: cluster['tls-server-name'] } : {}),
    ...(chosen['namespace'] ? { namespace: chosen['namespace'] } : {}),
  };
}

/** PEM text from `<key>-data` (base64) or from the file that `<key>` names, relative to the kubeconfig. */
async function readMaterial(file: string, section: Record<string, any>, key: string): Promise<string | undefined> {
  if (section[`${key}-data`]) return Buffer.from(section[`${key}-data`], 'base64').toString();
  if (!section[key]) return undefined;
  const path = resolve(dirname(file), section[key]);
  return readFile(path, 'utf8').catch((cause: unknown) => {
    throw new Error(`kubeconfig ${file}: cannot read ${key} ${path}`, { cause });
  });
}

/**
 * Writes a kubeconfig with one cluster, user and context. Certificate and key may be named as files instead; an anonymous
 * one says only where the cluster is. YAML, as people expect it, or JSON, which is YAML too and for which no library has to
 * be loaded.
 */
export function formatKubeconfig(
  config: ClientConfig & { certFile?: string; keyFile?: string },
  names: { cluster: string; user: string },
  options: { anonymous?: boolean; format?: 'yaml' | 'json' } = {},
): string {
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const context = options.anonymous ? '' : `${names.user}@${names.cluster}`;
  const document = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: names.cluster,
        cluster: {
          server: config.server,
          ...(config.ca ? { 'certificate-authority-data': base64(config.ca) } : {}),
          ...(config.serverName ? { 'tls-server-name': config.serverName } : {}),
          ...(config.insecureSkipTlsVerify ? { 'insecure-skip-tls-verify': true } : {}),
        },
      },
    ],
    users: options.anonymous
      ? []
      : [
          {
            name: names.user,
            user: {
              ...(config.certFile ? { 'client-certificate': config.certFile } : {}),
              ...(config.keyFile ? { 'client-key': config.keyFile } : {}),
              ...(config.cert ? { 'client-certificate-data': base64(config.cert) } : {}),
              ...(config.key ? { 'client-key-data': base64(config.key) } : {}),
              ...(config.token ? { token: config.token } : {}),
            },
          },
        ],
    contexts: options.anonymous
      ? []
      : [
          {
            name: context,
            context: {
              cluster: names.cluster,
              user: names.user,
              ...(config.namespace ? { namespace: config.namespace } : {}),
            },
          },
        ],
    'current-context': context,
  };
  return options.format === 'json' ? `${JSON.stringify(document, null, 2)}\n` : loadYaml().stringify(document);
}

/** The configuration that a pod is given: its service account and the API server's address. @throws Error outside a pod */
export async function loadInClusterConfig(environment: Record<string, string | undefined>): Promise<ClientConfig> {
  const directory = '/var/run/secrets/kubernetes.io/serviceaccount';
  const host = environment['KUBERNETES_SERVICE_HOST'];
  const port = environment['KUBERNETES_SERVICE_PORT'];
  if (!host || !port) throw new Error('not in a pod (KUBERNETES_SERVICE_HOST is not set): name a kubeconfig');
  return {
    server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    ca: await readFile(`${directory}/ca.crt`, 'utf8'),
    files: [`${directory}/ca.crt`],
    tokenFile: `${directory}/token`,
  };
}
