import type { Clock } from '../../../async/index.ts';
import { runProgram } from '../../../host/exec/index.ts';
import { ImageError } from '../image-error.ts';
import { readIfThere } from './hosts-toml.ts';
import { hostOfAddress, type RegistryAuth } from './registry-config.ts';
import { ConfigFileError } from './toml-file.ts';

/** What a credentials file says. */
export interface Credentials {
  file: string;
  /** By registry, or registry and beginning of the path. */
  entries: Map<string, RegistryAuth>;
  /** Programs that know credentials, by registry; `*` is for all. */
  helpers: Map<string, string>;
}

interface AuthEntry {
  auth?: unknown;
  username?: unknown;
  password?: unknown;
  identitytoken?: unknown;
  registrytoken?: unknown;
}

/**
 * Reads credentials as `docker login` (config.json) and `podman login` (auth.json) write them. Keys are registries,
 * with a path too or as old addresses (`https://index.docker.io/v1/`). Undefined when there is no such file.
 * @throws ConfigFileError saying what is wrong
 */
export function readCredentials(file: string): Credentials | undefined {
  const text = readIfThere(file);
  if (text === undefined) return undefined;
  let document: { auths?: unknown; credHelpers?: unknown; credsStore?: unknown } | null;
  try {
    document = JSON.parse(text || '{}');
  } catch (cause) {
    throw new ConfigFileError(`${file}: is not JSON: ${(cause as Error).message}`, { cause });
  }
  if (typeof document !== 'object' || document === null || Array.isArray(document))
    throw new ConfigFileError(`${file}: is not a JSON object`);
  const entries = new Map<string, RegistryAuth>();
  for (const [address, entry] of Object.entries(tableOf(document.auths, file, 'auths')))
    entries.set(keyOf(address), readEntry(file, address, tableOf(entry, file, `auths[${JSON.stringify(address)}]`)));
  const helpers = new Map<string, string>();
  for (const [address, helper] of Object.entries(tableOf(document.credHelpers, file, 'credHelpers')))
    helpers.set(keyOf(address), helperName(file, helper));
  if (document.credsStore) helpers.set('*', helperName(file, document.credsStore));
  return { file, entries, helpers };
}

function tableOf(value: unknown, file: string, what: string): Record<string, unknown> {
  if (value === undefined || value === null) return {};
  if (typeof value === 'object' && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new ConfigFileError(`${file}: ${what} must be an object`);
}

function helperName(file: string, name: unknown): string {
  if (typeof name === 'string' && /^[\w.-]+$/.test(name)) return name;
  throw new ConfigFileError(`${file}: ${JSON.stringify(name)} is not the name of a credential helper`);
}

function readEntry(file: string, address: string, entry: AuthEntry): RegistryAuth {
  const auth: RegistryAuth = {};
  const names = {
    auth: 'auth',
    username: 'username',
    password: 'password',
    identitytoken: 'identityToken',
    registrytoken: 'registryToken',
  } as const;
  for (const [key, name] of Object.entries(names) as [keyof AuthEntry, (typeof names)[keyof typeof names]][]) {
    const value = entry[key];
    if (value === undefined || value === '') continue;
    if (typeof value !== 'string')
      throw new ConfigFileError(`${file}: ${key} of ${JSON.stringify(address)} must be a string`);
    auth[name] = value;
  }
  if (auth.auth && !Buffer.from(auth.auth, 'base64').includes(':'))
    throw new ConfigFileError(`${file}: auth of ${JSON.stringify(address)} is not base64 of user:password`);
  return auth;
}

/** Addresses with a scheme mean the whole server; others may have a path. */
function keyOf(address: string): string {
  return /^https?:\/\//.test(address) || !address.includes('/')
    ? hostOfAddress(address)
    : `${hostOfAddress(address)}${address.slice(address.indexOf('/')).replace(/\/$/, '')}`;
}

/** The credentials for a repository (`registry/path`): the longest key that fits, else what a helper says. */
export async function findCredentials(
  credentials: Credentials,
  name: string,
  options: { clock: Clock; signal?: AbortSignal },
): Promise<RegistryAuth | undefined> {
  for (let key = name; key !== ''; key = key.includes('/') ? key.slice(0, key.lastIndexOf('/')) : '') {
    const helper = credentials.helpers.get(key);
    if (helper) return askHelper(helper, key, options);
    const entry = credentials.entries.get(key);
    if (entry && Object.keys(entry).length > 0) return entry;
  }
  const any = credentials.helpers.get('*');
  return any ? askHelper(any, name.slice(0, name.indexOf('/')), options) : undefined;
}

/** Asks a program by the protocol of Docker's credential helpers. @throws ImageError when it fails */
async function askHelper(
  helper: string,
  registry: string,
  options: { clock: Clock; signal?: AbortSignal },
): Promise<RegistryAuth | undefined> {
  const program = `docker-credential-${helper}`;
  const input = registry === 'docker.io' ? 'https://index.docker.io/v1/' : registry;
  const failed = (why: string) =>
    new ImageError('UNAUTHENTICATED', `credential helper ${program} has no answer for ${registry}: ${why}`);
  const result = await runProgram([program, 'get'], { input, timeoutMs: 30_000, ...options }).catch(
    (error: Error): never => {
      throw failed(error.message);
    },
  );
  const said = result.stdout.toString().trim();
  if (result.status !== 0) {
    if (/credentials not found/.test(said)) return undefined;
    throw failed(result.timedOut ? 'it did not end' : said.slice(0, 200) || `status ${result.status}`);
  }
  let answer: { Username?: string; Secret?: string };
  try {
    answer = JSON.parse(said);
  } catch {
    throw failed('it did not write JSON');
  }
  const { Username: username = '', Secret: password = '' } = answer;
  return username === '<token>' ? { identityToken: password } : { username, password };
}
