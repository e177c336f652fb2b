import type { ApiClient } from '../client/index.ts';
import type { Level } from '../log/index.ts';
import { defaultSettings, type ProxySettings } from './configuration.ts';
import type { ServiceCidrSource } from './live/service-cidrs.ts';
import type { IpFamily } from './model/types.ts';
import type { NodeSource } from './node-facts.ts';
import type { ServiceSource } from './service-source.ts';

/** A configuration that a running proxy is to take over. */
export interface NextConfiguration {
  settings: ProxySettings;
  nodeName: string;
  /** The configuration in upstream's format, for /configz. */
  document: unknown;
  /** Takes what is not the proxy's own: log level, API server. A throw refuses all of it. */
  apply?(): Promise<void>;
}

/** Where the configuration may change while the proxy runs. */
export interface LiveConfiguration {
  files: readonly string[];
  /** Reads it again. A throw refuses it: what was in effect stays. */
  load(): Promise<NextConfiguration>;
}

/** What a proxy is started with: settings as in upstream's configuration file, and where Services come from. */
export interface ProxyConfig extends Partial<ProxySettings> {
  /** The API server. Not needed when `source` and `node` are given. */
  client?: ApiClient;
  nodeName: string;
  /** Default: 4 and, where the kernel can, 6. */
  families?: readonly IpFamily[];
  /** Services from somewhere else than the API server. */
  source?: ServiceSource;
  /** The Node object from somewhere else. */
  node?: NodeSource;
  /** Ranges of cluster IPs from somewhere else. */
  serviceCidrs?: ServiceCidrSource;
  live?: LiveConfiguration;
  /** For /configz. */
  document?: unknown;
  /** The flags that were given, for /flagz. */
  flags?: Readonly<Record<string, string>>;
  /** Changes how much is logged; missing where components share it. */
  setLogLevel?: (level: Level) => void;
}

/** The settings among what a proxy is started with. */
export function pickSettings(config: ProxyConfig): Partial<ProxySettings> {
  const names = [...Object.keys(defaultSettings), 'nodeAddress', 'oomScoreAdj'];
  return Object.fromEntries(Object.entries(config).filter(([name]) => names.includes(name))) as Partial<ProxySettings>;
}
