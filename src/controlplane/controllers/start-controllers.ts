import { resources } from '../../api/index.ts';
import type { Clock, Component } from '../../async/index.ts';
import { type ApiClient, createEventRecorder, type EventRecorder } from '../../client/index.ts';
import type { Logger } from '../../log/index.ts';
import { startAttachDetachController } from './attach-detach/controller.ts';
import { startTokenCleaner } from './bootstrap/clean-tokens.ts';
import { startBootstrapSigner } from './bootstrap/sign-cluster-info.ts';
import { startApprovingController } from './certificates/approve.ts';
import { startRequestCleaner } from './certificates/clean.ts';
import { type SigningOptions, startSigningController } from './certificates/sign.ts';
import { startCronJobController } from './cronjob/controller.ts';
import { startDaemonSetController } from './daemonset/controller.ts';
import { startDeploymentController } from './deployment/controller.ts';
import { startDisruptionController } from './disruption/controller.ts';
import { startEndpointsController } from './endpoints/controller.ts';
import { startEndpointSliceController } from './endpointslice/controller.ts';
import { startEphemeralVolumeController } from './ephemeral-volume/controller.ts';
import type { Controller, ControllerContext } from './framework/controller.ts';
import { Informers } from './framework/informers.ts';
import { startGarbageCollector } from './garbage-collection/controller.ts';
import { startJobController } from './job/controller.ts';
import { type LocalPathOptions, startLocalPathController } from './local-path/controller.ts';
import { startNamespaceController } from './namespace/controller.ts';
import { startNodeIpamController } from './node-ipam/controller.ts';
import { startNodeLifecycleController } from './node-lifecycle/controller.ts';
import { startPersistentVolumeController } from './persistent-volume/controller.ts';
import { startPodGcController } from './pod-gc/controller.ts';
import { startReplicaSetController, startReplicationControllerController } from './replicaset/controller.ts';
import { startRootCaController, startServiceAccountController } from './serviceaccount/controller.ts';
import { startStatefulSetController } from './statefulset/controller.ts';
import { startVolumeProtectionController } from './volume-protection/controller.ts';

/** What the controllers are given. */
export interface ControllersConfig {
  client: ApiClient;
  /** The range of all pods' addresses (two for dual stack), of which each node gets a part. Default: none is given out. */
  podCidr?: string;
  /** PEM of the cluster's CA, published in every namespace. Default: the one that `client` trusts. */
  rootCa?: string;
  /** A node without a sign of life for this long is Unknown, milliseconds. Default 50,000. */
  nodeMonitorGraceMs?: number;
  /** Finished pods beyond this many are removed. Default 12,500. */
  terminatedPodThreshold?: number;
  /** A node that is not well keeps volumes that it should not have any longer for this long, milliseconds. Default 360,000. */
  maximumWaitForUnmountMs?: number;
  /** Where claims of the class `local-path` get their directories. Default: there is no such class. */
  localPath?: LocalPathOptions;
  /** Signs certificates that nodes and users ask for. Default: nobody does. */
  signing?: SigningOptions;
  /** Names of controllers to run; default all. See {@link controllerNames}. */
  only?: readonly string[];
  /** Watches to share with other components of this process. Default: their own. */
  informers?: Informers;
}

type Start = (context: ControllerContext, config: ControllersConfig) => Controller | undefined;

/** By name; the order is that of their watches, the most urgent first. */
const controllers: Record<string, Start> = {
  nodelifecycle: (context, { nodeMonitorGraceMs }) =>
    startNodeLifecycleController(context, nodeMonitorGraceMs === undefined ? {} : { graceMs: nodeMonitorGraceMs }),
  nodeipam: (context, { podCidr }) => (podCidr ? startNodeIpamController(context, { podCidr }) : undefined),
  endpointslice: startEndpointSliceController,
  serviceaccount: startServiceAccountController,
  'root-ca': (context, config) => {
    const rootCa = config.rootCa ?? config.client.config.ca?.toString();
    return rootCa ? startRootCaController(context, rootCa) : undefined;
  },
  csrapproving: startApprovingController,
  csrsigning: (context, { signing }) => (signing ? startSigningController(context, signing) : undefined),
  bootstrapsigner: (context, { rootCa }) => startBootstrapSigner(context, rootCa),
  tokencleaner: startTokenCleaner,
  csrcleaner: startRequestCleaner,
  replicaset: startReplicaSetController,
  deployment: startDeploymentController,
  endpoints: startEndpointsController,
  daemonset: startDaemonSetController,
  namespace: startNamespaceController,
  statefulset: startStatefulSetController,
  job: startJobController,
  cronjob: startCronJobController,
  'persistentvolume-binder': startPersistentVolumeController,
  'ephemeral-volume': startEphemeralVolumeController,
  'local-path': (context, { localPath }) => (localPath ? startLocalPathController(context, localPath) : undefined),
  'volume-protection': startVolumeProtectionController,
  disruption: startDisruptionController,
  replicationcontroller: startReplicationControllerController,
  podgc: (context, { terminatedPodThreshold }) =>
    startPodGcController(
      context,
      terminatedPodThreshold === undefined ? {} : { terminatedThreshold: terminatedPodThreshold },
    ),
  attachdetach: (context, { maximumWaitForUnmountMs }) =>
    startAttachDetachController(context, maximumWaitForUnmountMs === undefined ? {} : { maximumWaitForUnmountMs }),
  garbagecollector: startGarbageCollector,
};

/** The names that {@link ControllersConfig} `only` takes. */
export const controllerNames: readonly string[] = Object.keys(controllers);

/** Starts the controllers: what makes a cluster follow its objects. */
export function startControllers(config: ControllersConfig, context: { log: Logger; clock: Clock }): Component {
  const { client } = config;
  const informers = config.informers ?? new Informers(client, context);
  const recorders = new Map<string, EventRecorder>();
  const shared: ControllerContext = {
    client,
    informers,
    ...context,
    events: (component) => {
      const known = recorders.get(component);
      const recorder = known ?? createEventRecorder(client, { component, ...context });
      recorders.set(component, recorder);
      return recorder;
    },
  };
  // The watches that nearly all need open first, side by side.
  for (const one of [resources.nodes, resources.pods, resources.services])
    informers.store(one as typeof resources.pods);
  const running = Object.entries(controllers)
    .filter(([name]) => !config.only || config.only.includes(name))
    .flatMap(([, start]) => start(shared, config) ?? []);
  return {
    ready: informers.synced(),
    stop: async () => {
      await Promise.all(running.map((controller) => controller.stop()));
      await Promise.all([...recorders.values()].map((recorder) => recorder.flush()));
      if (!config.informers) informers.stop();
    },
  };
}
