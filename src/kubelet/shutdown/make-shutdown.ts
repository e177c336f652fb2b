import { join } from 'node:path';
import type { EventRecorder } from '../../client/index.ts';
import { durationMs } from '../config/duration.ts';
import { isFeatureOn } from '../config/feature-gates.ts';
import type { Ground } from '../ground.ts';
import type { PodManager } from '../pods/pod-manager.ts';
import type { NodeReporter } from '../pods/ports.ts';
import { NodeShutdown } from './node-shutdown.ts';
import { ServiceManager } from './service-manager.ts';
import { shutdownPeriods } from './shutdown-plan.ts';

/** What the shutdown of the node asks of the rest of the kubelet. */
export interface ShutdownLinks {
  recorder: EventRecorder | undefined;
  node: Pick<NodeReporter, 'changed' | 'ready'>;
  manager(): PodManager;
}

/** What the system above the kubelet hears from it, and it from the system: shutdowns by logind, health by systemd. */
export function makeShutdown({ settings, metrics, clock, log }: Ground, { recorder, node, manager }: ShutdownLinks) {
  const { configuration, rootDirectory, nodeName } = settings;
  const { featureGates, shutdownGracePeriod, shutdownGracePeriodCriticalPods } = configuration;
  const byPriority = isFeatureOn(featureGates, 'GracefulNodeShutdownBasedOnPodPriority');
  const on = isFeatureOn(featureGates, 'GracefulNodeShutdown');
  const list = (configuration.shutdownGracePeriodByPodPriority ?? []) as {
    priority: number;
    shutdownGracePeriodSeconds: number;
  }[];
  const [all, critical] = [shutdownGracePeriod, shutdownGracePeriodCriticalPods].map((one) => durationMs(String(one)));
  const shutdown = new NodeShutdown({
    ...{ metrics, clock, log },
    periods: on ? shutdownPeriods(byPriority ? list : [], all!, critical!) : [],
    busAddress: settings.systemBus,
    stateFile: byPriority ? join(rootDirectory, 'graceful_node_shutdown_state') : undefined,
    pods: () =>
      manager()
        .records()
        .filter(({ phase }) => phase !== 'terminated')
        .map(({ pod }) => pod),
    end: (pod, failure, graceSeconds) => manager().end(pod.metadata.uid, failure, graceSeconds),
    nodeEvent: (reason, message) =>
      recorder?.event({ kind: 'Node', name: nodeName, uid: nodeName }, 'Normal', reason, message),
    onChange: () => node.changed(),
  });
  const service = new ServiceManager(settings.serviceManager, clock, log);
  node.ready.then(
    () => service.ready(),
    () => {},
  );
  return { shutdown, last: [shutdown], companions: [shutdown, service] };
}
