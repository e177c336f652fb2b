import type { Endpoint, EndpointSlice, Pod, Service } from '../../../api/index.ts';
import { controllerReference, sameJson } from '../framework/controller.ts';
import { isPodFinished, isPodReady } from '../framework/pods.ts';
import { endpointHostname, familiesOf, podAddress, portsAtPod } from '../framework/service-pods.ts';

/** What to do with a Service's slices. */
export type SliceStep =
  | { kind: 'create'; slice: Omit<EndpointSlice, 'metadata'> & { metadata: Partial<EndpointSlice['metadata']> } }
  | { kind: 'update'; slice: EndpointSlice }
  | { kind: 'delete'; slice: EndpointSlice };

/** What a plan is made from. */
export interface SliceFacts {
  service: Service;
  /** The pods that the selector accepts. */
  pods: readonly Pod[];
  /** The Service's slices that this controller manages. */
  slices: readonly EndpointSlice[];
  /** The zone of a node, if it is known. */
  zoneOf(node: string): string | undefined;
  /** When what led to this plan happened; see TriggerTimes. */
  triggerTime?: string;
}

export const managedByLabel = 'endpointslice.kubernetes.io/managed-by';
export const sliceManager = 'endpointslice-controller.k8s.io';
const serviceNameLabel = 'kubernetes.io/service-name';
const headlessLabel = 'service.kubernetes.io/headless';
const triggerAnnotation = 'endpoints.kubernetes.io/last-change-trigger-time';

/** Endpoints that a slice holds at most. */
export const endpointsPerSlice = 100;

interface Group {
  addressType: string;
  ports: NonNullable<EndpointSlice['ports']>;
  endpoints: Map<string, Endpoint>;
}

/**
 * Brings a Service's slices in line with its pods, changing as few as it can: endpoints stay in the slice they are in,
 * new ones fill slices that change anyway, then those with room, then new slices.
 */
export function planSlices(facts: SliceFacts): SliceStep[] {
  const groups = desiredGroups(facts);
  const steps: SliceStep[] = [];
  const kept = new Map<string, EndpointSlice[]>();
  for (const slice of facts.slices) {
    const key = groupKey(slice.addressType, slice.ports ?? []);
    if (!groups.has(key)) steps.push({ kind: 'delete', slice });
    else kept.set(key, [...(kept.get(key) ?? []), slice]);
  }
  for (const [key, group] of groups) steps.push(...planGroup(group, kept.get(key) ?? [], facts));
  return steps;
}

function desiredGroups(facts: SliceFacts): Map<string, Group> {
  const groups = new Map<string, Group>();
  const families = familiesOf(facts.service);
  for (const addressType of families) {
    for (const pod of facts.pods) {
      const address = podAddress(pod, addressType);
      if (!address || isPodFinished(pod)) continue;
      const ports = portsAtPod(facts.service, pod);
      const key = groupKey(addressType, ports);
      const group = groups.get(key) ?? { addressType, ports, endpoints: new Map() };
      group.endpoints.set(pod.metadata.uid, endpointOf(facts, pod, address));
      groups.set(key, group);
    }
    // A Service without endpoints says so with an empty slice.
    if (![...groups.values()].some((group) => group.addressType === addressType)) {
      groups.set(groupKey(addressType, []), { addressType, ports: [], endpoints: new Map() });
    }
  }
  return groups;
}

function groupKey(addressType: string, ports: NonNullable<EndpointSlice['ports']>): string {
  const parts = ports.map(
    ({ name = '', port, protocol = 'TCP', appProtocol = '' }) => `${name}:${port}:${protocol}:${appProtocol}`,
  );
  return `${addressType} ${parts.sort().join(' ')}`;
}

function endpointOf({ service, zoneOf }: SliceFacts, pod: Pod, address: string): Endpoint {
  const serving = isPodReady(pod);
  const terminating = pod.metadata.deletionTimestamp !== undefined;
  const hostname = endpointHostname(service, pod);
  const { nodeName } = pod.spec;
  const zone = nodeName ? zoneOf(nodeName) : undefined;
  const { namespace, name, uid } = pod.metadata;
  return {
    addresses: [address],
    conditions: {
      ready: service.spec?.publishNotReadyAddresses === true || (serving && !terminating),
      serving,
      terminating,
    },
    ...(hostname ? { hostname } : {}),
    targetRef: { kind: 'Pod', ...(namespace ? { namespace } : {}), name, uid },
    ...(nodeName ? { nodeName } : {}),
    ...(zone ? { zone } : {}),
  };
}

function planGroup(group: Group, slices: readonly EndpointSlice[], facts: SliceFacts): SliceStep[] {
  const steps: SliceStep[] = [];
  const waiting = new Map(group.endpoints);
  const labels = sliceLabels(facts.service);
  const filled = slices.map((slice) => {
    const endpoints = (slice.endpoints ?? []).flatMap((endpoint) => {
      const uid = endpoint.targetRef?.uid ?? '';
      const desired = waiting.get(uid);
      waiting.delete(uid);
      return desired ? [desired] : [];
    });
    const changed = !sameJson(endpoints, slice.endpoints ?? []) || !sameJson(labels, slice.metadata.labels);
    return { slice, endpoints, changed };
  });
  // Changed slices first, then the fullest: fewer writes, fewer slices.
  filled.sort((a, b) => Number(b.changed) - Number(a.changed) || b.endpoints.length - a.endpoints.length);
  const next = waiting.values();
  for (const entry of filled) {
    while (waiting.size > 0 && entry.endpoints.length < endpointsPerSlice) {
      const endpoint = next.next().value!;
      waiting.delete(endpoint.targetRef!.uid!);
      entry.endpoints.push(endpoint);
      entry.changed = true;
    }
  }
  const empty = filled.filter(({ endpoints }) => endpoints.length === 0);
  // One slice stays when all are empty.
  const spare = empty.length === filled.length && waiting.size === 0 ? empty.shift() : undefined;
  for (const { slice, endpoints, changed } of filled) {
    if (endpoints.length === 0 && slice !== spare?.slice) steps.push({ kind: 'delete', slice });
    else if (changed)
      steps.push({ kind: 'update', slice: { ...slice, ...contents(group, endpoints, facts, slice) } as EndpointSlice });
  }
  const rest = [...waiting.values()];
  while (rest.length > 0 || (filled.length === 0 && steps.length === 0)) {
    steps.push({ kind: 'create', slice: contents(group, rest.splice(0, endpointsPerSlice), facts) as never });
  }
  return steps;
}

function contents(group: Group, endpoints: Endpoint[], facts: SliceFacts, before?: EndpointSlice) {
  const { service, triggerTime } = facts;
  const annotations = { ...before?.metadata.annotations };
  if (triggerTime) annotations[triggerAnnotation] = triggerTime;
  else delete annotations[triggerAnnotation];
  const { namespace, name } = service.metadata;
  const fresh = {
    generateName: `${name}-`,
    namespace,
    ownerReferences: [controllerReference(service, 'v1', 'Service')],
  };
  return {
    metadata: { ...(before?.metadata ?? fresh), labels: sliceLabels(service), annotations },
    addressType: group.addressType,
    endpoints,
    ports: group.ports,
  };
}

function sliceLabels(service: Service): Record<string, string> {
  const labels: Record<string, string> = { ...service.metadata.labels };
  for (const name of [serviceNameLabel, managedByLabel, headlessLabel]) delete labels[name];
  labels[serviceNameLabel] = service.metadata.name;
  labels[managedByLabel] = sliceManager;
  if (service.spec?.clusterIP === 'None') labels[headlessLabel] = '';
  return labels;
}
