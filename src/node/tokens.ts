import { createHash, randomInt, X509Certificate } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { resources, type Secret } from '../api/index.ts';
import type { Clock } from '../async/index.ts';
import { type ApiClient, createClient, formatKubeconfig, isNotFound, loadKubeconfig } from '../client/index.ts';
import { instancePaths } from './instance.ts';

/** Whose tokens are meant: those of an instance, or of the cluster of a kubeconfig. */
export interface TokenPlace {
  dataDirectory: string;
  kubeconfig?: string;
}

/** What a bootstrap token may do, and for how long. */
export interface TokenWish {
  /** `id.secret`; default: random. */
  token?: string;
  /** Milliseconds; 0 for ever. */
  ttlMs: number;
  description: string;
  usages: string[];
  groups: string[];
}

/** A bootstrap token as it is listed. */
export interface ListedToken {
  token: string;
  expires: string;
  usages: string[];
  description: string;
  groups: string[];
}

/** How a bootstrap token is written. */
export const tokenPattern = /^([a-z0-9]{6})\.([a-z0-9]{16})$/;
const namespace = 'kube-system';
const knownUsages = ['authentication', 'signing'];

/** Wrong options of `deckhand token`. */
export class TokenError extends Error {}

/** A client for the cluster's administrator. */
export async function tokenClient({ dataDirectory, kubeconfig }: TokenPlace): Promise<ApiClient> {
  const config = await loadKubeconfig(kubeconfig ?? instancePaths(dataDirectory).kubeconfig);
  return createClient({ ...config, userAgent: 'deckhand-token' });
}

const random = (length: number): string =>
  Array.from({ length }, () => 'abcdefghijklmnopqrstuvwxyz0123456789'[randomInt(36)]).join('');

/** Makes a bootstrap token. @returns the token @throws TokenError for a wish that cannot be */
export async function createToken(client: ApiClient, wish: TokenWish, clock: Clock): Promise<string> {
  const token = wish.token ?? `${random(6)}.${random(16)}`;
  const match = tokenPattern.exec(token);
  if (!match) throw new TokenError(`${token} is no token: six and sixteen of a-z and 0-9, with a dot between`);
  const badUsage = wish.usages.find((one) => !knownUsages.includes(one));
  if (badUsage !== undefined) throw new TokenError(`--usages: ${badUsage} is neither authentication nor signing`);
  const badGroup = wish.groups.find((one) => !/^system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]$/.test(one));
  if (badGroup !== undefined) throw new TokenError(`--groups: ${badGroup} is no group below system:bootstrappers:`);
  const [, id = '', secret = ''] = match;
  const expiration = new Date(clock.now() + wish.ttlMs).toISOString().replace(/\.\d+Z$/, 'Z');
  const data: Record<string, string> = {
    'token-id': id,
    'token-secret': secret,
    ...(wish.ttlMs > 0 ? { expiration } : {}),
    ...(wish.description ? { description: wish.description } : {}),
    ...Object.fromEntries(wish.usages.map((usage) => [`usage-bootstrap-${usage}`, 'true'])),
    ...(wish.groups.length > 0 ? { 'auth-extra-groups': wish.groups.join(',') } : {}),
  };
  await client.create(
    resources.secrets,
    {
      metadata: { name: `bootstrap-token-${id}`, namespace },
      type: 'bootstrap.kubernetes.io/token',
      data: Object.fromEntries(Object.entries(data).map(([key, text]) => [key, Buffer.from(text).toString('base64')])),
    },
    { namespace },
  );
  return token;
}

/** All bootstrap tokens, by their id. */
export async function listTokens(client: ApiClient): Promise<ListedToken[]> {
  const { items } = await client.list<Secret>(resources.secrets, {
    namespace,
    fieldSelector: 'type=bootstrap.kubernetes.io/token',
  });
  return items.map((secret) => {
    const text = (key: string) => Buffer.from(secret.data?.[key] ?? '', 'base64').toString();
    return {
      token: `${text('token-id')}.${text('token-secret')}`,
      expires: text('expiration'),
      usages: knownUsages.filter((usage) => text(`usage-bootstrap-${usage}`) === 'true'),
      description: text('description'),
      groups: text('auth-extra-groups').split(',').filter(Boolean),
    };
  });
}

/** Takes a token (or its id) away. @throws TokenError when there is none */
export async function deleteToken(client: ApiClient, token: string): Promise<string> {
  const id = token.split('.')[0]!;
  if (!/^[a-z0-9]{6}$/.test(id)) throw new TokenError(`${token} is neither a token nor the id of one`);
  try {
    await client.delete(resources.secrets, `bootstrap-token-${id}`, { namespace });
  } catch (error) {
    throw isNotFound(error) ? new TokenError(`there is no token ${id}`) : error;
  }
  return id;
}

/** Writes the kubeconfig with which a kubelet asks for its first certificate. */
export async function writeBootstrapKubeconfig(path: string, client: ApiClient, token: string): Promise<void> {
  const { server, ca } = client.config;
  const user = 'tls-bootstrap-token-user';
  const text = formatKubeconfig({ server, ...(ca ? { ca } : {}), token }, { cluster: 'kubernetes', user });
  await writeFile(path, text, { mode: 0o600 });
}

/** How `kubeadm join` names the authority of a cluster: a digest of its public key. */
export function authorityDigest(ca: string): string {
  const spki = new X509Certificate(ca).publicKey.export({ type: 'spki', format: 'der' });
  return `sha256:${createHash('sha256').update(spki).digest('hex')}`;
}
