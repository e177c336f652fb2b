import { writeFile } from 'node:fs/promises';
import {
  type ApiAccess,
  applyOomScore,
  formatConfiguration,
  type LoadedConfiguration,
  loadProxyConfiguration,
  type NextConfiguration,
  openApiAccess,
  ProxyError,
  prepareNode,
  proxyFlags,
  proxyVersion,
  removeProxyRules,
  startProxy,
} from '../../proxy/index.ts';
import { type ComponentContext, defineComponent } from '../component-module.ts';
import { type Flag, type Flags, UsageError } from '../flags.ts';
import { nodeNameFrom } from './common.ts';

type Values = Record<string, string | boolean | string[] | undefined>;

export default defineComponent<Flags>({
  name: 'proxy',
  summary:
    'Leads the addresses of Services to their pods, by rules in the kernel. Takes the place of kube-proxy (docs/proxy.md).',
  flags: makeFlags(),
  async once(given, context) {
    const values = given as Values;
    if (values['version']) {
      console.log(`Kubernetes ${proxyVersion}`);
      return true;
    }
    const file = values['write-config-to'] as string | undefined;
    if (file) {
      await writeFile(file, await formatConfiguration(await load(values)));
      context.log.info('configuration written', { file });
      return true;
    }
    if (values['cleanup']) {
      await removeProxyRules(context);
      return true;
    }
    if (values['init-only']) {
      await prepareNode((await load(values)).settings, context);
      return true;
    }
    return false;
  },
  async start(given, context) {
    const values = given as Values;
    const loaded = await load(values);
    prepareProcess(loaded, context);
    for (const warning of loaded.warnings) context.log.warn(warning);
    const access = await openApiAccess(loaded.connection, values['master'] as string | undefined, context);
    const proxy = startProxy(
      {
        ...loaded.settings,
        client: access.client,
        nodeName: nodeNameFrom(loaded.hostnameOverride),
        document: loaded.document,
        flags: givenTexts(values),
        live: {
          files: values['config'] ? [String(values['config'])] : [],
          load: () => loadAgain(values, access, context),
        },
        ...(context.setLogLevel ? { setLogLevel: context.setLogLevel } : {}),
      },
      context,
    );
    return {
      ready: proxy.ready,
      reload: () => proxy.reload(),
      stop: async (options) => {
        await proxy.stop(options);
        access.stop();
      },
    };
  },
  verbs: {
    explain: {
      summary: 'tell what becomes of a packet, rule by rule, and whether the kernel agrees',
      load: async () => (await import('../proxy-verbs/explain.ts')).default,
    },
    status: {
      summary: 'show what is wanted and what the kernel has, Service by Service',
      load: async () => (await import('../proxy-verbs/status.ts')).default,
    },
  },
});

/** The configuration as it is now, for a proxy that runs. */
async function loadAgain(values: Values, access: ApiAccess, context: ComponentContext): Promise<NextConfiguration> {
  const loaded = await loadProxyConfiguration(values);
  return {
    settings: loaded.settings,
    nodeName: nodeNameFrom(loaded.hostnameOverride),
    document: loaded.document,
    apply: async () => {
      await access.change(loaded.connection);
      prepareProcess(loaded, context);
      for (const warning of loaded.warnings) context.log.warn(warning);
    },
  };
}

/** The flags that were given, as texts. */
function givenTexts(values: Values): Record<string, string> {
  const given = Object.entries(values).filter(([, value]) => value !== undefined && `${value}` !== '');
  return Object.fromEntries(given.map(([name, value]) => [name, [value].flat().join(',')]));
}

/** What is wrong with a configuration is said as for any wrong option. */
async function load(values: Values): Promise<LoadedConfiguration> {
  try {
    return await loadProxyConfiguration(values);
  } catch (error) {
    throw error instanceof ProxyError ? new UsageError(error.message) : error;
  }
}

/** Settings that are for a process of the proxy's own. */
function prepareProcess({ logging, settings }: LoadedConfiguration, context: ComponentContext): void {
  if (!context.setLogLevel) return;
  if (logging.verbosity !== undefined) context.setLogLevel(logging.verbosity >= 4 ? 'debug' : 'info');
  if (logging.format) context.setLogFormat?.(logging.format);
  applyOomScore(settings.oomScoreAdj, context.log);
}

/** Upstream's flags in the form that commands have theirs. */
function makeFlags(): Flags {
  const flags: Flags = {};
  for (const [name, { kind, help, value, short }] of Object.entries(proxyFlags)) {
    const flag: Flag = {
      type: kind === 'bool' ? 'boolean' : 'string',
      help,
      ...(value ? { value } : {}),
      ...(short ? { short } : {}),
      ...(kind === 'bool' ? { optional: true as const } : {}),
      ...(kind === 'list' || kind === 'gates' ? { multiple: true } : {}),
    };
    flags[name] = flag;
  }
  return flags;
}
