/** Pods and what a runtime has of them, for unit tests of the kubelet. */
import type { Container, Pod, PodSpec } from '../../api/index.ts';
import { containerHash } from '../pods/names.ts';
import type { RuntimeContainer, RuntimePod, RuntimeSandbox } from '../pods/runtime-state.ts';

/** A pod in namespace `default` with one container `main`, changed as asked. */
export function makePod(spec: Partial<PodSpec> = {}, metadata: Partial<Pod['metadata']> = {}): Pod {
  return {
    metadata: {
      name: 'web',
      namespace: 'default',
      uid: 'uid-1',
      resourceVersion: '1',
      creationTimestamp: '2026-01-01T00:00:00Z',
      generation: 1,
      ...metadata,
    },
    spec: { restartPolicy: 'Always', containers: [makeContainer('main')], ...spec },
  };
}

/** A container with an image. */
export function makeContainer(name: string, changes: Partial<Container> = {}): Container {
  return { name, image: 'example.test/app:1', ...changes };
}

/** A ready sandbox with an address. */
export function makeSandbox(changes: Partial<RuntimeSandbox> = {}): RuntimeSandbox {
  return {
    id: 'sandbox-0',
    podUid: 'uid-1',
    podName: 'web',
    podNamespace: 'default',
    attempt: 0,
    ready: true,
    createdAt: 1000,
    ips: ['10.0.0.2'],
    hostNetwork: false,
    ...changes,
  };
}

/** A running container of the sandbox `sandbox-0`. */
export function makeRuntimeContainer(name: string, changes: Partial<RuntimeContainer> = {}): RuntimeContainer {
  return {
    id: `${name}-${changes.restartCount ?? 0}`,
    podUid: 'uid-1',
    sandboxId: 'sandbox-0',
    name,
    state: 'running',
    restartCount: 0,
    hash: containerHash(makeContainer(name)),
    createdAt: 2000,
    startedAt: 2000,
    finishedAt: 0,
    exitCode: 0,
    reason: '',
    message: '',
    image: 'example.test/app:1',
    imageRef: 'sha256:1',
    logPath: '',
    annotations: {},
    mounts: [],
    ...changes,
  };
}

/** An ended container. */
export function makeEnded(name: string, exitCode: number, changes: Partial<RuntimeContainer> = {}): RuntimeContainer {
  return makeRuntimeContainer(name, { state: 'exited', exitCode, finishedAt: 3000, ...changes });
}

/** What the runtime has: newest first. */
export function makeRuntimePod(sandboxes: RuntimeSandbox[] = [], containers: RuntimeContainer[] = []): RuntimePod {
  return { uid: 'uid-1', name: 'web', namespace: 'default', sandboxes, containers };
}
