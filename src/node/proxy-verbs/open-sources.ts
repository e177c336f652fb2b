import { homedir } from 'node:os';
import { join } from 'node:path';
import { type ApiClient, createClient, loadInClusterConfig, loadKubeconfig } from '../../client/index.ts';
import {
  type Expectations,
  expectationsOfApi,
  expectationsOfProxy,
  findRenderedMode,
  loadProxyConfiguration,
  ProxyError,
  type ProxyMode,
  proxyFlags,
} from '../../proxy/index.ts';
import type { ComponentContext } from '../component-module.ts';
import { nodeNameFrom } from '../components/common.ts';
import { type Flags, UsageError } from '../flags.ts';
import { instancePaths } from '../instance.ts';
import { dataDirFlag } from '../up-options.ts';

/** Options of every verb of `deckhand proxy`. */
export const sourceFlags = {
  output: { type: 'string', short: 'o', value: 'FORMAT', help: 'json for programs' },
  kubeconfig: {
    type: 'string',
    value: 'FILE',
    help: 'how to reach the API server (default: $KUBECONFIG, the instance of --data-dir, ~/.kube/config, or as a pod does)',
  },
  ...dataDirFlag,
  config: { type: 'string', value: 'FILE', help: "the proxy's KubeProxyConfiguration, for when no proxy runs" },
  'hostname-override': { type: 'string', value: 'NAME', help: 'the name of the node, for when no proxy runs' },
  'proxy-mode': { type: 'string', value: 'MODE', help: 'nftables, iptables or ipvs, for when no proxy runs' },
  'cluster-cidr': { type: 'string', value: 'CIDR', help: 'addresses of pods, for when no proxy runs' },
  v: { type: 'string', short: 'v', value: 'LEVEL', default: '0', help: 'log level; 4 and more shows debug lines' },
  help: { type: 'boolean', short: 'h', help: 'show this' },
} as const satisfies Flags;

/** Values of {@link sourceFlags}. */
export type SourceValues = Record<string, string | boolean | string[] | undefined>;

/** Where a verb gets its knowledge. */
export interface Sources {
  /** What should be in the kernel; undefined when neither a proxy runs nor the API server can be asked. */
  expectations?: Expectations;
  /** Why the API server cannot be asked. */
  apiError?: string;
  /** The API server, for names of pods; undefined when it cannot be reached. */
  client?: ApiClient;
  /** What the rules in the kernel are, where nobody says what they should be. */
  mode: ProxyMode;
  close(): void;
}

/** Finds a running proxy, an API server, and the rules in the kernel, in this order. @throws UsageError for options that make no sense */
export async function openSources(values: SourceValues, context: ComponentContext): Promise<Sources> {
  if (values['output'] !== undefined && values['output'] !== 'json')
    throw new UsageError(`-o ${values['output']} is not a format: use json`);
  const proxy = await expectationsOfProxy();
  const { client, apiError } = await connectToApi(values, context);
  const close = (): void => proxy?.close();
  if (proxy) return { expectations: proxy, client, apiError, mode: proxy.mode, close };
  const settings = await readSettings(values);
  const mode = values['proxy-mode'] || values['config'] ? settings.mode : await findRenderedMode(context);
  if (!client) return { apiError, mode: mode ?? settings.mode, close };
  const nodeName = nodeNameFrom(settings.hostnameOverride);
  try {
    const expectations = await expectationsOfApi(client, { ...settings, mode: mode ?? settings.mode }, nodeName);
    return { expectations, client, apiError, mode: expectations.mode, close };
  } catch (error) {
    return { apiError: (error as Error).message, mode: mode ?? settings.mode, close };
  }
}

/** The settings of a proxy that does not run. */
async function readSettings(values: SourceValues) {
  const given = Object.entries(values).filter(([name]) => name !== 'kubeconfig' && Object.hasOwn(proxyFlags, name));
  try {
    const loaded = await loadProxyConfiguration(Object.fromEntries(given));
    return { ...loaded.settings, hostnameOverride: loaded.hostnameOverride };
  } catch (error) {
    throw error instanceof ProxyError ? new UsageError(error.message) : error;
  }
}

/** Tries the places where a kubeconfig is usual. A file that was named must work. */
async function connectToApi(
  values: SourceValues,
  context: ComponentContext,
): Promise<{ client?: ApiClient; apiError?: string }> {
  const named = values['kubeconfig'] as string | undefined;
  const files = named
    ? [named]
    : [
        process.env['KUBECONFIG'] ?? '',
        instancePaths(values['data-dir'] as string).kubeconfig,
        join(homedir(), '.kube/config'),
      ];
  let apiError = '';
  for (const file of files.filter(Boolean))
    try {
      return { client: createClient({ ...(await loadKubeconfig(file)), userAgent: 'deckhand-proxy' }, context) };
    } catch (error) {
      if (named) throw error;
      const missing = ((error as Error).cause as { code?: string } | undefined)?.code === 'ENOENT';
      if (!missing) apiError = (error as Error).message;
    }
  try {
    return {
      client: createClient({ ...(await loadInClusterConfig(process.env)), userAgent: 'deckhand-proxy' }, context),
    };
  } catch {
    return { apiError: apiError || 'no kubeconfig: give --kubeconfig FILE' };
  }
}
