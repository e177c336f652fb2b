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

interface ConfigEntry {
  username?: string;
  password?: string;
  auth?: string;
  identitytoken?: string;
  registrytoken?: string;
}

/** Entries of a docker configuration: registry (and path) → login. */
type Entries = Record<string, ConfigEntry>;

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
export function matchingCredentials(image: ImageName, sources: readonly Entries[]): RegistryCredential[] {
  const found: { length: number; credential: RegistryCredential }[] = [];
  for (const entries of sources) {
    for (const [key, entry] of Object.entries(entries)) {
      const length = matchLength(key, image);
      if (length >= 0) found.push({ length, credential: toCredential(entry) });
    }
  }
  return found.sort((a, b) => b.length - a.length).map(({ credential }) => credential);
}

/** How much of the image's name a key covers; -1 when it does not fit. `*.example.com` covers one label. */
function matchLength(key: string, image: ImageName): number {
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
