import { NamespaceMode, type RuntimeService } from '../../src/api/cri/index.ts';
import type { GrpcClient } from '../../src/wire/grpc/index.ts';

/** A CRI endpoint that is measured, and what was measured of it. */
export interface Peer {
  name: string;
  cri: GrpcClient<typeof RuntimeService>;
  image: string;
  logs: string;
  samples: Map<string, number[]>;
}

/** A pod that runs. */
export interface RunningPod {
  podSandboxId: string;
  containerId: string;
}

let count = 0;

/** Notes how long some work takes. */
export async function measure<T>(peer: Peer, step: string, work: () => Promise<T>): Promise<T> {
  const start = performance.now();
  const result = await work();
  const list = peer.samples.get(step) ?? [];
  peer.samples.set(step, [...list, performance.now() - start]);
  return result;
}

/** Makes a pod as a kubelet does: sandbox, container, start. */
export async function runPod(peer: Peer): Promise<RunningPod> {
  const { cri } = peer;
  const name = `pod${++count}`;
  const namespaceOptions = { pid: NamespaceMode.CONTAINER };
  const config = {
    metadata: { name, namespace: 'bench', uid: `uid-${name}`, attempt: 0 },
    hostname: name,
    logDirectory: peer.logs,
    linux: { securityContext: { namespaceOptions } },
  };
  const container = {
    metadata: { name: 'main', attempt: 0 },
    image: { image: peer.image },
    command: ['sleep', '100000'],
    logPath: `${name}.log`,
    linux: { securityContext: { namespaceOptions, seccomp: {} } },
  };
  return measure(peer, 'sandbox + create + start', async () => {
    const { podSandboxId } = await measure(peer, 'RunPodSandbox', () => cri.runPodSandbox({ config }));
    const request = { podSandboxId, config: container, sandboxConfig: config };
    const { containerId } = await measure(peer, 'CreateContainer', () => cri.createContainer(request));
    await measure(peer, 'StartContainer', () => cri.startContainer({ containerId }));
    return { podSandboxId, containerId };
  });
}

/** Takes a pod away as a kubelet does. */
export async function removePod(peer: Peer, { podSandboxId, containerId }: RunningPod): Promise<void> {
  const { cri } = peer;
  await measure(peer, 'stop and remove', async () => {
    await measure(peer, 'StopContainer', () => cri.stopContainer({ containerId, timeout: 0n }));
    await measure(peer, 'RemoveContainer', () => cri.removeContainer({ containerId }));
    await measure(peer, 'StopPodSandbox', () => cri.stopPodSandbox({ podSandboxId }));
    await measure(peer, 'RemovePodSandbox', () => cri.removePodSandbox({ podSandboxId }));
  });
}

/** One pod after another, the peers taking turns, so that what else the machine does meets them alike. */
export async function measureOneByOne(peers: readonly Peer[], pods: number): Promise<void> {
  for (let index = 0; index < pods; index++) {
    for (const peer of peers) {
      const pod = await runPod(peer);
      const { containerId } = pod;
      await measure(peer, 'ExecSync of true', () => peer.cri.execSync({ containerId, cmd: ['true'], timeout: 20n }));
      await removePod(peer, pod);
    }
  }
}

/** Many pods at once. Gives the seconds until all run, and until all are gone. */
export async function measureBurst(peer: Peer, pods: number): Promise<{ runSeconds: number; goneSeconds: number }> {
  // What single pods take in a crowd is not what single pods take.
  const crowd = { ...peer, samples: new Map() };
  const started = performance.now();
  const running = await Promise.all(Array.from({ length: pods }, () => runPod(crowd)));
  const made = performance.now();
  await Promise.all(running.map((pod) => removePod(crowd, pod)));
  return { runSeconds: (made - started) / 1000, goneSeconds: (performance.now() - made) / 1000 };
}
