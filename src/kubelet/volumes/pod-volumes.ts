import type { Node, Pod } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import type { ApiClient } from '../../client/index.ts';
import type { Logger } from '../../log/index.ts';
import type { KubeletMetrics } from '../metrics/kubelet-metrics.ts';
import { type ChangeDetection, ObjectCache } from './object-cache.ts';
import { Operations } from './operations.ts';
import type { VolumePlugin } from './plugin.ts';
import { emptyDirPlugin } from './plugins/empty-dir.ts';
import { hostPathPlugin } from './plugins/host-path.ts';
import { localPlugin } from './plugins/local.ts';
import { nfsPlugin } from './plugins/nfs.ts';
import { payloadPlugins } from './plugins/payload.ts';
import { ServiceAccountTokens } from './service-account-tokens.ts';
import { readTrustBundle } from './trust-bundle.ts';
import { VolumeManager } from './volume-manager.ts';
import { VolumeMeter } from './volume-meter.ts';

/** What volumes need. */
export interface PodVolumesOptions {
  /** The kubelet's root directory. */
  root: string;
  /** Undefined: static pods only, without objects of the API. */
  client: ApiClient | undefined;
  node: () => Node | undefined;
  /** Plugins besides those that are always there. */
  plugins?: readonly VolumePlugin[];
  /** The list of volumes that the node's status shows has changed. */
  onInUse?: () => void;
  /** Writes a warning as an event of a pod. */
  warn: (pod: Pod, reason: string, message: string) => void;
  /** The same for what happened as it should. */
  note?: (pod: Pod, reason: string, message: string) => void;
  metrics?: KubeletMetrics;
  /** How changes of ConfigMaps and Secrets are heard of. Default Watch. */
  changeDetection?: ChangeDetection;
  /** Time between looks at what changes unheard, milliseconds (syncFrequency). */
  resyncMs: number;
  /** Time between measurements of a volume, milliseconds; negative: they are not measured. */
  statisticsPeriodMs: number;
  log: Logger;
  clock: Clock;
}

/** Makes pods' volumes. */
export function createPodVolumes(options: PodVolumesOptions): VolumeManager {
  const { root, client, node, warn, changeDetection = 'Watch', log, clock } = options;
  const objects = new ObjectCache(client, {
    log,
    clock,
    strategy: changeDetection,
    onChange: (podUids) => manager.changed(podUids),
  });
  const tokens = new ServiceAccountTokens(client, clock, (podUid) => manager.changed([podUid]));
  const payload = payloadPlugins({
    configMap: (pod, namespace, name) => objects.configMap(pod.metadata.uid, namespace, name),
    secret: (pod, namespace, name) => objects.secret(pod.metadata.uid, namespace, name),
    token: (pod, request) => tokens.get(pod, request),
    trustBundle: (source) => readTrustBundle(client, source),
    node,
    changesUnheard: changeDetection !== 'Watch',
    forget: (podUid) => {
      objects.release(podUid);
      tokens.release(podUid);
    },
    stop: () => {
      objects.stop();
      tokens.stop();
    },
  });
  const manager: VolumeManager = new VolumeManager({
    ...{ root, client, node, warn, log, clock },
    plugins: [
      ...payload,
      emptyDirPlugin({ node }),
      hostPathPlugin(),
      localPlugin({ root, clock }),
      nfsPlugin({ clock }),
      ...(options.plugins ?? []),
    ],
    onInUse: options.onInUse ?? (() => {}),
    note: options.note ?? (() => {}),
    operations: new Operations(clock, options.metrics),
    resyncMs: options.resyncMs,
    meter: new VolumeMeter(clock, options.statisticsPeriodMs),
  });
  return manager;
}
