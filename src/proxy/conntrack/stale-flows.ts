import type { ConntrackSocket, Flow } from '../../host/conntrack/index.ts';
import type { IpFamily } from '../model/types.ts';
import { frontendKey } from '../plan/decide.ts';
import type { Frontend, PlanChange, ServicePortPlan } from '../plan/types.ts';

const udp = 17;
/** Flows looked at before other work gets a turn. */
const flowsPerTurn = 2000;

/**
 * Where UDP flows to a frontend may go. UDP has no end of its own: a client that keeps its port would go on to an
 * endpoint that is gone, or to nowhere, for as long as it sends. TCP and SCTP clients notice by themselves.
 */
export type FlowTargets = Map<string, Set<string>>;

/** The frontends whose flows may be stale after the changes, each with the destinations that are still right. */
export function targetsOfChanges(changes: Iterable<PlanChange>): FlowTargets {
  const targets: FlowTargets = new Map();
  for (const { before, after } of changes) {
    for (const frontend of before?.protocol === 'UDP' ? before.frontends : [])
      if (!targets.has(frontendKey(frontend))) targets.set(frontendKey(frontend), new Set());
    if (after?.protocol === 'UDP') addTargets(targets, after);
  }
  return targets;
}

/** The same for everything there is: after a start, when it is not known what changed. */
export function targetsOfPlans(plans: Iterable<ServicePortPlan>): FlowTargets {
  const targets: FlowTargets = new Map();
  for (const plan of plans) if (plan.protocol === 'UDP') addTargets(targets, plan);
  return targets;
}

function addTargets(targets: FlowTargets, plan: ServicePortPlan): void {
  for (const frontend of plan.frontends) targets.set(frontendKey(frontend), destinationsOf(plan, frontend));
}

function destinationsOf(plan: ServicePortPlan, frontend: Frontend): Set<string> {
  const internalLocal = frontend.kind === 'cluster-ip' && frontend.policy === 'local';
  const lists = internalLocal ? plan.local : [...plan.cluster, ...(frontend.policy === 'local' ? plan.local : [])];
  return new Set(lists.map((one) => `${one.address} ${one.port}`));
}

/** Whether a flow to a frontend goes where the frontend does not send any more. Pure. */
export function isStale(flow: Flow, targets: FlowTargets, isNodeAddress: (address: string) => boolean): boolean {
  const { destination, destinationPort } = flow.original;
  const allowed =
    targets.get(frontendKey({ address: destination, protocol: 'UDP', port: destinationPort })) ??
    (isNodeAddress(destination)
      ? targets.get(frontendKey({ address: '', protocol: 'UDP', port: destinationPort }))
      : undefined);
  return allowed !== undefined && !allowed.has(`${flow.reply.source} ${flow.reply.sourcePort}`);
}

/** Deletes stale flows. Gives how many. */
export async function deleteStaleFlows(
  socket: ConntrackSocket,
  targets: FlowTargets,
  options: { family: IpFamily; isNodeAddress: (address: string) => boolean; yield: () => Promise<void> },
): Promise<number> {
  if (targets.size === 0) return 0;
  let seen = 0;
  let deleted = 0;
  for (const flow of socket.list({ family: options.family, protocol: udp })) {
    if (isStale(flow, targets, options.isNodeAddress) && socket.delete(flow)) deleted++;
    if (++seen % flowsPerTurn === 0) await options.yield();
  }
  return deleted;
}
