import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { unlessMissing } from '../../errors.ts';
import { compareVersions, isKnownVersion, newestVersion } from './cni-version.ts';

/** One plugin of a CNI configuration list, with whatever the plugin itself understands. */
export interface CniPlugin {
  type: string;
  capabilities?: Record<string, boolean>;
  [key: string]: unknown;
}

/** A CNI configuration list. */
export interface CniConfiguration {
  /** The version in which plugins are spoken to. */
  cniVersion: string;
  /** Further versions in which they may be, when the list names several. */
  cniVersions?: string[];
  name: string;
  disableCheck?: boolean;
  disableGC?: boolean;
  plugins: CniPlugin[];
}

/** What a directory holds. */
export interface CniDirectory {
  /** The first valid configuration by file name, and its file. */
  configuration?: CniConfiguration;
  file?: string;
  /** Files that cannot be used, with the reason, as text: `FILE: reason`. */
  invalid: string[];
}

/** Reads a directory of configurations (`.conf`, `.conflist`, `.json`). One that is not there holds none. */
export async function readCniDirectory(directory: string): Promise<CniDirectory> {
  const names = ((await unlessMissing(readdir(directory))) ?? [])
    .filter((name) => /\.(conf|conflist|json)$/.test(name))
    .sort();
  const invalid: string[] = [];
  for (const name of names) {
    const file = join(directory, name);
    try {
      const text = await unlessMissing(readFile(file, 'utf8'));
      if (text === undefined) continue;
      return { configuration: await completeCniConfiguration(file, text), file, invalid };
    } catch (cause) {
      invalid.push(`${file}: ${(cause as Error).message}`);
    }
  }
  return { invalid };
}

/** The configuration in force; undefined when there is none. @throws Error when there are files, but none is valid */
export async function loadCniConfiguration(directory: string): Promise<CniConfiguration | undefined> {
  const { configuration, invalid } = await readCniDirectory(directory);
  if (!configuration && invalid.length > 0) throw new Error(`no valid CNI configuration: ${invalid.join('; ')}`);
  return configuration;
}

type RawList = Record<string, unknown>;

/** Reads a list, or a single plugin as a list of one, together with plugins that stand in a directory beside it. */
async function completeCniConfiguration(file: string, text: string): Promise<CniConfiguration> {
  const raw = parseObject(text);
  const configuration = readList(raw);
  const single = typeof raw['type'] === 'string' && !('plugins' in raw);
  if (!single && !readFlag(raw, 'loadOnlyInlinedPlugins'))
    configuration.plugins.push(...(await readPluginFiles(join(dirname(file), configuration.name))));
  if (configuration.plugins.length === 0) throw new Error('it has no plugins');
  return configuration;
}

/** Plugins of a list in files of their own, `<directory>/<name of the network>/*.conf`, in order. */
async function readPluginFiles(directory: string): Promise<CniPlugin[]> {
  const names = await readdir(directory).catch(() => []);
  const files = names.filter((name) => name.endsWith('.conf')).sort();
  return Promise.all(
    files.map(async (name) => {
      try {
        return readPlugin(parseObject(await readFile(join(directory, name), 'utf8')));
      } catch (cause) {
        throw new Error(`${join(directory, name)}: ${(cause as Error).message}`, { cause });
      }
    }),
  );
}

/** Reads the text of a list or of a single plugin. @throws Error saying what is wrong, with the line where it can be told */
export function parseCniConfiguration(text: string): CniConfiguration {
  const configuration = readList(parseObject(text));
  if (configuration.plugins.length === 0) throw new Error('it has no plugins');
  return configuration;
}

function readList(raw: RawList): CniConfiguration {
  const { name } = raw;
  if (typeof name !== 'string' || name === '') throw new Error('it has no "name"');
  if (!/^[a-zA-Z0-9][\w.-]*$/.test(name)) throw new Error(`"name" ${JSON.stringify(name)} is not a valid network name`);
  const single = typeof raw['type'] === 'string' && !('plugins' in raw);
  const { plugins = single ? [raw] : [] } = raw;
  if (!Array.isArray(plugins)) throw new Error('"plugins" is not a list');
  const versions = readVersions(raw);
  return {
    cniVersion: versions[0]!,
    ...(versions.length > 1 ? { cniVersions: versions } : {}),
    name,
    ...(readFlag(raw, 'disableCheck') ? { disableCheck: true } : {}),
    ...(readFlag(raw, 'disableGC') ? { disableGC: true } : {}),
    plugins: plugins.map((plugin: unknown, index) => {
      try {
        return readPlugin(plugin);
      } catch (cause) {
        throw new Error(`plugin ${index + 1}: ${(cause as Error).message}`, { cause });
      }
    }),
  };
}

function readPlugin(plugin: unknown): CniPlugin {
  if (typeof plugin !== 'object' || plugin === null || Array.isArray(plugin)) throw new Error('it is not an object');
  const { type, capabilities } = plugin as CniPlugin;
  if (typeof type !== 'string' || type === '') throw new Error('it has no "type"');
  if (!/^[a-zA-Z0-9][\w.-]*$/.test(type))
    throw new Error(`"type" ${JSON.stringify(type)} is not the name of a program`);
  if (capabilities !== undefined && (typeof capabilities !== 'object' || capabilities === null))
    throw new Error('"capabilities" is not an object');
  return plugin as CniPlugin;
}

/** The versions of a list that we speak, the newest first. Without any, it is of the first version that there was. */
function readVersions(raw: RawList): string[] {
  const { cniVersion, cniVersions } = raw;
  if (cniVersion !== undefined && typeof cniVersion !== 'string') throw new Error('"cniVersion" is not a text');
  if (cniVersions !== undefined && !(Array.isArray(cniVersions) && cniVersions.every((one) => typeof one === 'string')))
    throw new Error('"cniVersions" is not a list of texts');
  const named = [...((cniVersions ?? []) as string[]), ...(cniVersion ? [cniVersion] : [])];
  if (named.length === 0) return ['0.1.0'];
  const known = [...new Set(named)].filter(isKnownVersion).sort(compareVersions).reverse();
  if (known.length === 0)
    throw new Error(`version ${named.join(', ')} is not known: the newest that is, is ${newestVersion}`);
  return known;
}

/** True and false, also as text, as some writers have it. */
function readFlag(raw: RawList, name: string): boolean {
  const value = raw[name] ?? false;
  if (value === true || value === false) return value;
  if (value === 'true' || value === 'false') return value === 'true';
  throw new Error(`"${name}" is neither true nor false`);
}

function parseObject(text: string): RawList {
  if (text.trim() === '') throw new Error('it is empty');
  const raw: unknown = parseJson(text);
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) throw new Error('it is not a JSON object');
  return raw as RawList;
}

/** @throws Error with the line and the column */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    // Not every message of the engine tells a place: it is where the text that could still become valid ends.
    let [good, bad] = [0, text.length];
    while (bad - good > 1) {
      const middle = (good + bad) >> 1;
      if (canGoOn(text.slice(0, middle))) good = middle;
      else bad = middle;
    }
    const lines = text.slice(0, good).split('\n');
    const [reason = ''] = (cause as Error).message.split(/,? (?:\.\.\.)?"| in JSON| at position/);
    const message = `line ${lines.length} column ${lines.at(-1)!.length + 1}: it is not JSON: ${reason}`;
    throw new Error(message, { cause });
  }
}

function canGoOn(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch (cause) {
    const { message } = cause as Error;
    const position = /at position (\d+)/.exec(message)?.[1];
    return /^(Unexpected end|Unterminated)/.test(message) || Number(position) === text.length;
  }
}
