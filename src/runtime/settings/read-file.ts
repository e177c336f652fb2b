import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Document, Pair } from 'yaml';
import { loadYaml, plainJson } from '../../wire/documents/index.ts';
import { codeOf } from '../errors.ts';
import {
  entriesOf,
  fileName,
  printFields,
  type Schema,
  type SettingPath,
  SettingProblem,
  unknownField,
} from './schema.ts';
import { type FileSettings, type Setting, settingTable } from './table.ts';

/** A configuration that cannot be used: `FILE:LINE: what is wrong`. */
export class ConfigurationError extends Error {}

const table = settingTable as Record<string, Setting<unknown, boolean>>;
const schemas: Record<string, Schema<unknown>> = Object.fromEntries(
  Object.entries(table).map(([name, { schema }]) => [name, schema]),
);

/**
 * Reads a configuration file and then the drop-in files (`*.yaml`, by name) of a directory: each setting is as the last
 * file that has it says. @throws ConfigurationError
 */
export async function readSettings(options: { file?: string; directory?: string }): Promise<FileSettings> {
  const files = [...(options.file ? [options.file] : []), ...(await dropIns(options.directory))];
  const parts = await Promise.all(files.map(async (file) => parseSettings(file, await readText(file))));
  return Object.assign({}, ...parts);
}

async function dropIns(directory: string | undefined): Promise<string[]> {
  if (!directory) return [];
  try {
    const names = await readdir(directory);
    return names
      .filter((name) => /\.ya?ml$/.test(name) && !name.startsWith('.'))
      .sort()
      .map((name) => join(directory, name));
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return [];
    throw new ConfigurationError(`cannot read ${directory}: ${(cause as Error).message}`, { cause });
  }
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new ConfigurationError(`cannot read ${file}: ${(cause as Error).message}`, { cause });
  }
}

/** Reads the text of one file, strictly. @throws ConfigurationError with the line */
export function parseSettings(file: string, text: string): FileSettings {
  return readJson(text) ?? readYaml(file, text);
}

/** JSON when nothing is wrong with it; whoever knows lines tells what is. */
function readJson(text: string): FileSettings | undefined {
  try {
    const value = plainJson(text);
    return value === undefined ? undefined : readFields(value);
  } catch {
    return undefined;
  }
}

function readYaml(file: string, text: string): FileSettings {
  const { LineCounter, parseDocument } = loadYaml();
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const [broken] = document.errors;
  if (broken) {
    const [reason = ''] = broken.message.split(/ at line \d+/);
    throw new ConfigurationError(`${file}:${lines.linePos(broken.pos[0]).line}: ${reason}`);
  }
  const value: unknown = document.toJS();
  if (value === null || value === undefined) return {};
  try {
    return readFields(value);
  } catch (cause) {
    if (!(cause instanceof SettingProblem)) throw cause;
    const line = lines.linePos(offsetOf(document, cause.path)).line;
    throw new ConfigurationError(`${file}:${line}: ${cause.message}`, { cause });
  }
}

function readFields(value: unknown): FileSettings {
  const names = new Map(Object.entries(schemas).map(([name, schema]) => [fileName(name, schema), name]));
  const result: Record<string, unknown> = {};
  for (const [key, one] of entriesOf(value, [])) {
    const name = names.get(key);
    if (!name) throw unknownField([key], [...names.keys()]);
    result[name] = schemas[name]!.read(one, [key]);
  }
  return result as FileSettings;
}

/** Where in the text a setting is: at its name, for items of lists at the item. */
function offsetOf(document: Document, path: SettingPath): number {
  const { isMap, isScalar } = loadYaml();
  for (let length = path.length; length > 0; length--) {
    const parent: unknown = length === 1 ? document.contents : document.getIn(path.slice(0, length - 1), true);
    const key = path[length - 1];
    if (isMap(parent)) {
      const pair = parent.items.find((item: Pair) => isScalar(item.key) && item.key.value === key);
      if (pair && isScalar(pair.key)) return pair.key.range?.[0] ?? 0;
    }
    const node = document.getIn(path.slice(0, length), true) as { range?: [number, number, number] } | undefined;
    if (node?.range) return node.range[0];
  }
  return 0;
}

/** One setting given as text on the command line. @throws SettingProblem */
export function readFlagValue(name: keyof FileSettings, flag: string, value: string): unknown {
  const schema = schemas[name]!;
  const isNumber = schema.kind.startsWith('a whole number') && /^-?\d+$/.test(value);
  return schema.read(isNumber ? Number(value) : value, [flag]);
}

/** Settings as a file would have them, without secrets. */
export function printSettings(settings: object): Record<string, unknown> {
  return printFields(schemas, settings);
}

/** Which settings differ, and whether the change takes effect on reload. */
export function changedSettings(
  before: FileSettings,
  after: FileSettings,
): { name: keyof FileSettings; live: boolean }[] {
  return (Object.keys(table) as (keyof FileSettings)[])
    .filter((name) => JSON.stringify(before[name]) !== JSON.stringify(after[name]))
    .map((name) => ({ name, live: table[name]!.live === true }));
}
