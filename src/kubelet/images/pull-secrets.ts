import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Secret } from '../../api/index.ts';
import type { ImageName } from './image-name.ts';

/** One way to log in to a registry, as the CRI takes it. */
export interface RegistryCredential {
  username: string;
  password: string;
  auth: string;
  identityToken: string;
  registryToken: string;
}

/** Whose login it is. */
export type CredentialSource =
  | { secret: { uid: string; namespace: string; name: string } }
  | { serviceAccount: { uid: string; namespace: string; name: string } };

/** A login that fits an image. Without a source it is the node's own: every pod may use what it has pulled. */
export interface PullCredential extends RegistryCredential {
  source?: CredentialSource;
  /** Tells whether two logins are the same without keeping either: SHA-256, as upstream computes it. */
  hash: string;
}

/** Logins that came from one place. */
export interface CredentialEntries {
  entries: Entries;
  source?: CredentialSource;
}

interface ConfigEntry {
  username?: string;
  password?: string;
  auth?: string;
  email?: string;
  identitytoken?: string;
  registrytoken?: string;
}

/** Entries of a docker configuration: registry (and path) → login. */
export type Entries = Record<string, ConfigEntry>;

/** The logins that a Secret of one of the docker types holds. Anything malformed is passed over. */
export function secretEntries(secret: Secret): Entries {
  const modern = secret.data?.['.dockerconfigjson'];
  const old = secret.data?.['.dockercfg'];
  if (secret.type === 'kubernetes.io/dockerconfigjson' && modern) return parseAuths(decode(modern));
  if (secret.type === 'kubernetes.io/dockercfg' && old) return parseEntries(decode(old));
  return {};
}

/** The logins of the node's own docker configuration. */
export async function nodeEntries(paths: readonly string[]): Promise<Entries> {
  const entries: Entries = {};
  for (const path of paths) {
    const text = await readFile(path, 'utf8').catch(() => undefined);
    if (text !== undefined) Object.assign(entries, parseAuths(text));
  }
  return entries;
}

/** The logins that fit the image, the most exact first; of equal ones those of earlier sources. */
export function matchingCredentials(image: ImageName, sources: readonly CredentialEntries[]): PullCredential[] {
  const found: { length: number; credential: PullCredential }[] = [];
  for (const { entries, source } of sources) {
    for (const [key, entry] of Object.entries(entries)) {
      const length = matchLength(key, image);
      if (length < 0) continue;
      const login = toCredential(entry);
      const hash = credentialHash(login, entry.email);
      found.push({ length, credential: { ...login, hash, ...(source ? { source } : {}) } });
    }
  }
  return found.sort((a, b) => b.length - a.length).map(({ credential }) => credential);
}

/** As upstream hashes a login: SHA-256 of its JSON, empty fields left out. */
function credentialHash({ username, password }: RegistryCredential, email = ''): string {
  const fields = Object.entries({ username, password, email }).filter(([, value]) => value !== '');
  const text = JSON.stringify(Object.fromEntries(fields)).replace(
    /[<>&\u2028\u2029]/g,
    (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return createHash('sha256').update(text).digest('hex');
}

/** How much of the image's name a key covers; -1 when it does not fit. `*.example.com` covers one label. */
export function matchLength(key: string, image: ImageName): number {
  const plain = key.replace(/^https?:\/\//, '').replace(/\/(v1|v2)?\/?$/, '');
  const [host = '', ...rest] = plain.split('/');
  const path = rest.join('/');
  const hub = ['docker.io', 'index.docker.io', 'registry-1.docker.io'];
  const sameHub = hub.includes(host) && hub.includes(image.registry);
  if (!sameHub && !hostMatches(host, image.registry)) return -1;
  if (path !== '' && image.repository !== path && !image.repository.startsWith(`${path}/`)) return -1;
  return plain.length;
}

function hostMatches(pattern: string, host: string): boolean {
  const [patternName = '', patternPort = ''] = pattern.split(':');
  const [name = '', port = ''] = host.split(':');
  if (patternPort !== port) return false;
  const wanted = patternName.split('.');
  const actual = name.split('.');
  if (wanted.length !== actual.length) return false;
  return wanted.every((part, index) => {
    const expression = part
      .split('*')
      .map((text) => text.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
      .join('[^.]*');
    return new RegExp(`^${expression}$`).test(actual[index]!);
  });
}

function toCredential(entry: ConfigEntry): RegistryCredential {
  let { username = '', password = '' } = entry;
  if (username === '' && entry.auth) {
    const text = decode(entry.auth);
    const colon = text.indexOf(':');
    if (colon >= 0) {
      username = text.slice(0, colon);
      password = text.slice(colon + 1).replace(/\0+$/, '');
    }
  }
  const auth = username !== '' ? '' : (entry.auth ?? '');
  return {
    username,
    password,
    auth,
    identityToken: entry.identitytoken ?? '',
    registryToken: entry.registrytoken ?? '',
  };
}

function parseAuths(text: string): Entries {
  const parsed = parseEntries(text) as { auths?: Entries };
  return typeof parsed.auths === 'object' && parsed.auths !== null ? parsed.auths : {};
}

function parseEntries(text: string): Entries {
  try {
    const parsed: unknown = JSON.parse(text);
    return typeof parsed === 'object' && parsed !== null ? (parsed as Entries) : {};
  } catch {
    return {};
  }
}

function decode(base64: string): string {
  return Buffer.from(base64, 'base64').toString('utf8');
}
