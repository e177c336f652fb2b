import { join } from 'node:path';
import { listIfThere, readIfThere } from './hosts-toml.ts';
import { TomlFile, type TomlTable } from './toml-file.ts';

/** A place of a registry's images in registries.conf. */
export interface RegistryLocation {
  /** `host[:port][/path]`, put in the place of the prefix; undefined leaves the name as it is. */
  location: string | undefined;
  insecure: boolean;
  /** When a mirror is asked. */
  use: 'all' | 'digest-only' | 'tag-only';
}

/** One `[[registry]]`. */
export interface RegistryRule {
  /** `host[:port][/path]` or `*.domain`. */
  prefix: string;
  origin: RegistryLocation;
  mirrors: RegistryLocation[];
  blocked: boolean;
  /** Where it is written: `file:line`. */
  place: string;
}

/** What registries.conf and the files beside it say. */
export interface RegistriesConf {
  /** Where names without a registry are looked for, in order; empty means Docker Hub. */
  searchRegistries: string[];
  shortNameMode: 'enforcing' | 'permissive' | 'disabled';
  aliases: Map<string, string>;
  rules: RegistryRule[];
  credentialHelpers: string[];
}

const rootKeys = [
  'unqualified-search-registries',
  'short-name-mode',
  'credential-helpers',
  'registry',
  'aliases',
  'additional-layer-store-auth-helper',
];
const registryKeys = ['prefix', 'location', 'insecure', 'blocked', 'mirror-by-digest-only', 'mirror'];
const mirrorKeys = ['location', 'insecure', 'pull-from-mirror'];

/** Nothing said. */
export function emptyRegistriesConf(): RegistriesConf {
  return { searchRegistries: [], shortNameMode: 'permissive', aliases: new Map(), rules: [], credentialHelpers: [] };
}

/**
 * Reads containers' registries.conf (version 2) and, after it, `<file>.d/*.conf` in the order of their names: a later
 * file wins over an earlier one. @throws ConfigFileError with file and line
 */
export function readRegistriesConf(path: string): RegistriesConf {
  const conf = emptyRegistriesConf();
  const main = readIfThere(path);
  if (main !== undefined) addFile(conf, new TomlFile(path, main));
  for (const name of listIfThere(`${path}.d`).filter((one) => one.endsWith('.conf'))) {
    const file = join(`${path}.d`, name);
    addFile(conf, new TomlFile(file, readIfThere(file) ?? ''));
  }
  return conf;
}

function addFile(conf: RegistriesConf, file: TomlFile): void {
  const { root } = file;
  if (typeof root['registries'] === 'object')
    throw file.error(
      ['registries'],
      '[registries] is version 1 of this file, which nobody reads any more: use [[registry]]',
    );
  file.checkKeys(root, rootKeys, []);
  if (root['additional-layer-store-auth-helper'] !== undefined)
    throw file.error(['additional-layer-store-auth-helper'], 'additional layer stores are not supported');
  const search = file.texts(root, 'unqualified-search-registries', []);
  for (const registry of search ?? []) checkLocation(file, ['unqualified-search-registries'], registry);
  if (search) conf.searchRegistries = search;
  const mode = file.text(root, 'short-name-mode', []);
  if (mode !== undefined) {
    if (mode !== 'enforcing' && mode !== 'permissive' && mode !== 'disabled')
      throw file.error(['short-name-mode'], 'short-name-mode must be enforcing, permissive or disabled');
    conf.shortNameMode = mode;
  }
  conf.credentialHelpers = file.texts(root, 'credential-helpers', []) ?? conf.credentialHelpers;
  const aliases = file.table(root, 'aliases', []) ?? {};
  for (const name of Object.keys(aliases)) {
    const target = file.text(aliases, name, ['aliases'])!;
    // An empty one takes back what an earlier file says.
    if (target === '') conf.aliases.delete(name);
    else conf.aliases.set(name, target);
  }
  for (const [at, table] of (file.tables(root, 'registry', []) ?? []).entries()) {
    const rule = readRule(file, table, ['registry', at]);
    conf.rules = [...conf.rules.filter(({ prefix }) => prefix !== rule.prefix), rule];
  }
}

function readRule(file: TomlFile, table: TomlTable, place: readonly (string | number)[]): RegistryRule {
  file.checkKeys(table, registryKeys, place);
  const location = file.text(table, 'location', place);
  const prefix = file.text(table, 'prefix', place) ?? location;
  if (!prefix) throw file.error(place, 'a [[registry]] needs a prefix or a location');
  const wild = prefix.startsWith('*.');
  checkLocation(file, [...place, 'prefix'], wild ? prefix.slice(2) : prefix);
  if (wild && prefix.includes('/')) throw file.error([...place, 'prefix'], `prefix ${prefix} has a path after *.`);
  if (location) checkLocation(file, [...place, 'location'], location);
  const byDigest = file.flag(table, 'mirror-by-digest-only', place) ?? false;
  const mirrors = (file.tables(table, 'mirror', place) ?? []).map((one, at) =>
    readMirror(file, one, [...place, 'mirror', at], byDigest),
  );
  const insecure = file.flag(table, 'insecure', place) ?? false;
  return {
    prefix,
    origin: { location: location ?? (wild ? undefined : prefix), insecure, use: 'all' },
    mirrors,
    blocked: file.flag(table, 'blocked', place) ?? false,
    place: file.error(place, '').message.replace(/: $/, ''),
  };
}

function readMirror(
  file: TomlFile,
  table: TomlTable,
  place: readonly (string | number)[],
  byDigest: boolean,
): RegistryLocation {
  file.checkKeys(table, mirrorKeys, place);
  const location = file.text(table, 'location', place);
  if (!location) throw file.error(place, 'a mirror needs a location');
  checkLocation(file, [...place, 'location'], location);
  const use = file.text(table, 'pull-from-mirror', place) ?? (byDigest ? 'digest-only' : 'all');
  if (use !== 'all' && use !== 'digest-only' && use !== 'tag-only')
    throw file.error([...place, 'pull-from-mirror'], 'pull-from-mirror must be all, digest-only or tag-only');
  return { location, insecure: file.flag(table, 'insecure', place) ?? false, use };
}

function checkLocation(file: TomlFile, place: readonly (string | number)[], location: string): void {
  if (location.includes('://'))
    throw file.error(
      place,
      `${JSON.stringify(location)} must be without http:// or https:// (insecure = true allows HTTP)`,
    );
  if (!/^[A-Za-z0-9[][A-Za-z0-9._:[\]-]*(?:\/[a-z0-9._/-]+)?$/.test(location))
    throw file.error(place, `${JSON.stringify(location)} is not a registry (host[:port][/path])`);
}

/** The rule for a repository, `registry/path`: the one with the longest prefix that fits. */
export function findRule(conf: RegistriesConf, name: string): RegistryRule | undefined {
  const host = name.slice(0, name.indexOf('/'));
  const fits = ({ prefix }: RegistryRule) =>
    prefix.startsWith('*.')
      ? host.replace(/:\d+$/, '').endsWith(prefix.slice(1))
      : name === prefix || name.startsWith(`${prefix}/`);
  return conf.rules.filter(fits).sort((one, other) => other.prefix.length - one.prefix.length)[0];
}

/** A repository's name at a location: the location in place of the prefix. */
export function relocate(name: string, prefix: string, location: string | undefined): string {
  if (location === undefined) return name;
  const rest = prefix.startsWith('*.') ? name.slice(name.indexOf('/')) : name.slice(prefix.length);
  return `${location}${rest}`;
}
