import { join } from 'node:path';
import type { PodStatus } from '../api/index.ts';
import type { Timer } from '../async/index.ts';
import type { GrpcServer } from '../wire/grpc/index.ts';
import { withDeviceHealth } from './devices/device-health.ts';
import { DeviceManager } from './devices/device-manager.ts';
import { servePodResources } from './devices/pod-resources.ts';
import type { Companion, Ground } from './ground.ts';
import { readMachineTopology } from './managers/machine-topology.ts';
import { makeManagers } from './managers/make-managers.ts';
import type { PodManager } from './pods/pod-manager.ts';
import type { NodeReporter } from './pods/ports.ts';
import type { RuntimeCache } from './pods/runtime-cache.ts';

/** What else the parts that hand out resources need. */
export interface AllocationGround {
  cache: RuntimeCache;
  node: NodeReporter;
  manager(): PodManager;
  sources(): { isReady: boolean };
}

/** How long after the start plugins are let in, and resources are told, milliseconds. */
const serveAfterMs = 200;

/** Puts the parts together that hand processors, memory and devices to containers, and tell who has what. */
export function makeAllocation(ground: Ground, { cache, node, manager, sources }: AllocationGround) {
  const { settings, metrics, clock, log } = ground;
  const { rootDirectory } = settings;
  const topology = readMachineTopology();
  const devices = new DeviceManager({
    directory: join(rootDirectory, 'device-plugins'),
    nodes: topology.nodes.map(({ id }) => id),
    onNodeChange: () => node.changed(),
    onHealth: (podUids) => {
      for (const uid of podUids) manager().republish(uid);
    },
    metrics,
    clock,
    log,
  });
  const managers = makeManagers(ground, { cache, manager, sources, devices, topology });
  let server: GrpcServer | undefined;
  const serve = async (): Promise<void> => {
    await devices.serve();
    const live = () =>
      manager()
        .records()
        .filter(({ phase, admitted }) => admitted && phase !== 'terminated');
    server = await servePodResources({
      ...{ devices, cpus: managers.cpus, memory: managers.memory, metrics, clock },
      socket: join(rootDirectory, 'pod-resources/kubelet.sock'),
      pods: () => live().map(({ pod }) => pod),
    });
  };
  let serving: Timer | undefined;
  const companion: Companion = {
    start: async () => {
      await managers.start();
      await devices.start();
      // The first server costs 50 ms of this thread, which pods that come with the start can use better.
      serving = clock.after(serveAfterMs, () => {
        void serve().catch((error: unknown) => log.error('device plugins cannot register', { error }));
      });
    },
    stop: async () => {
      serving?.cancel();
      managers.stop();
      await server?.close();
      await devices.stop();
    },
  };
  return {
    admission: managers.admission,
    grants: managers.grants,
    devices,
    /** A pod's status with the health of its devices. */
    withHealth: (podUid: string, status: PodStatus) => withDeviceHealth(status, podUid, devices),
    companions: [companion],
  };
}
