import { ageOf } from './human-duration.ts';

const none = '<none>';

/** What is counted while a pod's containers are looked through. */
interface Summary {
  reason: string;
  ready: number;
  restarts: number;
  sidecarRestarts: number;
  lastRestart: number;
  initializing: boolean;
}

/** The row of a pod: Name, Ready, Status, Restarts, Age, IP, Node, Nominated Node, Readiness Gates. */
export function podCells(pod: any, now: number): (string | number)[] {
  const { metadata, spec = {}, status = {} } = pod;
  const summary: Summary = {
    reason: status.reason || status.phase || '',
    ready: 0,
    restarts: 0,
    sidecarRestarts: 0,
    lastRestart: 0,
    initializing: false,
  };
  const gated = status.conditions?.find(
    ({ type, reason }: any) => type === 'PodScheduled' && reason === 'SchedulingGated',
  );
  if (gated) summary.reason = 'SchedulingGated';
  countInitContainers(spec, status, summary);
  if (!summary.initializing || hasCondition(status, 'Initialized')) countContainers(status, summary);
  if (metadata.deletionTimestamp && status.reason === 'NodeLost') summary.reason = 'Unknown';
  else if (metadata.deletionTimestamp && !['Failed', 'Succeeded'].includes(status.phase))
    summary.reason = 'Terminating';
  const sidecars = (spec.initContainers ?? []).filter(isSidecar).length;
  const total = (spec.containers?.length ?? 0) + sidecars;
  const ago = summary.restarts > 0 && summary.lastRestart > 0;
  return [
    metadata.name,
    `${summary.ready}/${total}`,
    summary.reason,
    ago
      ? `${summary.restarts} (${ageOf(new Date(summary.lastRestart).toISOString(), now)} ago)`
      : String(summary.restarts),
    ageOf(metadata.creationTimestamp, now),
    status.podIPs?.[0]?.ip || status.podIP || none,
    spec.nodeName || none,
    status.nominatedNodeName || none,
    readinessGates(spec, status),
  ];
}

const isSidecar = (container: any): boolean => container.restartPolicy === 'Always';
const hasCondition = (status: any, type: string): boolean =>
  status.conditions?.some((one: any) => one.type === type && one.status === 'True') ?? false;

function noteRestart(container: any, summary: Summary): void {
  summary.restarts += container.restartCount ?? 0;
  const finished = container.lastState?.terminated?.finishedAt;
  if (finished) summary.lastRestart = Math.max(summary.lastRestart, Date.parse(finished));
}

function endReason(terminated: any): string {
  if (terminated.reason) return terminated.reason;
  return terminated.signal ? `Signal:${terminated.signal}` : `ExitCode:${terminated.exitCode}`;
}

function countInitContainers(spec: any, status: any, summary: Summary): void {
  const specs = new Map<string, any>((spec.initContainers ?? []).map((one: any) => [one.name, one]));
  for (const [index, container] of (status.initContainerStatuses ?? []).entries()) {
    noteRestart(container, summary);
    const sidecar = isSidecar(specs.get(container.name) ?? {});
    if (sidecar) summary.sidecarRestarts += container.restartCount ?? 0;
    const { terminated, waiting } = container.state ?? {};
    if (terminated?.exitCode === 0) continue;
    if (sidecar && container.started) {
      if (container.ready) summary.ready++;
      continue;
    }
    if (terminated) summary.reason = `Init:${endReason(terminated)}`;
    else if (waiting?.reason && waiting.reason !== 'PodInitializing') summary.reason = `Init:${waiting.reason}`;
    else summary.reason = `Init:${index}/${specs.size}`;
    summary.initializing = true;
    return;
  }
}

function countContainers(status: any, summary: Summary): void {
  summary.restarts = summary.sidecarRestarts;
  let running = false;
  for (const container of [...(status.containerStatuses ?? [])].reverse()) {
    noteRestart(container, summary);
    const { terminated, waiting, running: runs } = container.state ?? {};
    if (waiting?.reason) summary.reason = waiting.reason;
    else if (terminated) summary.reason = endReason(terminated);
    else if (container.ready && runs) {
      running = true;
      summary.ready++;
    }
  }
  if (summary.reason === 'Completed' && running)
    summary.reason = hasCondition(status, 'Ready') ? 'Running' : 'NotReady';
}

function readinessGates(spec: any, status: any): string {
  const gates = spec.readinessGates ?? [];
  if (gates.length === 0) return none;
  const open = gates.filter((gate: any) => hasCondition(status, gate.conditionType)).length;
  return `${open}/${gates.length}`;
}
