import type { Clock } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import type { RegistryConfig } from './registries/registry-config.ts';

/** Where images are kept and how they are fetched. */
export interface ImageStoreOptions {
  /** Directory of the store. */
  root: string;
  /** Rules of the settings; a function is asked at each pull. */
  registries?: readonly RegistryConfig[] | (() => readonly RegistryConfig[]);
  /** Directory of hosts.toml files, in containerd's layout. Default none. */
  registryHostsDirectory?: string;
  /** A registries.conf of containers. Default none. */
  registriesConf?: string;
  /** Files with credentials, as Docker's config.json. Default none. */
  registryAuthFiles?: readonly string[];
  /** Layers of one image fetched at once. Default 3. */
  maxParallelLayers?: number;
  /** Largest layer, unpacked, bytes. Default 64 GiB. */
  maximumLayerBytes?: number;
  /** Most entries of a layer. Default 2 million. */
  maximumLayerEntries?: number;
  /** How long a registry may be silent in the middle of a layer, milliseconds. Default 60 s. */
  silenceMs?: number;
  /** A pull in which nothing comes for so long ends, whatever it tries meanwhile, milliseconds. Default 5 min. */
  pullProgressTimeoutMs?: number;
  /** Layers that mounted file systems stand on: they are kept, also when their image is removed. */
  layersInUse?: () => Promise<ReadonlySet<string>>;
  /** Patterns of names that garbage collection must not remove: `name`, `beginning*` or `*part*`. */
  pinned?: readonly string[];
  log: Logger;
  clock: Clock;
}
