import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { isLoopback, type RegistryEndpoint, serverOf } from './registry-config.ts';
import { ConfigFileError, TomlFile, type TomlTable } from './toml-file.ts';

/** A server of hosts.toml, without what only a reference says. */
export type HostRule = Omit<RegistryEndpoint, 'repository' | 'auth'> & { isServer: boolean };

const serverKeys = ['capabilities', 'ca', 'client', 'skip_verify', 'header', 'override_path', 'dial_timeout'];
const capabilities = ['pull', 'resolve', 'push', 'referrers'];

/**
 * Names that the directory of a registry may have in containerd's layout, first the one that counts most. A colon is
 * not a good name everywhere, so `host:5000` may also be `host_5000_`.
 */
export function hostDirectories(registry: string): string[] {
  const port = /^(.*):(\d+)$/.exec(registry);
  return [...(port ? [`${port[1]}_${port[2]}_`] : []), registry, '_default'];
}

/**
 * Reads what a directory says of a registry: containerd's `hosts.toml` (mirrors in order, then the server itself), or,
 * without one, Docker's `*.crt`, `*.cert` and `*.key`. Undefined when it has neither.
 * @throws ConfigFileError with file and line
 */
export function readHostDirectory(directory: string, registry: string): HostRule[] | undefined {
  const file = join(directory, 'hosts.toml');
  const text = readIfThere(file);
  if (text !== undefined) return readHostsToml(file, text, registry);
  const names = listIfThere(directory);
  const read = (name: string) => readFileSync(join(directory, name), 'utf8');
  const ca = names.filter((name) => name.endsWith('.crt')).map(read);
  const [cert] = names.filter((name) => name.endsWith('.cert'));
  if (ca.length === 0 && !cert) return undefined;
  const key = cert?.replace(/cert$/, 'key');
  if (key && !names.includes(key)) throw new ConfigFileError(`${join(directory, cert!)}: has no ${key} beside it`);
  return [
    {
      baseUrl: `https://${serverOf(registry)}`,
      mayResolve: true,
      mayPull: true,
      isServer: true,
      rule: directory,
      ...(ca.length > 0 ? { ca: ca.join('\n') } : {}),
      ...(cert && key ? { cert: read(cert), key: read(key) } : {}),
    },
  ];
}

/** Reads a hosts.toml. @throws ConfigFileError */
export function readHostsToml(path: string, text: string, registry: string): HostRule[] {
  const file = new TomlFile(path, text);
  const { root } = file;
  file.checkKeys(root, ['server', 'host', ...serverKeys], []);
  const hosts = file.table(root, 'host', []) ?? {};
  const rules = Object.keys(hosts).map((address) => {
    const table = file.table(hosts, address, ['host'])!;
    file.checkKeys(table, serverKeys, ['host', address]);
    return readServer(file, table, ['host', address], address, false);
  });
  const named = file.text(root, 'server', []);
  const usual = `${isLoopback(registry) ? 'http' : 'https'}://${serverOf(registry)}`;
  return [...rules, readServer(file, root, [], named || usual, true)];
}

function readServer(
  file: TomlFile,
  table: TomlTable,
  place: readonly string[],
  address: string,
  isServer: boolean,
): HostRule {
  const where = isServer ? ['server'] : place;
  const url = URL.parse(/^https?:\/\//.test(address) ? address : `https://${address}`);
  if (!url?.host || /\s/.test(address) || (address.includes('://') && !/^https?:/.test(address)))
    throw file.error(where, `${JSON.stringify(address)} is not the address of a server (https://host[:port][/path])`);
  const can = file.texts(table, 'capabilities', place) ?? capabilities;
  const odd = can.find((one) => !capabilities.includes(one));
  if (odd !== undefined)
    throw file.error(
      [...place, 'capabilities'],
      `unknown capability ${JSON.stringify(odd)}: known are ${capabilities}`,
    );
  const ca = readCertificates(file, table, place);
  return {
    baseUrl: `${url.origin}${url.pathname.replace(/\/$/, '')}`,
    overridePath: file.flag(table, 'override_path', place) ?? false,
    mayResolve: can.includes('resolve'),
    mayPull: can.includes('pull'),
    isServer,
    rule: file.path,
    ...(ca ? { ca } : {}),
    ...readClient(file, table, place),
    ...(file.flag(table, 'skip_verify', place) ? { insecureSkipTlsVerify: true } : {}),
    ...readHeaders(file, table, place),
    ...readTimeout(file, table, place),
  };
}

function readCertificates(file: TomlFile, table: TomlTable, place: readonly string[]): string | undefined {
  const { ca } = table;
  const paths = typeof ca === 'string' ? [ca] : (file.texts(table, 'ca', place) ?? []);
  if (paths.length === 0) return undefined;
  return paths.map((one) => readPem(file, one, [...place, 'ca'])).join('\n');
}

/** A client certificate: a file with both, or pairs of files; one pair is all that a connection can use. */
function readClient(file: TomlFile, table: TomlTable, place: readonly string[]): { cert?: string; key?: string } {
  const { client } = table;
  if (client === undefined) return {};
  const bad = () =>
    file.error([...place, 'client'], 'client must be a file with certificate and key, or ["certificate", "key"]');
  const first: unknown = Array.isArray(client) ? (Array.isArray(client[0]) ? client[0] : client) : [client];
  if (Array.isArray(client) && (Array.isArray(client[0]) ? client.length > 1 : client.length > 2))
    throw file.error([...place, 'client'], 'only one client certificate can be used');
  if (!Array.isArray(first) || !first.every((one) => typeof one === 'string') || first.length === 0) throw bad();
  const [cert, key = cert] = first.filter((one) => one !== '').map((one) => readPem(file, one, [...place, 'client']));
  if (!cert || !key) throw bad();
  return { cert, key };
}

function readPem(file: TomlFile, name: string, place: readonly string[]): string {
  const path = resolve(dirname(file.path), name);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw file.error(place, `cannot read ${path}: ${(error as Error).message}`);
  }
  if (!text.includes('-----BEGIN ')) throw file.error(place, `${path} is not PEM`);
  return text;
}

function readHeaders(file: TomlFile, table: TomlTable, place: readonly string[]): { headers?: Record<string, string> } {
  const header = file.table(table, 'header', place);
  if (!header) return {};
  const entries = Object.entries(header).map(([name, value]): [string, string] => {
    const values: unknown[] = Array.isArray(value) ? value : [value];
    if (!values.every((one) => typeof one === 'string'))
      throw file.error([...place, 'header', name], `header ${name} must be a string or a list of strings`);
    return [name, values.join(', ')];
  });
  return { headers: Object.fromEntries(entries) };
}

const units: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

function readTimeout(file: TomlFile, table: TomlTable, place: readonly string[]): { answerTimeoutMs?: number } {
  const text = file.text(table, 'dial_timeout', place);
  if (text === undefined) return {};
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text);
  if (!match) throw file.error([...place, 'dial_timeout'], `dial_timeout ${JSON.stringify(text)} is not like "10s"`);
  return { answerTimeoutMs: Number(match[1]) * units[match[2]!]! };
}

/** The text of a file; undefined when there is none. */
export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw new ConfigFileError(`cannot read ${path}: ${(error as Error).message}`, { cause: error });
  }
}

/** The names in a directory, sorted; none when there is no directory. */
export function listIfThere(path: string): string[] {
  try {
    return readdirSync(path).sort();
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return [];
    throw new ConfigFileError(`cannot read ${path}: ${(error as Error).message}`, { cause: error });
  }
}
