import { readFile } from 'node:fs/promises';
import { ContainerState, PodSandboxState, RuntimeService } from '../api/cri/index.ts';
import { createGrpcClient, type GrpcClient } from '../wire/grpc/index.ts';

/** A call as the status describes it. */
interface DescribedCall {
  call: string;
  now?: string;
  milliseconds: number;
  startedAt: string;
}

type Runtime = GrpcClient<typeof RuntimeService>;

/**
 * Everything that a runtime knows of one pod, as lines for people: its sandbox, its containers with their processes, and
 * what the runtime is doing about it. `pod` is a name, `namespace/name`, or (the beginning of) an id.
 * @throws Error when there is none
 */
export async function explainPod(endpoint: string, pod: string): Promise<string> {
  const runtime = createGrpcClient(RuntimeService, endpoint);
  try {
    const { items } = await runtime.listPodSandbox({});
    const found = items.filter(
      ({ id, metadata }) =>
        id.startsWith(pod) || metadata?.name === pod || `${metadata?.namespace}/${metadata?.name}` === pod,
    );
    const ids = found.map(({ id }) => id);
    const names = found.length > 0 ? found.map(({ metadata }) => metadata?.name ?? '') : [pod.split('/').at(-1)!];
    const calls = await explainCalls(runtime, ids, names);
    if (found.length === 0) {
      if (calls) return `pod ${pod} has no sandbox (yet)\n${calls}`;
      const known = items.map(({ metadata }) => `${metadata?.namespace}/${metadata?.name}`).join(', ') || 'none';
      throw new Error(`there is no pod ${pod}: there are ${known}`);
    }
    return [...(await Promise.all(ids.map((id) => explainSandbox(runtime, id)))), calls].join('\n');
  } finally {
    runtime.close();
  }
}

const time = (ns: bigint): string => new Date(Number(ns / 1_000_000n)).toISOString();

async function explainSandbox(runtime: Runtime, podSandboxId: string): Promise<string> {
  const { status, info, containersStatuses } = await runtime.podSandboxStatus({ podSandboxId, verbose: true });
  const { metadata, state, createdAt, network } = status!;
  const facts = JSON.parse(info['info'] ?? '{}') as {
    cgroupParent?: string;
    namespaces?: Record<string, string>;
    pid?: number;
    network?: { kind?: string; networkName?: string };
  };
  const addresses = [network?.ip, ...(network?.additionalIps ?? []).map(({ ip }) => ip)].filter(Boolean).join(', ');
  const stats = await runtime.podSandboxStats({ podSandboxId }).catch(() => undefined);
  const { memory, process } = stats?.stats?.linux ?? {};
  const lines = [
    `pod ${metadata?.namespace}/${metadata?.name}, attempt ${metadata?.attempt}, uid ${metadata?.uid}`,
    `  sandbox     ${podSandboxId}, ${PodSandboxState[state]}, made ${time(createdAt)}`,
    `  network     ${addresses || "the host's, or none any more"}${facts.network?.kind ? ` by ${facts.network.kind} ${facts.network.networkName ?? ''}` : ''}`,
    `  cgroup      ${facts.cgroupParent}${memory ? `, ${mebibytes(memory.workingSetBytes?.value)} in use, ${process?.processCount?.value ?? 0} processes` : ''}`,
    ...Object.entries(facts.namespaces ?? {}).map(([kind, path]) => `  ${kind.padEnd(11)} ${path}`),
    ...(facts.pid ? [`  holder      process ${facts.pid}`] : []),
  ];
  const containers = await Promise.all(containersStatuses.map(({ id }) => explainContainer(runtime, id)));
  return [...lines, ...containers].join('\n');
}

const mebibytes = (bytes = 0n): string => `${Math.round(Number(bytes) / 2 ** 20)} MiB`;

async function explainContainer(runtime: Runtime, containerId: string): Promise<string> {
  const { status, info } = await runtime.containerStatus({ containerId, verbose: true });
  const { metadata, state, startedAt, finishedAt, exitCode, reason, message, image, logPath, mounts } = status!;
  const facts = JSON.parse(info['info'] ?? '{}') as { pid?: number; cgroupPath?: string };
  const life =
    state === ContainerState.CONTAINER_EXITED
      ? `ended ${time(finishedAt)} with ${exitCode} (${reason})${message ? `: ${message}` : ''}`
      : state === ContainerState.CONTAINER_RUNNING
        ? `runs since ${time(startedAt)}`
        : 'was never started';
  return [
    `  container   ${metadata?.name}, attempt ${metadata?.attempt}, ${containerId}`,
    `    ${life}`,
    `    image     ${image?.image}`,
    ...(logPath ? [`    log       ${logPath}`] : []),
    ...mounts.map((mount) => `    mount     ${mount.containerPath} from ${mount.hostPath || mount.image?.image}`),
    ...(facts.pid ? await explainProcesses(facts.pid) : []),
  ].join('\n');
}

/** A process with those below it: what state the kernel has them in, and where they wait. */
async function explainProcesses(pid: number, depth = 0): Promise<string[]> {
  const read = (name: string): Promise<string> => readFile(`/proc/${pid}/${name}`, 'utf8').catch(() => '');
  const [command, status, waits, children] = await Promise.all(
    ['cmdline', 'status', 'wchan', `task/${pid}/children`].map(read),
  );
  const state = /^State:\t(.*)$/m.exec(status ?? '')?.[1] ?? 'gone';
  const where = waits && waits !== '0' ? ` in ${waits}` : '';
  const line = `    process   ${'  '.repeat(depth)}${pid} ${(command ?? '').replaceAll('\0', ' ').trim().slice(0, 80)}, ${state}${where}`;
  const below = (children ?? '').trim().split(' ').filter(Boolean).map(Number);
  return [line, ...(await Promise.all(below.map((child) => explainProcesses(child, depth + 1)))).flat()];
}

/** The calls about sandboxes or pods that go on, or were slow. */
async function explainCalls(runtime: Runtime, ids: readonly string[], names: readonly string[]): Promise<string> {
  const { info } = await runtime.status({ verbose: true });
  if (!info['calls']) return '';
  const { inFlight, slow } = JSON.parse(info['calls']) as Record<'inFlight' | 'slow', DescribedCall[]>;
  const own = (call: string): boolean =>
    ids.some((id) => call.includes(id.slice(0, 13))) || names.some((name) => call.endsWith(`/${name}`));
  return [
    ...inFlight.filter(({ call }) => own(call)).map(({ call, now }) => `  now         ${call}: ${now}`),
    ...slow
      .filter(({ call }) => own(call))
      .map((one) => `  was slow    ${one.call}: ${one.milliseconds} ms from ${one.startedAt}`),
  ].join('\n');
}
