/** The roles and bindings that every cluster begins with. */
import type { PolicyRule } from '../authz/index.ts';

const read = ['get', 'list', 'watch'];
const write = ['create', 'delete', 'deletecollection', 'patch', 'update'];
const everything = ['*'];
const none = [''];

const on = (apiGroups: string[], resources: string[], verbs: string[], resourceNames?: string[]): PolicyRule => ({
  apiGroups,
  resources,
  verbs,
  ...(resourceNames ? { resourceNames } : {}),
});
const paths = (nonResourceURLs: string[], verbs = ['get']): PolicyRule => ({ nonResourceURLs, verbs });
const events = [
  on(none, ['events'], ['create', 'patch', 'update']),
  on(['events.k8s.io'], ['events'], ['create', 'patch', 'update']),
];
const leader = on(['coordination.k8s.io'], ['leases'], ['create', 'get', 'list', 'update', 'watch', 'patch']);
const reviews = [
  on(['authentication.k8s.io'], ['tokenreviews'], ['create']),
  on(['authorization.k8s.io'], ['subjectaccessreviews'], ['create']),
];

/** What users of a namespace work with. */
const workloads: readonly (readonly [string[], string[]])[] = [
  [
    none,
    [
      'configmaps',
      'endpoints',
      'persistentvolumeclaims',
      'persistentvolumeclaims/status',
      'pods',
      'replicationcontrollers',
      'replicationcontrollers/scale',
      'serviceaccounts',
      'services',
      'services/status',
    ],
  ],
  [['discovery.k8s.io'], ['endpointslices']],
  [
    ['apps'],
    [
      'controllerrevisions',
      'daemonsets',
      'daemonsets/status',
      'deployments',
      'deployments/scale',
      'deployments/status',
      'replicasets',
      'replicasets/scale',
      'replicasets/status',
      'statefulsets',
      'statefulsets/scale',
      'statefulsets/status',
    ],
  ],
  [['autoscaling'], ['horizontalpodautoscalers', 'horizontalpodautoscalers/status']],
  [['batch'], ['cronjobs', 'cronjobs/status', 'jobs', 'jobs/status']],
  [['policy'], ['poddisruptionbudgets', 'poddisruptionbudgets/status']],
  [['networking.k8s.io'], ['ingresses', 'ingresses/status', 'networkpolicies']],
];

const viewRules: PolicyRule[] = [
  ...workloads.map(([groups, resources]) => on(groups, resources, read)),
  on(
    none,
    [
      'bindings',
      'events',
      'limitranges',
      'namespaces',
      'namespaces/status',
      'pods/log',
      'pods/status',
      'replicationcontrollers/status',
      'resourcequotas',
      'resourcequotas/status',
    ],
    read,
  ),
];

const editRules: PolicyRule[] = [
  ...workloads.map(([groups, resources]) =>
    on(
      groups,
      resources.filter((one) => !one.endsWith('/status')),
      write,
    ),
  ),
  on(
    none,
    ['pods/attach', 'pods/exec', 'pods/portforward', 'pods/proxy', 'services/proxy', 'secrets'],
    [...read, ...write],
  ),
  on(none, ['events'], write),
  on(none, ['pods/eviction', 'serviceaccounts/token'], ['create']),
  on(none, ['pods/resize', 'pods/ephemeralcontainers'], ['get', 'patch', 'update']),
  on(none, ['serviceaccounts'], ['impersonate']),
  on(['coordination.k8s.io'], ['leases'], [...read, ...write]),
];

const adminRules: PolicyRule[] = [
  on(['authorization.k8s.io'], ['localsubjectaccessreviews'], ['create']),
  on(['rbac.authorization.k8s.io'], ['rolebindings', 'roles'], [...read, ...write]),
];

const schedulerRules: PolicyRule[] = [
  ...events,
  leader,
  on(
    none,
    ['nodes', 'namespaces', 'persistentvolumeclaims', 'persistentvolumes', 'replicationcontrollers', 'services'],
    read,
  ),
  on(none, ['nodes'], ['patch', 'update']),
  on(none, ['pods'], ['delete', ...read]),
  on(none, ['bindings', 'pods/binding'], ['create']),
  on(none, ['pods/status'], ['patch', 'update']),
  on(none, ['persistentvolumeclaims', 'persistentvolumes'], ['patch', 'update']),
  on(['apps'], ['replicasets', 'statefulsets'], read),
  on(['policy'], ['poddisruptionbudgets'], read),
  on(
    ['storage.k8s.io'],
    ['csidrivers', 'csinodes', 'csistoragecapacities', 'storageclasses', 'volumeattachments'],
    read,
  ),
  on(['resource.k8s.io'], ['deviceclasses', 'resourceclaims', 'resourceslices'], read),
  on(['resource.k8s.io'], ['resourceclaims', 'resourceclaims/status'], ['patch', 'update']),
  ...reviews,
];

/** What the controllers do, under one name: ours run as one user, where upstream's run as many service accounts. */
const controllerRules: PolicyRule[] = [
  ...events,
  leader,
  on(everything, everything, read),
  on(
    none,
    [
      'configmaps',
      'endpoints',
      'persistentvolumeclaims',
      'persistentvolumes',
      'pods',
      'secrets',
      'serviceaccounts',
      'services',
      'podtemplates',
    ],
    write,
  ),
  on(none, ['nodes'], ['delete', 'patch', 'update']),
  on(none, ['namespaces'], ['delete', 'patch', 'update']),
  on(none, ['namespaces/finalize'], ['update']),
  on(
    none,
    [
      'namespaces/status',
      'nodes/status',
      'persistentvolumeclaims/status',
      'persistentvolumes/status',
      'pods/status',
      'replicationcontrollers/status',
      'resourcequotas/status',
      'services/status',
    ],
    ['patch', 'update'],
  ),
  on(
    none,
    ['replicationcontrollers', 'replicationcontrollers/scale', 'replicationcontrollers/finalizers'],
    ['patch', 'update'],
  ),
  on(none, ['pods/eviction', 'serviceaccounts/token'], ['create']),
  on(['apps'], everything, [...write, ...read]),
  on(['batch'], everything, [...write, ...read]),
  on(['autoscaling'], everything, [...write, ...read]),
  on(['discovery.k8s.io'], ['endpointslices', 'endpointslices/restricted'], write),
  on(['networking.k8s.io'], everything, [...write, ...read]),
  on(['policy'], ['poddisruptionbudgets', 'poddisruptionbudgets/status'], ['patch', 'update']),
  on(['storage.k8s.io'], everything, [...write, ...read]),
  on(['resource.k8s.io'], everything, [...write, ...read]),
  on(
    ['certificates.k8s.io'],
    ['certificatesigningrequests', 'certificatesigningrequests/approval', 'certificatesigningrequests/status'],
    ['delete', 'patch', 'update'],
  ),
  on(['certificates.k8s.io'], ['signers'], ['approve', 'sign']),
  // The namespace controller and the garbage collector delete objects of every kind.
  on(everything, everything, ['delete', 'deletecollection', 'patch', 'update']),
  ...reviews,
];

/** As upstream's: a proxy lists and watches. */
const proxyRules: PolicyRule[] = [
  ...events,
  on(none, ['nodes'], read),
  on(none, ['services', 'endpoints'], ['list', 'watch']),
  on(['discovery.k8s.io'], ['endpointslices'], ['list', 'watch']),
  on(['networking.k8s.io'], ['servicecidrs'], ['list', 'watch']),
];

const dnsRules: PolicyRule[] = [
  ...events,
  on(none, ['endpoints', 'services', 'pods', 'namespaces', 'nodes'], read),
  on(['discovery.k8s.io'], ['endpointslices'], read),
];

const discoveryPaths = [
  '/api',
  '/api/*',
  '/apis',
  '/apis/*',
  '/healthz',
  '/livez',
  '/openapi',
  '/openapi/*',
  '/readyz',
  '/version',
  '/version/',
];
const publicPaths = ['/healthz', '/livez', '/readyz', '/version', '/version/'];

/** Rules of the cluster roles, by name. */
export const clusterRoles: Readonly<Record<string, readonly PolicyRule[]>> = {
  'cluster-admin': [on(everything, everything, everything), paths(everything, everything)],
  admin: [...adminRules, ...editRules, ...viewRules],
  edit: [...editRules, ...viewRules],
  view: viewRules,
  'system:discovery': [paths(discoveryPaths)],
  'system:public-info-viewer': [paths(publicPaths)],
  'system:monitoring': [
    paths(['/healthz', '/healthz/*', '/livez', '/livez/*', '/metrics', '/metrics/slis', '/readyz', '/readyz/*']),
  ],
  'system:basic-user': [
    on(['authorization.k8s.io'], ['selfsubjectaccessreviews', 'selfsubjectrulesreviews'], ['create']),
    on(['authentication.k8s.io'], ['selfsubjectreviews'], ['create']),
  ],
  'system:auth-delegator': reviews,
  'system:heapster': [on(none, ['events', 'namespaces', 'nodes', 'pods'], read), on(['apps'], ['deployments'], read)],
  'system:kube-aggregator': [on(none, ['endpoints', 'services'], read)],
  'system:kube-scheduler': schedulerRules,
  'system:kube-controller-manager': controllerRules,
  'system:node-proxier': proxyRules,
  'system:kube-dns': dnsRules,
  'system:node': [],
  'system:node-bootstrapper': [on(['certificates.k8s.io'], ['certificatesigningrequests'], ['create', ...read])],
  'system:node-problem-detector': [on(none, ['nodes'], ['get']), on(none, ['nodes/status'], ['patch']), ...events],
  'system:kubelet-api-admin': [
    on(none, ['nodes'], ['get', 'list', 'watch', 'proxy']),
    on(
      none,
      ['nodes/log', 'nodes/metrics', 'nodes/proxy', 'nodes/stats', 'nodes/configz', 'nodes/healthz', 'nodes/pods'],
      everything,
    ),
  ],
  'system:persistent-volume-provisioner': [
    on(none, ['persistentvolumes'], ['create', 'delete', ...read]),
    on(none, ['persistentvolumeclaims'], ['get', 'list', 'update', 'watch']),
    on(['storage.k8s.io'], ['storageclasses'], read),
    ...events,
  ],
  'system:service-account-issuer-discovery': [
    paths([
      '/.well-known/openid-configuration',
      '/.well-known/openid-configuration/',
      '/openid/v1/jwks',
      '/openid/v1/jwks/',
    ]),
  ],
  'system:certificates.k8s.io:certificatesigningrequests:nodeclient': [
    on(['certificates.k8s.io'], ['certificatesigningrequests/nodeclient'], ['create']),
  ],
  'system:certificates.k8s.io:certificatesigningrequests:selfnodeclient': [
    on(['certificates.k8s.io'], ['certificatesigningrequests/selfnodeclient'], ['create']),
  ],
};

/** A subject of a binding: `user:name`, `group:name` or `serviceaccount:namespace:name`. */
type Subject = string;

/** Bindings of cluster roles, by name: role and subjects. */
export const clusterRoleBindings: Readonly<Record<string, { role: string; subjects: readonly Subject[] }>> = {
  'cluster-admin': { role: 'cluster-admin', subjects: ['group:system:masters'] },
  'system:discovery': { role: 'system:discovery', subjects: ['group:system:authenticated'] },
  'system:basic-user': { role: 'system:basic-user', subjects: ['group:system:authenticated'] },
  'system:monitoring': { role: 'system:monitoring', subjects: ['group:system:monitoring'] },
  'system:public-info-viewer': {
    role: 'system:public-info-viewer',
    subjects: ['group:system:authenticated', 'group:system:unauthenticated'],
  },
  'system:kube-scheduler': { role: 'system:kube-scheduler', subjects: ['user:system:kube-scheduler'] },
  'system:kube-controller-manager': {
    role: 'system:kube-controller-manager',
    subjects: ['user:system:kube-controller-manager'],
  },
  'system:node-proxier': { role: 'system:node-proxier', subjects: ['user:system:kube-proxy'] },
  'system:kube-dns': {
    role: 'system:kube-dns',
    subjects: ['user:system:kube-dns', 'serviceaccount:kube-system:kube-dns', 'serviceaccount:kube-system:coredns'],
  },
  'system:node': { role: 'system:node', subjects: [] },
  'system:service-account-issuer-discovery': {
    role: 'system:service-account-issuer-discovery',
    subjects: ['group:system:serviceaccounts'],
  },
  'deckhand:node-bootstrappers': { role: 'system:node-bootstrapper', subjects: ['group:system:bootstrappers'] },
  'deckhand:node-client-certificates': {
    role: 'system:certificates.k8s.io:certificatesigningrequests:nodeclient',
    subjects: ['group:system:bootstrappers'],
  },
  'deckhand:node-client-certificate-renewal': {
    role: 'system:certificates.k8s.io:certificatesigningrequests:selfnodeclient',
    subjects: ['group:system:nodes'],
  },
};

/** Roles of one namespace, by `namespace/name`: rules and subjects of the binding of the same name. */
export const roles: Readonly<Record<string, { rules: readonly PolicyRule[]; subjects: readonly Subject[] }>> = {
  'kube-system/extension-apiserver-authentication-reader': {
    rules: [on(none, ['configmaps'], read, ['extension-apiserver-authentication'])],
    subjects: ['user:system:kube-controller-manager', 'user:system:kube-scheduler'],
  },
  'kube-public/system:cluster-info': {
    rules: [on(none, ['configmaps'], ['get'], ['cluster-info'])],
    subjects: ['user:system:anonymous'],
  },
  'kube-system/system:kube-dns': {
    rules: [on(['discovery.k8s.io'], ['endpointslices'], write), on(none, ['endpoints'], write)],
    subjects: ['user:system:kube-dns'],
  },
};
