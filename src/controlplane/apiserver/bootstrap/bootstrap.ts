import type { Registry } from '../extension-points.ts';
import { type AddressRange, addressAt, systemPriorities } from '../rules/index.ts';
import { clusterRoleBindings, clusterRoles, roles } from './policy.ts';

/** What is made at first start, beside the policy. */
export interface BootstrapOptions {
  ranges: readonly AddressRange[];
  /** Where the API server is reached from pods and nodes. */
  advertise: { address: string; port: number };
  /** PEM of the cluster's authority, for clients that find it in the cluster. */
  clientCa?: string;
}

const group = 'rbac.authorization.k8s.io';
const apiVersion = `${group}/v1`;
const labels = { 'kubernetes.io/bootstrapping': 'rbac-defaults' };
const annotations = { 'rbac.authorization.kubernetes.io/autoupdate': 'true' };

function parseSubject(text: string): object {
  const [kind, ...rest] = text.split(':');
  if (kind === 'serviceaccount') return { kind: 'ServiceAccount', namespace: rest[0], name: rest.slice(1).join(':') };
  return { kind: kind === 'user' ? 'User' : 'Group', name: rest.join(':'), apiGroup: group };
}

interface Wanted {
  resource: string;
  object: any;
  /** Brings what is there up to date; undefined when it is. Without it, what is there stays. */
  refresh?: (object: any) => any;
}

/** Makes what is missing of the objects of every cluster, all in one commit, and brings the rest up to date. */
export async function bootstrapCluster(registry: Registry, options: BootstrapOptions): Promise<void> {
  const wanted = [...namespaces(), ...policy(), ...priorities(), ...services(options), ...configuration(options)];
  await Promise.all(wanted.map((one) => ensure(registry, one)));
}

async function ensure(registry: Registry, { resource, object, refresh }: Wanted): Promise<void> {
  const { namespace = '', name } = object.metadata;
  if (!registry.get(resource, namespace, name)) {
    await registry.create(resource, object);
    return;
  }
  if (refresh) await registry.update<any>(resource, namespace, name, (found) => refresh(found));
}

function namespaces(): Wanted[] {
  return ['default', 'kube-system', 'kube-public', 'kube-node-lease'].map((name) => ({
    resource: 'namespaces',
    object: { apiVersion: 'v1', kind: 'Namespace', metadata: { name } },
  }));
}

/** Rules of this version replace those of an older one, unless somebody forbade that on the object. */
function keepRules(rules: readonly unknown[]): (object: any) => any {
  return (object) => {
    const same = JSON.stringify(object.rules ?? []) === JSON.stringify(rules);
    if (same || object.metadata.annotations?.['rbac.authorization.kubernetes.io/autoupdate'] !== 'true')
      return undefined;
    return { ...object, rules };
  };
}

function policy(): Wanted[] {
  const clusterWide = Object.entries(clusterRoles).map(([name, rules]) => ({
    resource: `${group}/clusterroles`,
    object: { apiVersion, kind: 'ClusterRole', metadata: { name, labels, annotations }, rules },
    refresh: keepRules(rules),
  }));
  const bindings = Object.entries(clusterRoleBindings).map(([name, { role, subjects }]) => ({
    resource: `${group}/clusterrolebindings`,
    object: {
      apiVersion,
      kind: 'ClusterRoleBinding',
      metadata: { name, labels, annotations },
      roleRef: { apiGroup: group, kind: 'ClusterRole', name: role },
      ...(subjects.length > 0 ? { subjects: subjects.map(parseSubject) } : {}),
    },
  }));
  const local = Object.entries(roles).flatMap(([key, { rules, subjects }]) => {
    const [namespace, name] = [key.slice(0, key.indexOf('/')), key.slice(key.indexOf('/') + 1)];
    const metadata = { name, namespace, labels, annotations };
    return [
      { resource: `${group}/roles`, object: { apiVersion, kind: 'Role', metadata, rules }, refresh: keepRules(rules) },
      {
        resource: `${group}/rolebindings`,
        object: {
          apiVersion,
          kind: 'RoleBinding',
          metadata,
          roleRef: { apiGroup: group, kind: 'Role', name },
          subjects: subjects.map(parseSubject),
        },
      },
    ];
  });
  return [...clusterWide, ...bindings, ...local];
}

function priorities(): Wanted[] {
  const what: Record<string, string> = {
    'system-cluster-critical': 'For pods that the cluster cannot do without; they may move to another node.',
    'system-node-critical': 'For pods that their node cannot do without.',
  };
  return Object.entries(systemPriorities).map(([name, value]) => ({
    resource: 'scheduling.k8s.io/priorityclasses',
    object: {
      apiVersion: 'scheduling.k8s.io/v1',
      kind: 'PriorityClass',
      metadata: { name },
      value,
      description: what[name],
      preemptionPolicy: 'PreemptLowerPriority',
    },
  }));
}

/** The Services `kubernetes` (with where it leads) and `kube-dns`, and the range that addresses come from. */
function services({ ranges, advertise }: BootstrapOptions): Wanted[] {
  const [range] = ranges;
  if (!range) return [];
  const family = advertise.address.includes(':') ? 'IPv6' : 'IPv4';
  const port = { name: 'https', port: advertise.port, protocol: 'TCP' };
  const slice = {
    addressType: family,
    endpoints: [{ addresses: [advertise.address], conditions: { ready: true } }],
    ports: [port],
  };
  const subsets = [{ addresses: [{ ip: advertise.address }], ports: [port] }];
  const metadata = { name: 'kubernetes', namespace: 'default' };
  const provider = { component: 'apiserver', provider: 'kubernetes' };
  return [
    {
      resource: 'services',
      object: {
        metadata: { ...metadata, labels: provider },
        spec: {
          type: 'ClusterIP',
          clusterIP: addressAt(range, 1),
          ports: [{ name: 'https', port: 443, protocol: 'TCP', targetPort: advertise.port }],
        },
      },
      refresh: (found) =>
        found.spec.ports?.[0]?.targetPort === advertise.port
          ? undefined
          : { ...found, spec: { ...found.spec, ports: [{ ...found.spec.ports?.[0], targetPort: advertise.port }] } },
    },
    {
      resource: 'discovery.k8s.io/endpointslices',
      object: { metadata: { ...metadata, labels: { 'kubernetes.io/service-name': 'kubernetes' } }, ...slice },
      refresh: (found) => (sameAs(found, slice) ? undefined : { ...found, ...slice }),
    },
    {
      resource: 'endpoints',
      object: { metadata: { ...metadata, labels: { 'endpointslice.kubernetes.io/skip-mirror': 'true' } }, subsets },
      refresh: (found) => (sameAs(found, { subsets }) ? undefined : { ...found, subsets }),
    },
    {
      resource: 'networking.k8s.io/servicecidrs',
      object: { metadata: { name: 'kubernetes' }, spec: { cidrs: ranges.map(({ cidr }) => cidr) } },
    },
    dnsService(range),
  ];
}

/** The cluster's resolver at the tenth address; the resolver itself says where it is. */
function dnsService(range: AddressRange): Wanted {
  return {
    resource: 'services',
    object: {
      metadata: {
        name: 'kube-dns',
        namespace: 'kube-system',
        labels: { 'k8s-app': 'kube-dns', 'kubernetes.io/cluster-service': 'true', 'kubernetes.io/name': 'CoreDNS' },
      },
      spec: {
        type: 'ClusterIP',
        clusterIP: addressAt(range, 10),
        ports: [
          { name: 'dns', port: 53, protocol: 'UDP', targetPort: 53 },
          { name: 'dns-tcp', port: 53, protocol: 'TCP', targetPort: 53 },
        ],
      },
    },
  };
}

const sameAs = (found: any, wanted: Record<string, unknown>): boolean =>
  Object.entries(wanted).every(([key, value]) => JSON.stringify(found[key]) === JSON.stringify(value));

/** What clients of the cluster find out about its authority. */
function configuration({ clientCa }: BootstrapOptions): Wanted[] {
  if (!clientCa) return [];
  const data = { 'client-ca-file': clientCa };
  return [
    {
      resource: 'configmaps',
      object: { metadata: { name: 'extension-apiserver-authentication', namespace: 'kube-system' }, data },
      refresh: (found) => (found.data?.['client-ca-file'] === clientCa ? undefined : { ...found, data }),
    },
  ];
}
