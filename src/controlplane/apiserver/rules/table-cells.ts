/** The rows of tables, in the order of the columns of each kind. */
import { formatLabelSelector } from '../../../api/index.ts';
import { ageOf, humanDuration } from './human-duration.ts';

/** Makes the cells of one object. */
export type Cells = (object: any, now: number) => (string | number | boolean)[];

const none = '<none>';
const unset = '<unset>';
const unknown = '<unknown>';
const join = (list: readonly string[] | undefined, separator = ','): string => list?.join(separator) || none;
const labels = (map: Record<string, string> | undefined): string =>
  join(
    Object.entries(map ?? {})
      .sort()
      .map(([key, value]) => `${key}=${value}`),
  );
const selectorText = (selector: any): string => (selector ? formatLabelSelector(selector) || none : none);
const age = (object: any, now: number): string => ageOf(object.metadata.creationTimestamp, now);
const containerNames = (template: any): string => join((template?.spec?.containers ?? []).map(({ name }: any) => name));
const images = (template: any): string => join((template?.spec?.containers ?? []).map(({ image }: any) => image));
const nameOf = (object: any): string => object.metadata.name;

const deployment: Cells = (object, now) => {
  const { spec = {}, status = {} } = object;
  return [
    nameOf(object),
    `${status.readyReplicas ?? 0}/${spec.replicas ?? 0}`,
    String(status.updatedReplicas ?? 0),
    String(status.availableReplicas ?? 0),
    age(object, now),
    containerNames(spec.template),
    images(spec.template),
    selectorText(spec.selector),
  ];
};

const replicaSet: Cells = (object, now) => {
  const { spec = {}, status = {} } = object;
  const selector =
    spec.selector?.matchLabels || spec.selector?.matchExpressions ? selectorText(spec.selector) : labels(spec.selector);
  return [
    nameOf(object),
    spec.replicas ?? 0,
    status.replicas ?? 0,
    status.readyReplicas ?? 0,
    age(object, now),
    containerNames(spec.template),
    images(spec.template),
    selector,
  ];
};

const daemonSet: Cells = (object, now) => {
  const { spec = {}, status = {} } = object;
  return [
    nameOf(object),
    status.desiredNumberScheduled ?? 0,
    status.currentNumberScheduled ?? 0,
    status.numberReady ?? 0,
    status.updatedNumberScheduled ?? 0,
    status.numberAvailable ?? 0,
    labels(spec.template?.spec?.nodeSelector),
    age(object, now),
    containerNames(spec.template),
    images(spec.template),
    selectorText(spec.selector),
  ];
};

const statefulSet: Cells = (object, now) => {
  const { spec = {}, status = {} } = object;
  const ready = `${status.readyReplicas ?? 0}/${spec.replicas ?? 0}`;
  return [nameOf(object), ready, age(object, now), containerNames(spec.template), images(spec.template)];
};

function jobStatus(job: any): string {
  const has = (type: string) =>
    job.status?.conditions?.some((one: any) => one.type === type && one.status === 'True') ?? false;
  if (has('Complete')) return 'Complete';
  if (has('Failed')) return 'Failed';
  if (job.metadata.deletionTimestamp) return 'Terminating';
  if (has('Suspended')) return 'Suspended';
  if (has('FailureTarget')) return 'FailureTarget';
  if (has('SuccessCriteriaMet')) return 'SuccessCriteriaMet';
  return 'Running';
}

const job: Cells = (object, now) => {
  const { spec = {}, status = {} } = object;
  const done = status.succeeded ?? 0;
  const { completions, parallelism = 0 } = spec;
  const completion =
    completions !== undefined ? `${done}/${completions}` : `${done}/1${parallelism > 1 ? ` of ${parallelism}` : ''}`;
  const end = status.completionTime ? Date.parse(status.completionTime) : now;
  return [
    nameOf(object),
    jobStatus(object),
    completion,
    status.startTime ? humanDuration(end - Date.parse(status.startTime)) : '',
    age(object, now),
    containerNames(spec.template),
    images(spec.template),
    selectorText(spec.selector),
  ];
};

const cronJob: Cells = (object, now) => {
  const { spec = {}, status = {} } = object;
  const template = spec.jobTemplate?.spec?.template;
  return [
    nameOf(object),
    spec.schedule,
    spec.timeZone ?? none,
    spec.suspend ?? false,
    status.active?.length ?? 0,
    status.lastScheduleTime ? ageOf(status.lastScheduleTime, now) : none,
    age(object, now),
    containerNames(template),
    images(template),
    selectorText(spec.jobTemplate?.spec?.selector),
  ];
};

function externalAddresses(service: any): string {
  const { spec, status = {} } = service;
  const outside: string[] = spec.externalIPs ?? [];
  if (spec.type === 'ExternalName') return spec.externalName ?? '';
  if (spec.type !== 'LoadBalancer') return join(outside);
  const balancer = (status.loadBalancer?.ingress ?? []).map(({ ip, hostname }: any) => ip || hostname);
  return [...balancer, ...outside].filter(Boolean).join(',') || '<pending>';
}

const service: Cells = (object, now) => {
  const { spec = {} } = object;
  const ports = (spec.ports ?? []).map(
    ({ port, nodePort, protocol }: any) => `${port}${nodePort ? `:${nodePort}` : ''}/${protocol}`,
  );
  return [
    nameOf(object),
    spec.type,
    spec.clusterIPs?.[0] || spec.clusterIP || none,
    externalAddresses(object),
    join(ports),
    age(object, now),
    labels(spec.selector),
  ];
};

const rolePrefix = 'node-role.kubernetes.io/';

const node: Cells = (object, now) => {
  const { spec = {}, status = {} } = object;
  const ready = (status.conditions ?? []).find(({ type }: any) => type === 'Ready');
  const words = [ready ? (ready.status === 'True' ? 'Ready' : 'NotReady') : 'Unknown'];
  if (spec.unschedulable) words.push('SchedulingDisabled');
  const roles = Object.entries<string>(object.metadata.labels ?? {})
    .map(([key, value]) =>
      key.startsWith(rolePrefix) ? key.slice(rolePrefix.length) : key === 'kubernetes.io/role' ? value : '',
    )
    .filter(Boolean);
  const address = (type: string) => status.addresses?.find((one: any) => one.type === type)?.address ?? none;
  const info = status.nodeInfo ?? {};
  return [
    nameOf(object),
    words.join(','),
    join([...new Set(roles)].sort()),
    age(object, now),
    info.kubeletVersion ?? '',
    address('InternalIP'),
    address('ExternalIP'),
    info.osImage || unknown,
    info.kernelVersion || unknown,
    info.containerRuntimeVersion || unknown,
  ];
};

function endpointsText(object: any): string {
  const list: string[] = [];
  for (const { addresses = [], ports = [] } of object.subsets ?? []) {
    for (const { ip } of addresses) {
      const host = ip.includes(':') ? `[${ip}]` : ip;
      if (ports.length === 0) list.push(ip);
      for (const { port } of ports) list.push(`${host}:${port}`);
    }
  }
  return list.length > 3 ? `${list.slice(0, 3).join(',')} + ${list.length - 3} more...` : join(list);
}

const limited = (list: string[]): string =>
  list.length > 3 ? `${list.slice(0, 3).join(',')} + ${list.length - 3} more...` : list.join(',') || unset;

const endpointSlice: Cells = (object, now) => {
  const addresses = (object.endpoints ?? []).flatMap((endpoint: any) => endpoint.addresses ?? []);
  const ports = (object.ports ?? []).map(({ port, name }: any) => (port == null ? (name ? name : '*') : String(port)));
  return [nameOf(object), object.addressType, limited(ports), limited(addresses), age(object, now)];
};

const event: Cells = (object, now) => {
  const about = object.involvedObject ?? {};
  const first = object.firstTimestamp ?? object.eventTime;
  const last = object.series?.lastObservedTime ?? object.lastTimestamp ?? first;
  const source = [
    object.source?.component ?? object.reportingComponent,
    object.source?.host ?? object.reportingInstance,
  ];
  const count = object.series?.count ?? object.count ?? 1;
  const name = `${(about.kind ?? '').toLowerCase()}/${about.name ?? ''}`;
  return [
    ageOf(last, now),
    object.type ?? '',
    object.reason ?? '',
    name,
    about.fieldPath ?? '',
    source.filter(Boolean).join(', '),
    (object.message ?? '').trim(),
    ageOf(first, now),
    String(count),
    nameOf(object),
  ];
};

/** Cells by `group/plural`. The rest is in more-table-cells.ts. */
export const tableCells: Readonly<Record<string, Cells>> = {
  services: service,
  nodes: node,
  endpoints: (object, now) => [nameOf(object), endpointsText(object), age(object, now)],
  events: event,
  replicationcontrollers: replicaSet,
  namespaces: (object, now) => [nameOf(object), object.status?.phase ?? '', age(object, now)],
  configmaps: (object, now) => {
    const count = Object.keys(object.data ?? {}).length + Object.keys(object.binaryData ?? {}).length;
    return [nameOf(object), String(count), age(object, now)];
  },
  secrets: (object, now) => [
    nameOf(object),
    object.type,
    String(Object.keys(object.data ?? {}).length),
    age(object, now),
  ],
  serviceaccounts: (object, now) => [nameOf(object), age(object, now)],
  podtemplates: (object) => [
    nameOf(object),
    containerNames(object.template),
    images(object.template),
    labels(object.template?.metadata?.labels),
  ],
  'apps/deployments': deployment,
  'apps/replicasets': replicaSet,
  'apps/daemonsets': daemonSet,
  'apps/statefulsets': statefulSet,
  'batch/jobs': job,
  'batch/cronjobs': cronJob,
  'discovery.k8s.io/endpointslices': endpointSlice,
};
