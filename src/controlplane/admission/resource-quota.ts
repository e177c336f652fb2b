import { canonicalQuantity, parseQuantity } from '../../api/index.ts';
import type { AdmissionPlugin, AdmissionRequest } from '../apiserver/extension-points.ts';
import { podRequests, qosClassOf } from '../apiserver/rules/index.ts';
import { isPodResize } from './pod-resize.ts';
import { isPodCreate, refuse } from './refuse.ts';

const unit = 1_000_000_000n;
type Usage = Map<string, bigint>;

/** Names of the counted kinds in quotas, beside `count/plural.group`. */
const counted = new Set([
  'pods',
  'services',
  'configmaps',
  'secrets',
  'persistentvolumeclaims',
  'replicationcontrollers',
  'resourcequotas',
]);

/** What one object counts as. Pods that have ended count nothing but their presence. */
function usageOf(plural: string, group: string, object: any): Usage {
  const usage: Usage = new Map();
  usage.set(group ? `count/${plural}.${group}` : `count/${plural}`, unit);
  if (group !== '') return usage;
  if (plural === 'pods') {
    if (['Failed', 'Succeeded'].includes(object.status?.phase)) return usage;
    usage.set('pods', unit);
    for (const [name, value] of podRequests(object.spec)) {
      usage.set(`requests.${name}`, value);
      if (['cpu', 'memory', 'ephemeral-storage'].includes(name)) usage.set(name, value);
    }
    for (const [name, value] of podRequests(object.spec, 'limits')) usage.set(`limits.${name}`, value);
  } else if (counted.has(plural)) usage.set(plural, unit);
  if (plural === 'services') {
    if (object.spec?.type === 'LoadBalancer') usage.set('services.loadbalancers', unit);
    const ports = (object.spec?.ports ?? []).filter((port: any) => port.nodePort || object.spec.type === 'NodePort');
    if (object.spec?.type === 'NodePort' || object.spec?.type === 'LoadBalancer') {
      usage.set('services.nodeports', unit * BigInt(ports.length));
    }
  }
  if (plural === 'persistentvolumeclaims') {
    const storage = object.spec?.resources?.requests?.storage;
    if (storage !== undefined) usage.set('requests.storage', parseQuantity(storage));
  }
  return usage;
}

/** Whether a quota with scopes speaks of the pod. */
function inScope(quota: any, pod: any): boolean {
  const scopes: string[] = quota.spec?.scopes ?? [];
  return scopes.every((scope) => {
    const bestEffort = qosClassOf(pod.spec) === 'BestEffort';
    const terminating = pod.spec.activeDeadlineSeconds != null;
    if (scope === 'BestEffort') return bestEffort;
    if (scope === 'NotBestEffort') return !bestEffort;
    if (scope === 'Terminating') return terminating;
    if (scope === 'NotTerminating') return !terminating;
    return scope !== 'PriorityClass' || pod.spec.priorityClassName !== undefined;
  });
}

const show = (value: bigint): string =>
  value % unit === 0n ? canonicalQuantity(String(value / unit)) : canonicalQuantity(`${value}n`);

/** Keeps a namespace below what its quotas allow. What is used is counted from the objects that are there. */
export function resourceQuota(): AdmissionPlugin {
  return {
    name: 'ResourceQuota',
    validate: (request) => {
      const { operation, subresource, namespace, registry, resource, object } = request;
      const resize = isPodResize(request);
      if ((!resize && (operation !== 'CREATE' || subresource !== '')) || namespace === '') return;
      const quotas = registry.list<any>('resourcequotas', namespace);
      if (quotas.length === 0) return;
      const added = resize
        ? growth(usageOf('pods', '', request.oldObject), usageOf('pods', '', object))
        : usageOf(resource.plural, resource.group, object);
      for (const quota of quotas) {
        if (resource.plural === 'pods' && !inScope(quota, object)) continue;
        if (resource.plural !== 'pods' && quota.spec?.scopes?.length) continue;
        checkQuota(request, quota, added);
      }
    },
  };
}

/** What a change makes more; what shrinks or stays is not looked at. */
function growth(before: Usage, now: Usage): Usage {
  const added = [...now].map(([name, value]) => [name, value - (before.get(name) ?? 0n)] as const);
  return new Map(added.filter(([, value]) => value > 0n));
}

function checkQuota(request: AdmissionRequest, quota: any, added: Usage): void {
  const { registry, namespace, resource } = request;
  const hard: Record<string, string> = quota.spec?.hard ?? {};
  const names = Object.keys(hard).filter((name) => added.has(name));
  if (isPodCreate(request)) {
    const computed = Object.keys(hard).filter((name) => /^(requests\.|limits\.)?(cpu|memory)$/.test(name));
    const unsaid = computed.filter((name) => !added.has(name));
    if (unsaid.length > 0)
      throw refuse(request, `failed quota: ${quota.metadata.name}: must specify ${unsaid.join(',')}`);
  }
  if (names.length === 0) return;
  const key = resource.group ? `${resource.group}/${resource.plural}` : resource.plural;
  const used: Usage = new Map();
  for (const object of registry.list<any>(key, namespace)) {
    if (resource.plural === 'pods' && !inScope(quota, object)) continue;
    for (const [name, value] of usageOf(resource.plural, resource.group, object)) {
      used.set(name, (used.get(name) ?? 0n) + value);
    }
  }
  const over = names.filter((name) => (used.get(name) ?? 0n) + added.get(name)! > parseQuantity(hard[name]!));
  if (over.length === 0) return;
  const list = (value: (name: string) => string) => over.map((name) => `${name}=${value(name)}`).join(',');
  throw refuse(
    request,
    `exceeded quota: ${quota.metadata.name}, requested: ${list((name) => show(added.get(name)!))}, used: ${list((name) => show(used.get(name) ?? 0n))}, limited: ${list((name) => hard[name]!)}`,
  );
}
