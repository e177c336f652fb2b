import { createHash } from 'node:crypto';
import { access, constants, readdir, readFile, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { loadYaml } from '../../wire/documents/index.ts';
import { parseDuration } from '../config/duration.ts';
import { ConfigurationError } from '../errors.ts';

/** A program that gives logins for images. */
export interface CredentialProvider {
  name: string;
  /** Patterns of image names: `*.registry.test`, `registry.test:5000/path`. */
  matchImages: string[];
  defaultCacheMs: number;
  /** Version of the messages: `credentialprovider.kubelet.k8s.io/v1`. */
  apiVersion: string;
  args: string[];
  env: Record<string, string>;
  tokenAttributes?: TokenAttributes;
}

/** How a provider gets a token of the pod's service account. */
export interface TokenAttributes {
  serviceAccountTokenAudience: string;
  cacheType: 'Token' | 'ServiceAccount';
  requireServiceAccount: boolean;
  requiredServiceAccountAnnotationKeys: string[];
  optionalServiceAccountAnnotationKeys: string[];
}

const group = 'credentialprovider.kubelet.k8s.io';
const messageVersions = ['v1', 'v1beta1', 'v1alpha1'].map((version) => `${group}/${version}`);
const configVersions = ['v1', 'v1beta1', 'v1alpha1'].map((version) => `kubelet.config.k8s.io/${version}`);
const providerFields = ['name', 'matchImages', 'defaultCacheDuration', 'apiVersion', 'args', 'env', 'tokenAttributes'];
const tokenFields = [
  'serviceAccountTokenAudience',
  'cacheType',
  'requireServiceAccount',
  'requiredServiceAccountAnnotationKeys',
  'optionalServiceAccountAnnotationKeys',
];

/**
 * Reads a CredentialProviderConfig: a file, or all *.json, *.yaml and *.yml of a directory in the order of their names.
 * Every provider has to be an executable file in `binDirectory`.
 * @throws ConfigurationError naming what is wrong where
 */
export async function readCredentialProviders(
  path: string,
  binDirectory: string,
): Promise<{ providers: CredentialProvider[]; hash: string }> {
  const providers: CredentialProvider[] = [];
  const hash = createHash('sha256');
  for (const file of await configFiles(path)) {
    const bytes = await readFile(file).catch((error: Error) => fail(file, `cannot be read: ${error.message}`));
    const length = Buffer.alloc(8);
    length.writeBigUInt64BE(BigInt(bytes.length));
    hash.update(length).update(bytes);
    for (const provider of parseCredentialProviders(bytes.toString(), file)) {
      if (providers.some(({ name }) => name === provider.name)) fail(file, `provider ${provider.name} is there twice`);
      const program = join(binDirectory, provider.name);
      await access(program, constants.X_OK).catch(() =>
        fail(file, `provider ${provider.name}: ${program} is not there, or cannot be executed`),
      );
      providers.push(provider);
    }
  }
  return { providers, hash: `sha256:${hash.digest('hex')}` };
}

async function configFiles(path: string): Promise<string[]> {
  const info = await stat(path).catch((error: Error) => fail(path, error.message));
  if (!info.isDirectory()) return [path];
  const names = (await readdir(path)).filter((name) => ['.json', '.yaml', '.yml'].includes(extname(name))).sort();
  if (names.length === 0) fail(path, 'there is no *.json, *.yaml or *.yml file in it');
  return names.map((name) => join(path, name));
}

/** Reads the text of one file. `where` begins the messages of errors. @throws ConfigurationError */
export function parseCredentialProviders(text: string, where: string): CredentialProvider[] {
  const document = loadYaml().parseDocument(text, { uniqueKeys: true });
  if (document.errors[0]) fail(where, document.errors[0].message.split('\n')[0]!);
  const { apiVersion, kind, providers, ...rest } = (document.toJS() ?? {}) as Record<string, unknown>;
  if (kind !== 'CredentialProviderConfig') fail(where, `kind must be CredentialProviderConfig, not ${String(kind)}`);
  if (!configVersions.includes(String(apiVersion)))
    fail(where, `apiVersion must be ${configVersions.join(' or ')}, not ${String(apiVersion)}`);
  noOthers(where, rest, []);
  if (!Array.isArray(providers) || providers.length === 0) fail(where, 'providers: at least one is needed');
  return (providers as unknown[]).map((one, index) => parseProvider(one, `${where}: providers[${index}]`));
}

function parseProvider(value: unknown, where: string): CredentialProvider {
  const given = object(value, where);
  noOthers(where, given, providerFields);
  const name = string(given['name'], `${where}.name`);
  if (name === '' || name === '.' || name === '..' || /[/\s]/.test(name))
    fail(`${where}.name`, `${JSON.stringify(name)} is not the name of a file`);
  const apiVersion = string(given['apiVersion'], `${where}.apiVersion`);
  if (!messageVersions.includes(apiVersion))
    fail(`${where}.apiVersion`, `must be ${messageVersions.join(', ')}, not ${JSON.stringify(apiVersion)}`);
  const matchImages = strings(given['matchImages'], `${where}.matchImages`);
  if (matchImages.length === 0) fail(`${where}.matchImages`, 'at least one is needed');
  const cache = parseDuration(string(given['defaultCacheDuration'], `${where}.defaultCacheDuration`));
  if (cache === undefined || cache < 0) fail(`${where}.defaultCacheDuration`, 'must be a duration of at least 0s');
  const env: Record<string, string> = {};
  for (const [index, one] of ((given['env'] ?? []) as unknown[]).entries()) {
    const variable = object(one, `${where}.env[${index}]`);
    env[string(variable['name'], `${where}.env[${index}].name`)] = string(
      variable['value'] ?? '',
      `${where}.env[${index}].value`,
    );
  }
  const tokens = given['tokenAttributes'];
  return {
    name,
    matchImages,
    defaultCacheMs: cache!,
    apiVersion,
    args: strings(given['args'] ?? [], `${where}.args`),
    env,
    ...(tokens === undefined
      ? {}
      : { tokenAttributes: parseTokenAttributes(tokens, `${where}.tokenAttributes`, apiVersion) }),
  };
}

function parseTokenAttributes(value: unknown, where: string, apiVersion: string): TokenAttributes {
  const given = object(value, where);
  noOthers(where, given, tokenFields);
  if (apiVersion !== `${group}/v1`) fail(where, `only for providers of ${group}/v1`);
  const serviceAccountTokenAudience = string(
    given['serviceAccountTokenAudience'],
    `${where}.serviceAccountTokenAudience`,
  );
  if (serviceAccountTokenAudience === '') fail(`${where}.serviceAccountTokenAudience`, 'must not be empty');
  const requireServiceAccount = given['requireServiceAccount'];
  if (typeof requireServiceAccount !== 'boolean') fail(`${where}.requireServiceAccount`, 'must be true or false');
  const { cacheType } = given;
  if (cacheType !== 'Token' && cacheType !== 'ServiceAccount')
    fail(`${where}.cacheType`, `must be Token or ServiceAccount, not ${JSON.stringify(cacheType)}`);
  const required = strings(
    given['requiredServiceAccountAnnotationKeys'] ?? [],
    `${where}.requiredServiceAccountAnnotationKeys`,
  );
  const optional = strings(
    given['optionalServiceAccountAnnotationKeys'] ?? [],
    `${where}.optionalServiceAccountAnnotationKeys`,
  );
  if (!requireServiceAccount && required.length > 0)
    fail(`${where}.requiredServiceAccountAnnotationKeys`, 'needs requireServiceAccount true');
  const both = required.find((key) => optional.includes(key));
  if (both) fail(where, `annotation ${both} cannot be both required and optional`);
  return {
    serviceAccountTokenAudience,
    cacheType: cacheType as 'Token' | 'ServiceAccount',
    requireServiceAccount: requireServiceAccount as boolean,
    requiredServiceAccountAnnotationKeys: required,
    optionalServiceAccountAnnotationKeys: optional,
  };
}

function fail(where: string, message: string): never {
  throw new ConfigurationError(where, message);
}

function noOthers(where: string, given: object, known: readonly string[]): void {
  const other = Object.keys(given).find((name) => !known.includes(name));
  if (other) fail(where, `unknown field ${JSON.stringify(other)}`);
}

function object(value: unknown, where: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) fail(where, 'must be an object');
  return value as Record<string, unknown>;
}

function string(value: unknown, where: string): string {
  if (typeof value !== 'string') fail(where, `must be a string, not ${JSON.stringify(value)}`);
  return value as string;
}

function strings(value: unknown, where: string): string[] {
  if (!Array.isArray(value) || value.some((one) => typeof one !== 'string')) fail(where, 'must be a list of strings');
  return value as string[];
}
