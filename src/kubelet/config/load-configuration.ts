import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Logger } from '../../log/index.ts';
import { ConfigurationError } from '../errors.ts';
import { type GivenFlags, readFlagConfiguration } from './flag-values.ts';
import { completeConfiguration, type KubeletConfiguration, mergeObjects, readFields } from './kubelet-configuration.ts';

/** Fields that hold a path; one that is relative belongs to the directory of its file. */
const pathFields = [
  'staticPodPath',
  'authentication.x509.clientCAFile',
  'tlsCertFile',
  'tlsPrivateKeyFile',
  'resolvConf',
  'volumePluginDir',
  'podLogsDir',
];

/**
 * The configuration of a kubelet from --config, the drop-ins of --config-dir and its flags, the later over the earlier.
 * @throws ConfigurationError naming the file or flag, and the field
 */
export async function loadConfiguration(
  flags: GivenFlags & { config?: string | undefined; 'config-dir'?: string | undefined },
  log: Logger,
): Promise<KubeletConfiguration> {
  let merged: Record<string, unknown> = flags.config ? await readConfigurationFile('config', flags.config) : {};
  for (const file of flags['config-dir'] ? await findDropIns(flags['config-dir'], log) : []) {
    merged = mergeObjects(merged, await readConfigurationFile('config-dir', file));
  }
  const fromFiles = merged['featureGates'];
  const { fields, flagOf, ignored } = readFlagConfiguration(flags);
  for (const { flag, why } of ignored) log.warn('a flag does nothing', { flag: `--${flag}`, why });
  merged = laidOver(merged, fields);
  // Flags name some gates; those of the file stay.
  if (fields['featureGates'] && fromFiles)
    merged['featureGates'] = { ...(fromFiles as object), ...(fields['featureGates'] as object) };
  try {
    return completeConfiguration(merged);
  } catch (error) {
    throw explain(error, flags.config ?? flags['config-dir'], flagOf);
  }
}

/** Says of a wrong value which flag or file it came from. */
function explain(error: unknown, file: string | undefined, flagOf: Record<string, string>): unknown {
  if (!(error instanceof ConfigurationError)) return error;
  const message = error.message.slice(error.field.length + 2);
  for (const [field, flag] of Object.entries(flagOf)) {
    if (error.field !== field && !error.field.startsWith(`${field}.`)) continue;
    const part = error.field.slice(field.length + 1);
    return new ConfigurationError(`--${flag}`, part ? `${part}: ${message}` : message, { cause: error });
  }
  return file ? new ConfigurationError(file, error.message, { cause: error }) : error;
}

/** Values of flags replace a field as a whole; only its named parts are gone into. */
function laidOver(below: Record<string, unknown>, above: Record<string, unknown>): Record<string, unknown> {
  const parts = new Set([
    'authentication',
    'x509',
    'webhook',
    'anonymous',
    'authorization',
    'logging',
    'options',
    'text',
    'json',
  ]);
  const made = { ...below };
  for (const [name, value] of Object.entries(above)) {
    const old = made[name];
    const both = parts.has(name) && typeof old === 'object' && old !== null && typeof value === 'object';
    made[name] = both ? laidOver(old as Record<string, unknown>, value as Record<string, unknown>) : value;
  }
  return made;
}

async function readConfigurationFile(flag: string, file: string): Promise<Record<string, unknown>> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new ConfigurationError(`cannot read --${flag} ${file}`, `${(error as Error).message}`, { cause: error });
  }
  try {
    return absolute(readFields(text), dirname(resolve(file)));
  } catch (error) {
    throw new ConfigurationError(file, (error as Error).message, { cause: error });
  }
}

function absolute(fields: Record<string, any>, directory: string): Record<string, unknown> {
  for (const path of pathFields) {
    const parts = path.split('.');
    const holder = parts.slice(0, -1).reduce<any>((at, part) => at?.[part], fields);
    const name = parts.at(-1)!;
    if (typeof holder?.[name] === 'string' && holder[name] !== '') holder[name] = resolve(directory, holder[name]);
  }
  return fields;
}

/** All files *.conf of a directory and the directories in it, in the order of their names. */
async function findDropIns(directory: string, log: Logger): Promise<string[]> {
  const found: string[] = [];
  const look = async (at: string): Promise<void> => {
    const entries = await readdir(at, { withFileTypes: true });
    entries.sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const entry of entries) {
      const path = join(at, entry.name);
      if (entry.isDirectory()) await look(path);
      else if (entry.name.endsWith('.conf')) found.push(path);
      else log.debug('a file is no drop-in', { path });
    }
  };
  try {
    await look(directory);
  } catch (error) {
    throw new ConfigurationError(`cannot read --config-dir ${directory}`, `${(error as Error).message}`, {
      cause: error,
    });
  }
  return found;
}
