import type { DaemonSet, Node, Pod, PodSpec, Toleration } from '../../../api/index.ts';
import { podSelectsNode, tolerates } from '../../scheduler/index.ts';
import { timeMs } from '../framework/controller.ts';
import { isPodAvailable, isPodReady, scaledValue } from '../framework/pods.ts';
import { revisionHashLabel } from '../framework/revisions.ts';

/** What to do for a DaemonSet. */
export interface DaemonPlan {
  /** Nodes that need a pod. */
  create: string[];
  remove: Pod[];
  /** Failed pods among those to remove, for the event. */
  failed: Pod[];
}

/** What a plan is made from. */
export interface DaemonFacts {
  set: DaemonSet;
  nodes: readonly Node[];
  pods: readonly Pod[];
  /** Hash of the current template. */
  hash: string;
  now: number;
}

const exists = (key: string, effect: string): Toleration => ({
  key: `node.kubernetes.io/${key}`,
  operator: 'Exists',
  effect,
});

/** Daemons stay on nodes in trouble: that is where they are needed. */
export function daemonTolerations(spec: PodSpec): Toleration[] {
  return [
    exists('not-ready', 'NoExecute'),
    exists('unreachable', 'NoExecute'),
    exists('disk-pressure', 'NoSchedule'),
    exists('memory-pressure', 'NoSchedule'),
    exists('pid-pressure', 'NoSchedule'),
    exists('unschedulable', 'NoSchedule'),
    ...(spec.hostNetwork ? [exists('network-unavailable', 'NoSchedule')] : []),
  ];
}

/** Whether the set wants a pod on the node, and whether one that is there may stay. */
export function nodeWants(set: DaemonSet, node: Node): { run: boolean; stay: boolean } {
  const spec = set.spec!.template.spec;
  const pod = { metadata: {}, spec } as Pod;
  if ((spec.nodeName && spec.nodeName !== node.metadata.name) || !podSelectsNode(pod, node))
    return { run: false, stay: false };
  const tolerations = [...(spec.tolerations ?? []), ...daemonTolerations(spec)];
  const untolerated = (node.spec?.taints ?? []).filter((taint) => !tolerates(tolerations, taint));
  return {
    run: !untolerated.some(({ effect }) => effect === 'NoSchedule' || effect === 'NoExecute'),
    stay: !untolerated.some(({ effect }) => effect === 'NoExecute'),
  };
}

/** The node that a daemon's pod is for: where it is, or where its affinity pins it. */
export function targetNode(pod: Pod): string | undefined {
  if (pod.spec.nodeName) return pod.spec.nodeName;
  const required = pod.spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  for (const { matchFields = [] } of required?.nodeSelectorTerms ?? []) {
    const field = matchFields.find(({ key, operator }) => key === 'metadata.name' && operator === 'In');
    if (field) return field.values?.[0];
  }
  return undefined;
}

/** A template's spec, pinned to a node by affinity: the scheduler still decides whether it fits. */
export function pinnedSpec(spec: PodSpec, node: string): PodSpec {
  const matchFields = [{ key: 'metadata.name', operator: 'In', values: [node] }];
  const before = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
  const nodeSelectorTerms = before?.length ? before.map((term) => ({ ...term, matchFields })) : [{ matchFields }];
  const present = spec.tolerations ?? [];
  const added = daemonTolerations(spec).filter(
    (one) => !present.some(({ key, effect }) => key === one.key && effect === one.effect),
  );
  return {
    ...structuredClone(spec),
    affinity: {
      ...spec.affinity,
      nodeAffinity: {
        ...spec.affinity?.nodeAffinity,
        requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms },
      },
    },
    tolerations: [...present, ...added],
  };
}

/** The pods of a set by the node that they are for. */
export function podsByNode(pods: readonly Pod[]): Map<string, Pod[]> {
  const byNode = new Map<string, Pod[]>();
  for (const pod of pods) {
    const node = targetNode(pod) ?? '';
    byNode.set(node, [...(byNode.get(node) ?? []), pod]);
  }
  return byNode;
}

/** One pod on each node that wants one, none elsewhere; then old pods give way to new ones as the strategy allows. */
export function planDaemons(facts: DaemonFacts): DaemonPlan {
  const plan: DaemonPlan = { create: [], remove: [], failed: [] };
  const byNode = podsByNode(facts.pods);
  const names = new Set(facts.nodes.map(({ metadata }) => metadata.name));
  for (const node of facts.nodes) planNode(facts, node, byNode.get(node.metadata.name) ?? [], plan);
  for (const [name, pods] of byNode) if (!names.has(name)) plan.remove.push(...pods.filter(isAlive));
  if (plan.create.length === 0 && facts.set.spec?.updateStrategy?.type !== 'OnDelete') planUpdate(facts, byNode, plan);
  return plan;
}

function isAlive(pod: Pod): boolean {
  return !pod.metadata.deletionTimestamp;
}

function planNode({ set, hash }: DaemonFacts, node: Node, pods: readonly Pod[], plan: DaemonPlan): void {
  const { run, stay } = nodeWants(set, node);
  const alive = pods.filter(isAlive);
  if (!stay) return void plan.remove.push(...alive);
  const failed = alive.filter(({ status }) => status?.phase === 'Failed' || status?.phase === 'Succeeded');
  plan.remove.push(...failed);
  plan.failed.push(...failed.filter(({ status }) => status?.phase === 'Failed'));
  const good = alive.filter((pod) => !failed.includes(pod));
  // A node that has one too many keeps the oldest; during a surge one old and one new may be there.
  const old = good.filter(({ metadata }) => metadata.labels?.[revisionHashLabel] !== hash).sort(byAge);
  const fresh = good.filter(({ metadata }) => metadata.labels?.[revisionHashLabel] === hash).sort(byAge);
  const surging = surgeOf(set, 1) > 0;
  if (surging) plan.remove.push(...old.slice(1), ...fresh.slice(1));
  else plan.remove.push(...[...fresh, ...old].sort(byAge).slice(1));
  // A pod that is still leaving keeps its place, unless the set surges.
  if (run && good.length === 0 && (surging || pods.every(isAlive))) plan.create.push(node.metadata.name);
}

function byAge(a: Pod, b: Pod): number {
  return timeMs(a.metadata.creationTimestamp) - timeMs(b.metadata.creationTimestamp);
}
function surgeOf({ spec }: DaemonSet, nodes: number): number {
  return scaledValue(spec?.updateStrategy?.rollingUpdate?.maxSurge ?? 0, nodes, true);
}

function planUpdate(
  { set, nodes, hash, now }: DaemonFacts,
  byNode: ReadonlyMap<string, Pod[]>,
  plan: DaemonPlan,
): void {
  const wanting = nodes.filter((node) => nodeWants(set, node).run);
  const minReady = set.spec?.minReadySeconds ?? 0;
  const surge = surgeOf(set, wanting.length);
  const limit = scaledValue(set.spec?.updateStrategy?.rollingUpdate?.maxUnavailable ?? 1, wanting.length, true);
  const removing = new Set(plan.remove);
  const available = (pod: Pod) => isAlive(pod) && !removing.has(pod) && isPodAvailable(pod, minReady, now);
  const isNew = ({ metadata }: Pod) => metadata.labels?.[revisionHashLabel] === hash;
  let unavailable = 0;
  let surging = 0;
  const idle: Pod[] = [];
  const candidates: { node: string; pod: Pod }[] = [];
  for (const { metadata } of wanting) {
    const pods = (byNode.get(metadata.name) ?? []).filter((pod) => isAlive(pod) && !removing.has(pod));
    const old = pods.find((pod) => !isNew(pod));
    const fresh = pods.find(isNew);
    if (!pods.some(available)) unavailable++;
    if (!old) continue;
    if (fresh && surge > 0) {
      if (available(fresh)) plan.remove.push(old);
      else surging++;
    } else if (!isPodReady(old)) idle.push(old);
    else candidates.push({ node: metadata.name, pod: old });
  }
  if (surge > 0) {
    const waiting = [...idle.map((pod) => targetNode(pod)!), ...candidates.map(({ node }) => node)];
    plan.create.push(...waiting.slice(0, Math.max(0, surge - surging)));
    return;
  }
  // Pods that do not work can be replaced at no cost.
  plan.remove.push(
    ...idle,
    ...candidates.slice(0, Math.max(0, Math.max(1, limit) - unavailable)).map(({ pod }) => pod),
  );
}
