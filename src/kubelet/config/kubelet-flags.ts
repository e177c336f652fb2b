/**
 * Every flag of a 1.36 kubelet, and what becomes of it. Most are twins of a field of KubeletConfiguration: the field's rules
 * are theirs. Names and kinds are facts of the release.
 */
export interface KubeletFlag {
  kind: 'bool' | 'text' | 'number' | 'list' | 'map' | 'thresholds' | 'gates' | 'headers' | 'taints' | 'memory';
  /** The field whose value it overrides. */
  field?: string;
  /** One line for --help, where the field's name does not say it all. */
  help?: string;
  /** What the value is called in --help. */
  value?: string;
  /** It is taken, as upstream's deprecated flags are, and does nothing: why. */
  ignored?: string;
  /** A value other than this one (the default) is refused: why. */
  refused?: { default: string; why: string };
  short?: string;
}

const twin = (kind: KubeletFlag['kind'], field: string): KubeletFlag => ({ kind, field });
const cadvisor: KubeletFlag = { kind: 'text', ignored: 'there is no cAdvisor in this kubelet' };
const cadvisorSwitch: KubeletFlag = { ...cadvisor, kind: 'bool' };

/** Flags that are no twin of a field. */
const ownFlags: Record<string, KubeletFlag> = {
  config: { kind: 'text', value: 'FILE', help: 'a KubeletConfiguration (kubelet.config.k8s.io/v1beta1)' },
  'config-dir': {
    kind: 'text',
    value: 'DIR',
    help: 'more of it: files *.conf, laid over --config in the order of names',
  },
  kubeconfig: { kind: 'text', value: 'FILE', help: 'how to reach the API server; without it only static pods run' },
  'bootstrap-kubeconfig': {
    kind: 'text',
    value: 'FILE',
    help: 'used to ask for a client certificate when --kubeconfig is not there or its certificate is over',
  },
  'hostname-override': { kind: 'text', value: 'NAME', help: 'the name of the node' },
  'node-ip': {
    kind: 'text',
    value: 'ADDRESS',
    help: 'the address of the node (two for dual stack, comma separated; 0.0.0.0 or :: for the first of a family)',
  },
  'cert-dir': { kind: 'text', value: 'DIR', help: 'where certificates are kept (default pki below --root-dir)' },
  'cloud-provider': { kind: 'text', value: 'external', help: 'external: a cloud controller completes the node' },
  'root-dir': { kind: 'text', value: 'DIR', help: "where pods' files are kept (default /var/lib/kubelet)" },
  'node-labels': { kind: 'list', value: 'K=V,…', help: 'labels to register the node with' },
  'runtime-cgroups': { kind: 'text', value: 'CGROUP', help: "the runtime's cgroup, for its statistics" },
  'lock-file': { kind: 'text', value: 'FILE', help: 'held while the kubelet runs: two of them do not run at once' },
  'exit-on-lock-contention': { kind: 'bool', help: 'end as soon as another one asks for --lock-file' },
  'image-credential-provider-config': {
    kind: 'text',
    value: 'FILE',
    help: 'programs that give credentials for images (kubelet.config.k8s.io/v1 CredentialProviderConfig)',
  },
  'image-credential-provider-bin-dir': { kind: 'text', value: 'DIR', help: 'where those programs are' },
  'experimental-allocatable-ignore-eviction': {
    kind: 'bool',
    help: 'allocatable is not lessened by the hard eviction thresholds',
  },
  'experimental-mounter-path': { kind: 'text', refused: { default: '', why: 'mounts are made without a program' } },
  'minimum-container-ttl-duration': {
    kind: 'text',
    refused: { default: '0s', why: 'dead containers are kept by number only' },
  },
  'maximum-dead-containers-per-container': {
    kind: 'text',
    refused: { default: '1', why: 'one dead container is kept for each that runs' },
  },
  'maximum-dead-containers': {
    kind: 'text',
    refused: { default: '-1', why: 'dead containers are counted for each container' },
  },
  runonce: {
    kind: 'bool',
    refused: { default: 'false', why: 'a kubelet that ends by itself is gone from upstream too' },
  },
  version: { kind: 'bool', help: 'print the version of Kubernetes whose kubelet this is' },
  help: { kind: 'bool', short: 'h', help: 'show this' },
  'application-metrics-count-limit': cadvisor,
  'boot-id-file': cadvisor,
  'container-hints': cadvisor,
  containerd: cadvisor,
  'containerd-namespace': cadvisor,
  'enable-load-reader': cadvisorSwitch,
  'event-storage-age-limit': cadvisor,
  'event-storage-event-limit': cadvisor,
  'global-housekeeping-interval': cadvisor,
  'housekeeping-interval': cadvisor,
  'log-cadvisor-usage': cadvisorSwitch,
  'machine-id-file': cadvisor,
  'max-housekeeping-interval': cadvisor,
  'storage-driver-buffer-duration': cadvisor,
  'storage-driver-db': cadvisor,
  'storage-driver-host': cadvisor,
  'storage-driver-password': cadvisor,
  'storage-driver-secure': cadvisorSwitch,
  'storage-driver-table': cadvisor,
  'storage-driver-user': cadvisor,
};

/** Flags that are twins of fields, by kind: name → field. */
const twins: readonly [KubeletFlag['kind'], Record<string, string>][] = [
  [
    'bool',
    {
      'enable-server': 'enableServer',
      'fail-swap-on': 'failSwapOn',
      'fail-cgroupv1': 'failCgroupV1',
      'anonymous-auth': 'authentication.anonymous.enabled',
      'authentication-token-webhook': 'authentication.webhook.enabled',
      'rotate-server-certificates': 'serverTLSBootstrap',
      'rotate-certificates': 'rotateCertificates',
      'enable-debugging-handlers': 'enableDebuggingHandlers',
      'contention-profiling': 'enableContentionProfiling',
      'cgroups-per-qos': 'cgroupsPerQOS',
      'cpu-cfs-quota': 'cpuCFSQuota',
      'enable-controller-attach-detach': 'enableControllerAttachDetach',
      'make-iptables-util-chains': 'makeIPTablesUtilChains',
      'kernel-memcg-notification': 'kernelMemcgNotification',
      'local-storage-capacity-isolation': 'localStorageCapacityIsolation',
      'serialize-image-pulls': 'serializeImagePulls',
      'protect-kernel-defaults': 'protectKernelDefaults',
      'register-node': 'registerNode',
      'seccomp-default': 'seccompDefault',
      'log-text-split-stream': 'logging.options.text.splitStream',
      'log-json-split-stream': 'logging.options.json.splitStream',
    },
  ],
  [
    'number',
    {
      port: 'port',
      'read-only-port': 'readOnlyPort',
      'registry-qps': 'registryPullQPS',
      'registry-burst': 'registryBurst',
      'event-qps': 'eventRecordQPS',
      'event-burst': 'eventBurst',
      'healthz-port': 'healthzPort',
      'oom-score-adj': 'oomScoreAdj',
      'image-gc-high-threshold': 'imageGCHighThresholdPercent',
      'image-gc-low-threshold': 'imageGCLowThresholdPercent',
      'max-pods': 'maxPods',
      'pod-max-pids': 'podPidsLimit',
      'container-log-max-files': 'containerLogMaxFiles',
      'node-status-max-images': 'nodeStatusMaxImages',
      'max-open-files': 'maxOpenFiles',
      'kube-api-qps': 'kubeAPIQPS',
      'kube-api-burst': 'kubeAPIBurst',
      'eviction-max-pod-grace-period': 'evictionMaxPodGracePeriod',
      'pods-per-core': 'podsPerCore',
      v: 'logging.verbosity',
    },
  ],
  [
    'text',
    {
      'pod-manifest-path': 'staticPodPath',
      'sync-frequency': 'syncFrequency',
      'file-check-frequency': 'fileCheckFrequency',
      'http-check-frequency': 'httpCheckFrequency',
      'manifest-url': 'staticPodURL',
      address: 'address',
      'container-runtime-endpoint': 'containerRuntimeEndpoint',
      'image-service-endpoint': 'imageServiceEndpoint',
      'authentication-token-webhook-cache-ttl': 'authentication.webhook.cacheTTL',
      'client-ca-file': 'authentication.x509.clientCAFile',
      'authorization-mode': 'authorization.mode',
      'authorization-webhook-cache-authorized-ttl': 'authorization.webhook.cacheAuthorizedTTL',
      'authorization-webhook-cache-unauthorized-ttl': 'authorization.webhook.cacheUnauthorizedTTL',
      'tls-cert-file': 'tlsCertFile',
      'tls-private-key-file': 'tlsPrivateKeyFile',
      'tls-min-version': 'tlsMinVersion',
      'healthz-bind-address': 'healthzBindAddress',
      'cluster-domain': 'clusterDomain',
      'volume-plugin-dir': 'volumePluginDir',
      'streaming-connection-idle-timeout': 'streamingConnectionIdleTimeout',
      'node-status-update-frequency': 'nodeStatusUpdateFrequency',
      'minimum-image-ttl-duration': 'imageMinimumGCAge',
      'volume-stats-agg-period': 'volumeStatsAggPeriod',
      'kubelet-cgroups': 'kubeletCgroups',
      'system-cgroups': 'systemCgroups',
      'provider-id': 'providerID',
      'cgroup-driver': 'cgroupDriver',
      'cgroup-root': 'cgroupRoot',
      'cpu-manager-policy': 'cpuManagerPolicy',
      'cpu-manager-reconcile-period': 'cpuManagerReconcilePeriod',
      'topology-manager-policy': 'topologyManagerPolicy',
      'topology-manager-scope': 'topologyManagerScope',
      'runtime-request-timeout': 'runtimeRequestTimeout',
      'hairpin-mode': 'hairpinMode',
      'pod-cidr': 'podCIDR',
      'resolv-conf': 'resolvConf',
      'cpu-cfs-quota-period': 'cpuCFSQuotaPeriod',
      'container-log-max-size': 'containerLogMaxSize',
      'kube-api-content-type': 'contentType',
      'eviction-pressure-transition-period': 'evictionPressureTransitionPeriod',
      'reserved-cpus': 'reservedSystemCPUs',
      'system-reserved-cgroup': 'systemReservedCgroup',
      'kube-reserved-cgroup': 'kubeReservedCgroup',
      'memory-manager-policy': 'memoryManagerPolicy',
      'logging-format': 'logging.format',
      'log-flush-frequency': 'logging.flushFrequency',
      'log-text-info-buffer-size': 'logging.options.text.infoBufferSize',
      'log-json-info-buffer-size': 'logging.options.json.infoBufferSize',
    },
  ],
  [
    'list',
    {
      'tls-cipher-suites': 'tlsCipherSuites',
      'cluster-dns': 'clusterDNS',
      'allowed-unsafe-sysctls': 'allowedUnsafeSysctls',
      'enforce-node-allocatable': 'enforceNodeAllocatable',
      vmodule: 'logging.vmodule',
    },
  ],
  [
    'map',
    {
      'cpu-manager-policy-options': 'cpuManagerPolicyOptions',
      'topology-manager-policy-options': 'topologyManagerPolicyOptions',
      'qos-reserved': 'qosReserved',
      'eviction-soft-grace-period': 'evictionSoftGracePeriod',
      'eviction-minimum-reclaim': 'evictionMinimumReclaim',
      'system-reserved': 'systemReserved',
      'kube-reserved': 'kubeReserved',
    },
  ],
  ['thresholds', { 'eviction-hard': 'evictionHard', 'eviction-soft': 'evictionSoft' }],
  ['gates', { 'feature-gates': 'featureGates' }],
  ['headers', { 'manifest-url-header': 'staticPodURLHeader' }],
  ['taints', { 'register-with-taints': 'registerWithTaints' }],
  ['memory', { 'reserved-memory': 'reservedMemory' }],
];

/** The flags by name. */
export const kubeletFlags: Readonly<Record<string, KubeletFlag>> = {
  ...ownFlags,
  ...Object.fromEntries(
    twins.flatMap(([kind, fields]) => Object.entries(fields).map(([name, field]) => [name, twin(kind, field)])),
  ),
  v: {
    kind: 'number',
    field: 'logging.verbosity',
    short: 'v',
    value: 'LEVEL',
    help: 'log level; 4 and more shows debug lines',
  },
};
