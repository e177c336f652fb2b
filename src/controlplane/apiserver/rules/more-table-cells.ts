/** The rows of tables of the kinds beside workloads and Services. */
import { formatLabelSelector } from '../../../api/index.ts';
import { ageOf } from './human-duration.ts';
import type { Cells } from './table-cells.ts';

const none = '<none>';
const unset = '<unset>';
const age = (object: any, now: number): string => ageOf(object.metadata.creationTimestamp, now);
const nameOf = (object: any): string => object.metadata.name;

const shortModes: Record<string, string> = {
  ReadWriteOnce: 'RWO',
  ReadOnlyMany: 'ROX',
  ReadWriteMany: 'RWX',
  ReadWriteOncePod: 'RWOP',
};
const modes = (list: string[] | undefined): string => (list ?? []).map((mode) => shortModes[mode] ?? mode).join(',');

const claim: Cells = (object, now) => {
  const { spec = {}, status = {} } = object;
  const bound = Boolean(spec.volumeName);
  return [
    nameOf(object),
    object.metadata.deletionTimestamp ? 'Terminating' : (status.phase ?? ''),
    spec.volumeName ?? '',
    bound ? (status.capacity?.storage ?? '') : '',
    bound ? modes(status.accessModes) : '',
    spec.storageClassName ?? '',
    spec.volumeAttributesClassName ?? unset,
    age(object, now),
    spec.volumeMode ?? unset,
  ];
};

const volume: Cells = (object, now) => {
  const { spec = {}, status = {} } = object;
  return [
    nameOf(object),
    spec.capacity?.storage ?? '',
    modes(spec.accessModes),
    spec.persistentVolumeReclaimPolicy ?? '',
    object.metadata.deletionTimestamp ? 'Terminating' : (status.phase ?? ''),
    spec.claimRef ? `${spec.claimRef.namespace}/${spec.claimRef.name}` : '',
    spec.storageClassName ?? '',
    spec.volumeAttributesClassName ?? unset,
    status.reason ?? '',
    age(object, now),
    spec.volumeMode ?? unset,
  ];
};

const storageClass: Cells = (object, now) => {
  const isDefault = object.metadata.annotations?.['storageclass.kubernetes.io/is-default-class'] === 'true';
  return [
    `${nameOf(object)}${isDefault ? ' (default)' : ''}`,
    object.provisioner,
    object.reclaimPolicy ?? 'Delete',
    object.volumeBindingMode ?? 'Immediate',
    String(object.allowVolumeExpansion ?? false),
    age(object, now),
  ];
};

const subjects = (object: any, kind: string): string =>
  (object.subjects ?? [])
    .filter((one: any) => one.kind === kind)
    .map(({ namespace, name }: any) => (kind === 'ServiceAccount' ? `${namespace ?? ''}/${name}` : name))
    .join(', ');

const binding: Cells = (object, now) => [
  nameOf(object),
  `${object.roleRef?.kind}/${object.roleRef?.name}`,
  age(object, now),
  subjects(object, 'User'),
  subjects(object, 'Group'),
  subjects(object, 'ServiceAccount'),
];

const ingress: Cells = (object, now) => {
  const { metadata, spec = {}, status = {} } = object;
  const hosts = (spec.rules ?? []).map(({ host }: any) => host || '*');
  const shown =
    hosts.length > 3 ? `${hosts.slice(0, 3).join(',')} + ${hosts.length - 3} more...` : hosts.join(',') || '*';
  const addresses = (status.loadBalancer?.ingress ?? []).map(({ ip, hostname }: any) => ip || hostname);
  const className = spec.ingressClassName ?? metadata.annotations?.['kubernetes.io/ingress.class'] ?? none;
  return [nameOf(object), className, shown, addresses.join(','), spec.tls?.length ? '80, 443' : '80', age(object, now)];
};

const budget: Cells = (object, now) => {
  const { spec = {}, status = {} } = object;
  const show = (value: unknown) => (value === undefined || value === null ? 'N/A' : String(value));
  return [
    nameOf(object),
    show(spec.minAvailable),
    show(spec.maxUnavailable),
    status.disruptionsAllowed ?? 0,
    age(object, now),
  ];
};

function metricText(spec: any, current: any): string {
  const target = spec.resource?.target ?? spec.pods?.target ?? spec.object?.target ?? spec.external?.target ?? {};
  const source = current?.resource?.current ?? current?.pods?.current ?? current?.object?.current ?? {};
  const label = spec.type === 'Resource' ? `${spec.resource?.name}: ` : '';
  if (target.averageUtilization !== undefined) {
    const now = source.averageUtilization === undefined ? '<unknown>' : `${source.averageUtilization}%`;
    return `${label}${now}/${target.averageUtilization}%`;
  }
  const now = source.averageValue ?? source.value ?? '<unknown>';
  return `${label}${now}/${target.averageValue ?? target.value ?? ''}`;
}

const autoscaler: Cells = (object, now) => {
  const { spec = {}, status = {} } = object;
  const targets = (spec.metrics ?? []).map((one: any, index: number) =>
    metricText(one, status.currentMetrics?.[index]),
  );
  return [
    nameOf(object),
    `${spec.scaleTargetRef?.kind}/${spec.scaleTargetRef?.name}`,
    targets.join(', ') || none,
    spec.minReplicas === undefined ? unset : String(spec.minReplicas),
    spec.maxReplicas ?? 0,
    status.currentReplicas ?? 0,
    age(object, now),
  ];
};

const quotaText = (status: any, match: (name: string) => boolean): string =>
  Object.keys(status.hard ?? {})
    .filter(match)
    .sort()
    .map((name) => `${name}: ${status.used?.[name] ?? 0}/${status.hard[name]}`)
    .join(', ');

const signingRequest: Cells = (object, now) => {
  const { spec = {}, status = {} } = object;
  const types: string[] = (status.conditions ?? []).map(({ type }: any) => type);
  const words: string[] = types.filter((type) => ['Approved', 'Denied'].includes(type));
  if (types.includes('Failed')) words.push('Failed');
  if (status.certificate) words.push('Issued');
  const duration = spec.expirationSeconds === undefined ? none : ageOfSeconds(spec.expirationSeconds, now);
  return [
    nameOf(object),
    age(object, now),
    spec.signerName,
    spec.username ?? '',
    duration,
    words.join(',') || 'Pending',
  ];
};

const ageOfSeconds = (seconds: number, now: number): string => ageOf(new Date(now - seconds * 1000).toISOString(), now);

const webhooks: Cells = (object, now) => [nameOf(object), object.webhooks?.length ?? 0, age(object, now)];
const plain: Cells = (object, now) => [nameOf(object), age(object, now)];
const created: Cells = (object) => [nameOf(object), object.metadata.creationTimestamp];
const rbac = 'rbac.authorization.k8s.io';
const admission = 'admissionregistration.k8s.io';

/** Cells by `group/plural`. */
export const moreTableCells: Readonly<Record<string, Cells>> = {
  persistentvolumeclaims: claim,
  persistentvolumes: volume,
  limitranges: created,
  resourcequotas: (object, now) => {
    const status = object.status?.hard ? object.status : { hard: object.spec?.hard };
    const isLimit = (name: string) => name.startsWith('limits.');
    return [nameOf(object), quotaText(status, (name) => !isLimit(name)), quotaText(status, isLimit), age(object, now)];
  },
  'storage.k8s.io/storageclasses': storageClass,
  'storage.k8s.io/csinodes': (object, now) => [nameOf(object), object.spec?.drivers?.length ?? 0, age(object, now)],
  'storage.k8s.io/csidrivers': (object, now) => {
    const { spec = {} } = object;
    return [
      nameOf(object),
      spec.attachRequired ?? true,
      spec.podInfoOnMount ?? false,
      spec.storageCapacity ?? false,
      (spec.tokenRequests ?? []).map(({ audience }: any) => audience).join(',') || unset,
      spec.requiresRepublish ?? false,
      (spec.volumeLifecycleModes ?? []).join(',') || none,
      age(object, now),
    ];
  },
  'storage.k8s.io/volumeattachments': (object, now) => [
    nameOf(object),
    object.spec?.attacher ?? '',
    object.spec?.source?.persistentVolumeName ?? '',
    object.spec?.nodeName ?? '',
    object.status?.attached ?? false,
    age(object, now),
  ],
  'storage.k8s.io/volumeattributesclasses': (object, now) => [
    nameOf(object),
    object.driverName ?? '',
    age(object, now),
  ],
  'storage.k8s.io/csistoragecapacities': created,
  [`${rbac}/roles`]: created,
  [`${rbac}/clusterroles`]: created,
  [`${rbac}/rolebindings`]: binding,
  [`${rbac}/clusterrolebindings`]: binding,
  'coordination.k8s.io/leases': (object, now) => [nameOf(object), object.spec?.holderIdentity ?? '', age(object, now)],
  'networking.k8s.io/ingresses': ingress,
  'networking.k8s.io/ingressclasses': (object, now) => {
    const reference = object.spec?.parameters;
    const text = reference
      ? `${reference.kind}${reference.apiGroup ? `.${reference.apiGroup}` : ''}/${reference.name}`
      : none;
    return [nameOf(object), object.spec?.controller ?? '', text, age(object, now)];
  },
  'networking.k8s.io/networkpolicies': (object, now) => {
    const selector = object.spec?.podSelector;
    return [nameOf(object), (selector && formatLabelSelector(selector)) || none, age(object, now)];
  },
  'networking.k8s.io/servicecidrs': (object, now) => [
    nameOf(object),
    (object.spec?.cidrs ?? []).join(','),
    age(object, now),
  ],
  'networking.k8s.io/ipaddresses': (object) => {
    const { group = '', resource = '', namespace, name } = object.spec?.parentRef ?? {};
    return [nameOf(object), [group, resource, namespace, name].filter(Boolean).join('/')];
  },
  'policy/poddisruptionbudgets': budget,
  'autoscaling/horizontalpodautoscalers': autoscaler,
  'certificates.k8s.io/certificatesigningrequests': signingRequest,
  'scheduling.k8s.io/priorityclasses': (object, now) => [
    nameOf(object),
    object.value ?? 0,
    object.globalDefault ?? false,
    age(object, now),
    object.preemptionPolicy ?? '',
  ],
  'node.k8s.io/runtimeclasses': (object, now) => [nameOf(object), object.handler ?? '', age(object, now)],
  'apps/controllerrevisions': (object, now) => {
    const owner = object.metadata.ownerReferences?.find(({ controller }: any) => controller);
    return [
      nameOf(object),
      owner ? `${owner.kind.toLowerCase()}.apps/${owner.name}` : none,
      object.revision ?? 0,
      age(object, now),
    ];
  },
  'apiextensions.k8s.io/customresourcedefinitions': created,
  'apiregistration.k8s.io/apiservices': (object, now) => {
    const reference = object.spec?.service;
    const condition = object.status?.conditions?.find(({ type }: any) => type === 'Available');
    const text =
      condition?.status === 'True'
        ? 'True'
        : `${condition?.status ?? 'Unknown'}${condition?.reason ? ` (${condition.reason})` : ''}`;
    return [nameOf(object), reference ? `${reference.namespace}/${reference.name}` : 'Local', text, age(object, now)];
  },
  [`${admission}/mutatingwebhookconfigurations`]: webhooks,
  [`${admission}/validatingwebhookconfigurations`]: webhooks,
  'resource.k8s.io/deviceclasses': plain,
  'resource.k8s.io/resourceclaimtemplates': plain,
};
