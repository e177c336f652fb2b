import { join } from 'node:path';
import type { Clock } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import type { ResolvedSettings } from '../settings/index.ts';
import type { BridgeNetwork } from './bridge/bridge-network.ts';
import { CniNetwork } from './cni/cni-network.ts';
import type { PodNetwork } from './pod-network.ts';

/**
 * What makes the pod network: CNI plugins while their directory holds a configuration, else the built-in bridge. A pod
 * is detached by what attached it, also when that has changed.
 */
export async function selectNetwork(
  settings: Pick<ResolvedSettings, 'root' | 'podCidr' | 'cniConfDir' | 'cniBinDirs' | 'cniTimeoutMs'>,
  bridge: BridgeNetwork,
  options: { log: Logger; clock: Clock },
): Promise<PodNetwork> {
  const cni = await CniNetwork.open({
    configurationDirectory: settings.cniConfDir ?? '',
    pluginDirectories: settings.cniBinDirs,
    stateDirectory: join(settings.root, 'cni'),
    timeoutMs: settings.cniTimeoutMs,
    ...options,
  });
  const current = async (): Promise<PodNetwork> => {
    if (!settings.cniConfDir) return bridge;
    // A configuration that cannot be read is a problem to be told, not a reason to use another network.
    return (await cni.configuration().catch(() => true)) || !settings.podCidr ? cni : bridge;
  };
  return {
    problem: async () => (await current()).problem(),
    attach: async (request) => (await current()).attach(request),
    detach: async (request) => (cni.holds(request.sandboxId) ? cni : bridge).detach(request),
    collect: async (known) => {
      await cni.collect(known.filter(({ attachment }) => attachment?.kind === 'cni'));
      await bridge.collect(known.filter(({ attachment }) => attachment?.kind === 'bridge'));
    },
    remove: async () => {
      await cni.remove();
      await bridge.remove();
    },
  };
}
