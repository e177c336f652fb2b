import { stat } from 'node:fs/promises';
import type { Clock } from '../../../async/index.ts';
import { findProgram } from '../../settings/index.ts';
import type { CniConfiguration } from './cni-config.ts';
import { newestVersion } from './cni-version.ts';
import { invokePlugin } from './invoke-plugin.ts';

/** Which versions plugins speak, asked of each program once (VERSION). */
export class PluginVersions {
  readonly #options: { pluginDirectories: readonly string[]; timeoutMs: number; clock: Clock };
  readonly #known = new Map<string, readonly string[]>();

  constructor(options: { pluginDirectories: readonly string[]; timeoutMs: number; clock: Clock }) {
    this.#options = options;
  }

  /** The newest version of the list that all of its plugins speak; without a choice, what the list says. @throws Error */
  async choose({ cniVersion, cniVersions = [], name, plugins }: CniConfiguration): Promise<string> {
    if (cniVersions.length < 2) return cniVersion;
    const spoken = await Promise.all([...new Set(plugins.map(({ type }) => type))].map((type) => this.#of(type)));
    const common = cniVersions.find((version) => spoken.every((list) => list === undefined || list.includes(version)));
    if (common) return common;
    throw new Error(`CNI network "${name}": its plugins have none of the versions ${cniVersions.join(', ')} in common`);
  }

  /** Undefined when the plugin cannot be asked. */
  async #of(type: string): Promise<readonly string[] | undefined> {
    const { pluginDirectories: directories, timeoutMs, clock } = this.#options;
    const path = findProgram(type, directories);
    if (!path) return undefined;
    try {
      const { mtimeMs, size } = await stat(path);
      const key = `${path} ${mtimeMs} ${size}`;
      const known = this.#known.get(key);
      if (known) return known;
      const configuration = { cniVersion: newestVersion };
      const answer = await invokePlugin({ command: 'VERSION', type, configuration, directories, timeoutMs, clock });
      const { supportedVersions } = JSON.parse(answer) as { supportedVersions?: string[] };
      if (!Array.isArray(supportedVersions)) return undefined;
      this.#known.set(key, supportedVersions);
      return supportedVersions;
    } catch {
      return undefined;
    }
  }
}
