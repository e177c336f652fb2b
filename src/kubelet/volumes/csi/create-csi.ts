import type { Node } from '../../../api/index.ts';
import type { Clock } from '../../../async/index.ts';
import type { ApiClient } from '../../../client/index.ts';
import type { Logger } from '../../../log/index.ts';
import type { PluginHandler } from '../../plugins/index.ts';
import type { VolumePlugin } from '../plugin.ts';
import { ServiceAccountTokens } from '../service-account-tokens.ts';
import { AllocatableRefresh } from './allocatable-refresh.ts';
import { type CsiContext, CsiDriverObjects } from './csi-context.ts';
import { CsiNodeInfo } from './csi-node-info.ts';
import { csiVolumes } from './csi-plugin.ts';
import type { DriverClientOptions } from './driver-client.ts';
import { DriverRegistry } from './driver-registry.ts';

/** What CSI needs of the kubelet. */
export interface CsiOptions {
  /** The kubelet's root directory. */
  root: string;
  nodeName: string;
  client: ApiClient | undefined;
  node: () => Node | undefined;
  /** Something that volumes of these pods wait for or follow has changed. */
  onNews: (podUids: Iterable<string>) => void;
  log: Logger;
  clock: Clock;
  /** Told of each call of a driver that has ended, for metrics. */
  onCall?: DriverClientOptions['onCall'];
  /** Longest for one call of a driver, milliseconds. Default 120,000. */
  timeoutMs?: number;
}

/** The CSI part of a kubelet: what takes drivers, and the volumes that they make. */
export interface Csi {
  registration: PluginHandler;
  volumes: VolumePlugin;
}

/** Puts the CSI part together; it ends with its volumes' `stop`. */
export function createCsi(options: CsiOptions): Csi {
  const { root, nodeName, client, node, onNews, log, clock, timeoutMs, onCall } = options;
  const nodeInfo = new CsiNodeInfo({ client, nodeName, node, log, clock });
  const drivers = new DriverRegistry(nodeInfo, { clock, timeoutMs, onCall });
  const objects = new CsiDriverObjects(client, { log, clock, onChange: (driver) => refresh.follow(driver) });
  const refresh = new AllocatableRefresh(drivers, objects, { log, clock });
  const tokens = new ServiceAccountTokens(client, clock, (podUid) => onNews([podUid]));
  const waiting = new Map<string, Set<string>>();
  const context: CsiContext = {
    ...{ root, nodeName, client, drivers, objects, node, log, clock },
    token: (pod, request) => tokens.status(pod, request),
    waitsFor: (driver, podUid) => {
      waiting.set(driver, (waiting.get(driver) ?? new Set()).add(podUid));
    },
  };
  nodeInfo.start();
  return {
    registration: {
      validate: (plugin) => drivers.validate(plugin),
      register: async (plugin, signal) => {
        await drivers.register(plugin, signal);
        refresh.follow(plugin.name);
        onNews(waiting.get(plugin.name) ?? []);
        waiting.delete(plugin.name);
      },
      deregister: (plugin) => drivers.deregister(plugin),
    },
    volumes: {
      ...csiVolumes(context),
      forget: (podUid) => {
        tokens.release(podUid);
        for (const pods of waiting.values()) pods.delete(podUid);
      },
      stop: async () => {
        refresh.stop();
        tokens.stop();
        objects.stop();
        await nodeInfo.stop();
        drivers.close();
      },
    },
  };
}
