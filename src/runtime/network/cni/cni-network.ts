import { statfs } from 'node:fs/promises';
import { type PortMapping, Protocol } from '../../../api/cri/index.ts';
import type { Clock } from '../../../async/index.ts';
import type { Logger } from '../../../log/index.ts';
import { stepFailed, unlessMissing } from '../../errors.ts';
import type { PodAttachment, PodNetwork, PodNetworkRequest } from '../pod-network.ts';
import { type CniConfiguration, type CniPlugin, loadCniConfiguration, parseCniConfiguration } from './cni-config.ts';
import { invokePlugin, type PluginCall } from './invoke-plugin.ts';

const podLink = 'eth0';

/** Where configurations and plugins are. */
export interface CniOptions {
  configurationDirectory: string;
  pluginDirectories: readonly string[];
  clock: Clock;
  log: Logger;
}

interface CniResult {
  ips?: { address: string }[];
  ip4?: { ip: string };
}

/** Pod networks made by CNI plugins (specification 1.1); the configuration is read anew for every pod. */
export class CniNetwork implements PodNetwork {
  readonly #options: CniOptions;

  constructor(options: CniOptions) {
    this.#options = options;
  }

  /** The configuration in force; undefined when the directory holds none. */
  configuration(): Promise<CniConfiguration | undefined> {
    return loadCniConfiguration(this.#options.configurationDirectory);
  }

  async problem(): Promise<string | undefined> {
    try {
      const found = await this.configuration();
      return found ? undefined : `no CNI configuration in ${this.#options.configurationDirectory}`;
    } catch (cause) {
      return (cause as Error).message;
    }
  }

  /** ADD, through the chain of plugins; each is given the result of the one before. */
  async attach(request: PodNetworkRequest): Promise<PodAttachment> {
    const configuration = await this.configuration();
    if (!configuration) throw new Error(`no CNI configuration in ${this.#options.configurationDirectory}`);
    let result = '';
    try {
      for (const plugin of configuration.plugins)
        result = await this.#invoke('ADD', request, configuration, plugin, result || undefined);
    } catch (cause) {
      const attachment = this.#attachment(configuration, result);
      await this.detach({ ...request, attachment }).catch((error: unknown) =>
        this.#options.log.warn('CNI network of a failed sandbox could not be undone', { id: request.sandboxId, error }),
      );
      throw stepFailed(`CNI network "${configuration.name}"`, cause);
    }
    return this.#attachment(configuration, result);
  }

  /** DEL, from the last plugin to the first, with the configuration with which the pod was attached. */
  async detach(request: PodNetworkRequest): Promise<void> {
    const saved = request.attachment?.cni;
    const configuration = saved ? parseCniConfiguration(saved.configuration) : await this.configuration();
    if (!configuration) return;
    // A namespace that is gone has no path: plugins then free only what they keep elsewhere.
    const namespacePath = (await isNamespace(request.namespacePath)) ? request.namespacePath : '';
    for (const plugin of configuration.plugins.toReversed())
      await this.#invoke('DEL', { ...request, namespacePath }, configuration, plugin, saved?.result || undefined);
  }

  /** Tells plugins that can (GC, from version 1.1 on) which attachments are valid. */
  async collect(known: readonly PodNetworkRequest[]): Promise<void> {
    const configuration = await this.configuration().catch(() => undefined);
    if (!configuration || configuration.cniVersion < '1.1.0') return;
    const attachments = known.map(({ sandboxId }) => ({ containerID: sandboxId, ifname: podLink }));
    for (const plugin of configuration.plugins) {
      const completed = { ...this.#complete(configuration, plugin), 'cni.dev/valid-attachments': attachments };
      await this.#call({ command: 'GC', configuration: completed, type: plugin.type }).catch((error: unknown) =>
        this.#options.log.debug('CNI plugin does not collect', { plugin: plugin.type, error }),
      );
    }
  }

  remove(): Promise<void> {
    // Links and rules of plugins belong to the plugins; DEL has taken away what was the pods'.
    return Promise.resolve();
  }

  #attachment(configuration: CniConfiguration, result: string): PodAttachment {
    const parsed = (result ? JSON.parse(result) : {}) as CniResult;
    const addresses = parsed.ips?.map(({ address }) => address) ?? (parsed.ip4 ? [parsed.ip4.ip] : []);
    return {
      kind: 'cni',
      networkName: configuration.name,
      ips: addresses
        .map((address) => address.split('/')[0]!)
        .sort((a, b) => Number(a.includes(':')) - Number(b.includes(':'))),
      interfaceName: podLink,
      cni: { configuration: JSON.stringify(configuration), result },
    };
  }

  #invoke(
    command: 'ADD' | 'DEL',
    request: PodNetworkRequest,
    configuration: CniConfiguration,
    plugin: CniPlugin,
    previous: string | undefined,
  ): Promise<string> {
    const completed = {
      ...this.#complete(configuration, plugin),
      ...(previous ? { prevResult: JSON.parse(previous) as unknown } : {}),
      runtimeConfig: runtimeConfig(plugin, request),
    };
    return this.#call({
      command,
      configuration: completed,
      type: plugin.type,
      containerId: request.sandboxId,
      namespacePath: request.namespacePath,
      interfaceName: podLink,
      arguments: [
        'IgnoreUnknown=1',
        `K8S_POD_NAMESPACE=${request.namespace}`,
        `K8S_POD_NAME=${request.name}`,
        `K8S_POD_INFRA_CONTAINER_ID=${request.sandboxId}`,
        `K8S_POD_UID=${request.uid}`,
      ].join(';'),
    });
  }

  #complete({ cniVersion, name }: CniConfiguration, { capabilities: _, ...plugin }: CniPlugin): object {
    return { ...plugin, cniVersion, name };
  }

  #call(call: Omit<PluginCall, 'directories' | 'clock'>): Promise<string> {
    return invokePlugin({ ...call, directories: this.#options.pluginDirectories, clock: this.#options.clock });
  }
}

async function isNamespace(path: string): Promise<boolean> {
  const nsfsMagic = 0x6e736673;
  return path !== '' && (await unlessMissing(statfs(path)))?.type === nsfsMagic;
}

/** What the plugin has declared that it takes. */
function runtimeConfig({ capabilities = {} }: CniPlugin, { portMappings, annotations }: PodNetworkRequest): object {
  const ports = portMappings.filter(({ hostPort }) => hostPort > 0).map(toCniPort);
  const ingress = parseQuantity(annotations['kubernetes.io/ingress-bandwidth']);
  const egress = parseQuantity(annotations['kubernetes.io/egress-bandwidth']);
  const bandwidth = {
    ...(ingress ? { ingressRate: ingress, ingressBurst: 2 ** 31 - 1 } : {}),
    ...(egress ? { egressRate: egress, egressBurst: 2 ** 31 - 1 } : {}),
  };
  return {
    ...(capabilities['portMappings'] && ports.length > 0 ? { portMappings: ports } : {}),
    ...(capabilities['bandwidth'] && (ingress || egress) ? { bandwidth } : {}),
  };
}

const toCniPort = ({ hostPort, containerPort, protocol, hostIp }: PortMapping) => ({
  hostPort,
  containerPort,
  protocol: (Protocol[protocol] ?? 'TCP').toLowerCase(),
  ...(hostIp ? { hostIP: hostIp } : {}),
});

/** `10M` as a number; 0 for nothing that can be read. */
function parseQuantity(text: string | undefined): number {
  const match = /^(\d+(?:\.\d+)?)([kMGT]i?)?$/.exec(text ?? '');
  if (!match) return 0;
  const step = match[2]?.endsWith('i') ? 1024 : 1000;
  return Number(match[1]) * step ** (match[2] ? 'kMGT'.indexOf(match[2][0]!) + 1 : 0);
}
