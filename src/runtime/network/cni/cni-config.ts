import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { unlessMissing } from '../../errors.ts';

/** One plugin of a CNI configuration list, with whatever the plugin itself understands. */
export interface CniPlugin {
  type: string;
  capabilities?: Record<string, boolean>;
  [key: string]: unknown;
}

/** A CNI configuration list. */
export interface CniConfiguration {
  cniVersion: string;
  name: string;
  disableCheck?: boolean;
  plugins: CniPlugin[];
}

/** The first valid configuration of a directory, by file name; undefined when there is none. @throws Error when none is valid */
export async function loadCniConfiguration(directory: string): Promise<CniConfiguration | undefined> {
  const names = ((await unlessMissing(readdir(directory))) ?? []).filter((name) =>
    /\.(conf|conflist|json)$/.test(name),
  );
  let failure: Error | undefined;
  for (const name of names.sort()) {
    try {
      return parseCniConfiguration(await readFile(join(directory, name), 'utf8'));
    } catch (cause) {
      failure ??= new Error(`CNI configuration ${join(directory, name)}: ${(cause as Error).message}`, { cause });
    }
  }
  if (failure) throw failure;
  return undefined;
}

/** Reads a list, or a single plugin as a list of one. @throws Error */
export function parseCniConfiguration(text: string): CniConfiguration {
  const raw = JSON.parse(text) as Partial<CniConfiguration> & { type?: string };
  if (!raw.name || !/^[a-zA-Z0-9][\w.-]*$/.test(raw.name)) throw new Error('it has no valid name');
  const plugins = raw.plugins ?? (raw.type ? [raw as CniPlugin] : []);
  if (plugins.length === 0) throw new Error('it has no plugins');
  for (const { type } of plugins)
    if (typeof type !== 'string' || !/^[\w.-]+$/.test(type)) throw new Error('a plugin has no valid type');
  return {
    cniVersion: raw.cniVersion ?? '0.1.0',
    name: raw.name,
    ...(raw.disableCheck ? { disableCheck: true } : {}),
    plugins,
  };
}
