import type { EndpointAddress, EndpointSubset, Endpoints, Pod, Service } from '../../../api/index.ts';
import { sameJson } from '../framework/controller.ts';
import { isPodFinished, isPodReady } from '../framework/pods.ts';
import { endpointHostname, familiesOf, podAddress, portsAtPod } from '../framework/service-pods.ts';

/** What to do with a Service's Endpoints object. */
export type EndpointsStep =
  | { kind: 'create'; endpoints: Pick<Endpoints, 'subsets'> & { metadata: Partial<Endpoints['metadata']> } }
  | { kind: 'update'; endpoints: Endpoints }
  | { kind: 'nothing' };

const triggerAnnotation = 'endpoints.kubernetes.io/last-change-trigger-time';
const managedLabel = 'endpoints.kubernetes.io/managed-by';
const headlessLabel = 'service.kubernetes.io/headless';
const overCapacity = 'endpoints.kubernetes.io/over-capacity';
/** Addresses that an Endpoints object holds at most. */
const maximumAddresses = 1000;

/** Brings the (older form of) Endpoints of a Service in line with its pods. */
export function planEndpoints(
  service: Service,
  pods: readonly Pod[],
  existing: Endpoints | undefined,
  triggerTime: string | undefined,
): EndpointsStep {
  const { subsets, truncated } = subsetsOf(service, pods);
  const labels: Record<string, string> = { ...service.metadata.labels, [managedLabel]: 'endpoint-controller' };
  delete labels[headlessLabel];
  if (service.spec?.clusterIP === 'None') labels[headlessLabel] = '';
  const annotations: Record<string, string> = { ...existing?.metadata.annotations };
  delete annotations[overCapacity];
  if (truncated) annotations[overCapacity] = 'truncated';
  const unchanged =
    existing &&
    sameJson(existing.subsets ?? [], subsets) &&
    sameJson(existing.metadata.labels ?? {}, labels) &&
    sameJson(existing.metadata.annotations ?? {}, annotations);
  if (unchanged) return { kind: 'nothing' };
  if (triggerTime) annotations[triggerAnnotation] = triggerTime;
  else delete annotations[triggerAnnotation];
  const { name, namespace } = service.metadata;
  if (existing) {
    return {
      kind: 'update',
      endpoints: { ...existing, metadata: { ...existing.metadata, labels, annotations }, subsets },
    };
  }
  return {
    kind: 'create',
    endpoints: { metadata: { name, ...(namespace ? { namespace } : {}), labels, annotations }, subsets },
  };
}

function subsetsOf(service: Service, pods: readonly Pod[]): { subsets: EndpointSubset[]; truncated: boolean } {
  const publishAll = service.spec?.publishNotReadyAddresses === true;
  const family = familiesOf(service)[0]!;
  const groups = new Map<string, EndpointSubset>();
  let count = 0;
  const readyFirst = [...pods].sort((a, b) => Number(isPodReady(b)) - Number(isPodReady(a)));
  for (const pod of readyFirst) {
    const ip = podAddress(pod, family);
    if (!ip || isPodFinished(pod) || (pod.metadata.deletionTimestamp && !publishAll)) continue;
    if (++count > maximumAddresses) break;
    const ports = portsAtPod(service, pod)
      .map(({ name, ...port }) => ({ ...(name ? { name } : {}), ...port }))
      .sort((a, b) => a.port - b.port || (a.name ?? '').localeCompare(b.name ?? ''));
    if (ports.length === 0 && (service.spec?.ports ?? []).length > 0) continue;
    const key = JSON.stringify(ports);
    const subset = groups.get(key) ?? (ports.length > 0 ? { ports } : {});
    groups.set(key, subset);
    const ready = publishAll || isPodReady(pod);
    const list = ready ? (subset.addresses ??= []) : (subset.notReadyAddresses ??= []);
    list.push(addressOf(service, pod, ip));
  }
  for (const subset of groups.values()) {
    for (const list of [subset.addresses, subset.notReadyAddresses]) list?.sort((a, b) => (a.ip < b.ip ? -1 : 1));
  }
  const subsets = [...groups].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, subset]) => subset);
  return { subsets, truncated: count > maximumAddresses };
}

function addressOf(service: Service, pod: Pod, ip: string): EndpointAddress {
  const hostname = endpointHostname(service, pod);
  const { namespace, name, uid } = pod.metadata;
  return {
    ip,
    ...(hostname ? { hostname } : {}),
    ...(pod.spec.nodeName ? { nodeName: pod.spec.nodeName } : {}),
    targetRef: { kind: 'Pod', ...(namespace ? { namespace } : {}), name, uid },
  };
}
