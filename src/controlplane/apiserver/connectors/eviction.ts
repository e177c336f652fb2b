import { matchLabelSelector } from '../../../api/index.ts';
import type { Clock } from '../../../async/index.ts';
import type { Connector, ConnectRequest, Registry } from '../extension-points.ts';
import { notFound, StatusError } from '../status-error.ts';
import { badRequest, methodNotAllowed, success, toTime } from './answers.ts';

const budgets = 'policy/poddisruptionbudgets';

/** pods/eviction: deletes a pod unless a PodDisruptionBudget is against it. */
export function createEviction(clock: Clock): Connector {
  return async (request) => {
    if (request.method !== 'POST') throw methodNotAllowed();
    const { registry, namespace, name, body } = request;
    if (body?.metadata?.name && body.metadata.name !== name) {
      throw badRequest('name in URL does not match name in Eviction object');
    }
    const pod: any = registry.get('pods', namespace, name);
    if (!pod) throw notFound('', 'pods', name);
    const options = body?.deleteOptions ?? {};
    const wanted: string | undefined = options.preconditions?.uid;
    if (wanted && wanted !== pod.metadata.uid) throw changed(name, wanted, pod.metadata.uid);
    if (needsBudget(pod)) await askBudget(request, pod, clock.now());
    if (request.dryRun || options.dryRun?.length) return success();
    await registry.delete('pods', namespace, name, {
      uid: pod.metadata.uid,
      ...(options.gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds: options.gracePeriodSeconds }),
    });
    return success();
  };
}

function changed(name: string, wanted: string, found: string): StatusError {
  const why = `Precondition failed: UID in precondition: ${wanted}, UID in object meta: ${found}`;
  return new StatusError(409, 'Conflict', `Operation cannot be fulfilled on pods "${name}": ${why}`, {
    name,
    kind: 'pods',
  });
}

/** Pods that have ended, never began or are going already cost nobody anything. */
function needsBudget(pod: any): boolean {
  return !['Failed', 'Succeeded', 'Pending'].includes(pod.status?.phase) && !pod.metadata.deletionTimestamp;
}

const isReady = (pod: any): boolean =>
  pod.status?.conditions?.some(({ type, status }: any) => type === 'Ready' && status === 'True') ?? false;

async function askBudget(request: ConnectRequest, pod: any, now: number): Promise<void> {
  const { registry, namespace } = request;
  const matching = registry
    .list<any>(budgets, namespace)
    .filter(({ spec }) => matchLabelSelector(spec?.selector)(pod.metadata.labels));
  if (matching.length === 0) return;
  if (matching.length > 1) {
    const text = 'This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.';
    throw new StatusError(500, 'InternalError', text);
  }
  const budget = matching[0];
  const { allowed, healthy, desired } = allowance(registry, budget, namespace);
  if (!isReady(pod)) {
    const policy: string = budget.spec?.unhealthyPodEvictionPolicy ?? 'IfHealthyBudget';
    if (policy === 'AlwaysAllow' || healthy >= desired) return;
  }
  if (allowed <= 0) throw tooMany(budget.metadata.name, healthy, desired);
  if (request.dryRun) return;
  await registry.update<any>(budgets, namespace, budget.metadata.name, (found) => {
    const status = found.status ?? {};
    return {
      ...found,
      status: {
        ...status,
        disruptionsAllowed: Math.max(0, allowed - 1),
        disruptedPods: { ...status.disruptedPods, [pod.metadata.name]: toTime(now) },
      },
    };
  });
}

/** How many pods may still go: counted from the pods, because what the budget's status says may be old. */
function allowance(registry: Registry, budget: any, namespace: string) {
  const selected = matchLabelSelector(budget.spec?.selector);
  const pods = registry
    .list<any>('pods', namespace)
    .filter((one) => selected(one.metadata.labels) && !['Failed', 'Succeeded'].includes(one.status?.phase));
  const going = new Set(Object.keys(budget.status?.disruptedPods ?? {}));
  const healthy = pods.filter(
    (one) => isReady(one) && !one.metadata.deletionTimestamp && !going.has(one.metadata.name),
  ).length;
  const expected = pods.length;
  const { minAvailable, maxUnavailable } = budget.spec ?? {};
  const desired =
    maxUnavailable !== undefined
      ? Math.max(0, expected - scaled(maxUnavailable, expected))
      : scaled(minAvailable ?? 1, expected);
  return { allowed: healthy - desired, healthy, desired };
}

/** A number, or a part of the total rounded up. */
function scaled(value: number | string, total: number): number {
  return typeof value === 'number' ? value : Math.ceil((Number.parseInt(value, 10) * total) / 100);
}

function tooMany(budget: string, healthy: number, desired: number): StatusError {
  const text = "Cannot evict pod as it would violate the pod's disruption budget.";
  const message = `The disruption budget ${budget} needs ${desired} healthy pods and has ${healthy} currently`;
  return new StatusError(429, 'TooManyRequests', text, { causes: [{ reason: 'DisruptionBudget', message }] }, 10);
}
