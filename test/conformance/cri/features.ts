import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { ImageService, RuntimeService } from '../../../src/api/cri/index.ts';
import { createGrpcClient, GrpcError } from '../../../src/wire/grpc/index.ts';
import type { Feature } from './behaviour.ts';

/** Why a behaviour that needs a feature is skipped. */
export const featureReasons: Record<Feature, string> = {
  checkpoint: 'criu is not installed',
  'sandbox-resources': 'the runtime does not implement UpdatePodSandboxResources',
  events: 'the runtime does not implement GetContainerEvents',
  'event-replay': 'the runtime tells no events of the past',
  metrics: 'the runtime does not implement ListMetricDescriptors',
  'pod-stats': 'the runtime does not implement PodSandboxStats',
  'stream-lists': 'the runtime does not implement the streaming lists',
  'runtime-config': 'the runtime does not implement RuntimeConfig',
  'supplemental-groups-policy': 'the runtime does not announce supplemental group policies',
  'user-namespaces': 'the runtime does not announce user namespaces',
  'recursive-read-only': 'the runtime does not announce recursive read-only mounts',
  'image-volumes': 'the runtime mounts no image volumes',
  'image-id': 'the runtime tells no image ids of containers',
  apparmor: 'the kernel has no AppArmor, or it is off',
  'no-apparmor': 'the kernel has AppArmor on',
  selinux: 'the kernel has no SELinux',
  'no-selinux': 'the kernel has SELinux',
  'cgroup-v1': 'limits are set through cgroup v2 here',
  'cgroup-v2': 'limits are set through cgroup v1 here',
  cpuset: 'the kernel has no cpuset controller',
  hugepages: 'the kernel has no hugetlb controller',
  swap: 'the kernel does not account for swap',
  seccomp: 'the kernel filters no system calls',
  'named-registry': 'no registry with images of our own (CRI_REGISTRY)',
  deckhand: 'it is another runtime, which does this in another way',
};

/** Finds out what a runtime and its kernel offer. */
export async function findFeatures(endpoint: string): Promise<Set<Feature>> {
  const runtime = createGrpcClient(RuntimeService, endpoint);
  const images = createGrpcClient(ImageService, endpoint);
  const found = new Set<Feature>();
  const add = (feature: Feature, has: boolean): void => {
    if (has) found.add(feature);
  };
  const answers = async (call: () => Promise<unknown>): Promise<boolean> => {
    try {
      await call();
      return true;
    } catch (error) {
      return !(error instanceof GrpcError && error.code === 'UNIMPLEMENTED');
    }
  };
  try {
    const [version, status] = await Promise.all([runtime.version({}), runtime.status({})]);
    add('deckhand', version.runtimeName === 'deckhand');
    add('event-replay', version.runtimeName === 'deckhand');
    const features = status.runtimeHandlers.find(({ name }) => name === '')?.features;
    add('recursive-read-only', features?.recursiveReadOnlyMounts === true);
    add('user-namespaces', features?.userNamespaces === true);
    add('supplemental-groups-policy', status.features?.supplementalGroupsPolicy === true);
    add('pod-stats', await answers(() => runtime.podSandboxStats({ podSandboxId: 'none' })));
    add('metrics', await answers(() => runtime.listMetricDescriptors({})));
    add('runtime-config', await answers(() => runtime.runtimeConfig({})));
    add('sandbox-resources', await answers(() => runtime.updatePodSandboxResources({ podSandboxId: 'none' })));
    add('stream-lists', await answers(() => firstOf(images.streamImages({}))));
    add('events', await answers(() => briefly((signal) => firstOf(runtime.getContainerEvents({}, { signal })))));
    // No runtime before these calls mounts images or tells image ids.
    add('image-volumes', found.has('runtime-config'));
    add('image-id', found.has('runtime-config'));
  } finally {
    runtime.close();
    images.close();
  }
  for (const feature of kernelFeatures()) found.add(feature);
  add('named-registry', process.env['CRI_REGISTRY'] !== undefined);
  return found;
}

async function firstOf<T>(stream: AsyncIterable<T>): Promise<void> {
  for await (const _ of stream) return;
}

/** A stream that is silent is there. */
async function briefly(call: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(new Error('enough')), 300);
  await call(controller.signal).finally(() => clearTimeout(timer));
}

function kernelFeatures(): Feature[] {
  const version2 = existsSync('/sys/fs/cgroup/cgroup.controllers');
  const controllers = version2
    ? readFileSync('/sys/fs/cgroup/cgroup.controllers', 'utf8').trim().split(' ')
    : readdirSync('/sys/fs/cgroup');
  const apparmor = '/sys/module/apparmor/parameters/enabled';
  const hasApparmor = existsSync(apparmor) && readFileSync(apparmor, 'utf8').startsWith('Y');
  const hasSelinux = existsSync('/sys/fs/selinux/enforce');
  const swap = version2
    ? existsSync('/proc/swaps') && readFileSync('/proc/swaps', 'utf8').trim().split('\n').length > 1
    : existsSync('/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes');
  const result: [Feature, boolean][] = [
    ['cgroup-v2', version2],
    ['cgroup-v1', !version2],
    ['cpuset', controllers.includes('cpuset')],
    ['hugepages', controllers.includes('hugetlb')],
    ['swap', swap],
    ['seccomp', /^Seccomp:/m.test(readFileSync('/proc/self/status', 'utf8'))],
    ['apparmor', hasApparmor],
    ['no-apparmor', !hasApparmor],
    ['selinux', hasSelinux],
    ['no-selinux', !hasSelinux],
    ['checkpoint', existsSync('/usr/sbin/criu')],
  ];
  return result.filter(([, has]) => has).map(([feature]) => feature);
}
