/**
 * Every field of KubeletConfiguration (kubelet.config.k8s.io/v1beta1): its type, its default, and what becomes of it here.
 *
 * Types: `string`, `boolean`, `integer`, `number`, `duration` (`10s`, `2m0s`), `quantity`, `strings`, `map` (of strings), `lists` (of strings, by name),
 * `object` (a part with fields of its own), `objects`. A part lists its fields below its own name, with a dot.
 */
export interface ConfigurationField {
  type:
    | 'string'
    | 'boolean'
    | 'integer'
    | 'number'
    | 'duration'
    | 'quantity'
    | 'strings'
    | 'map'
    | 'lists'
    | 'object'
    | 'objects';
  default?: unknown;
  /**
   * Why another value than the default (or than `only`) cannot be honoured yet. A configuration that asks for it is refused
   * by the field's name with this reason, rather than run differently from what it says.
   */
  refused?: string;
  /** Values that are honoured although the field is otherwise refused. */
  only?: readonly unknown[];
}

const notYet = 'not implemented yet';

/** The fields by name. */
export const configurationFields: Record<string, ConfigurationField> = {
  enableServer: { type: 'boolean', default: true },
  staticPodPath: { type: 'string', default: '' },
  podLogsDir: { type: 'string', default: '/var/log/pods' },
  syncFrequency: { type: 'duration', default: '1m0s' },
  fileCheckFrequency: { type: 'duration', default: '20s' },
  httpCheckFrequency: { type: 'duration', default: '20s' },
  staticPodURL: { type: 'string', default: '' },
  staticPodURLHeader: { type: 'lists' },
  address: { type: 'string', default: '0.0.0.0' },
  port: { type: 'integer', default: 10250 },
  readOnlyPort: { type: 'integer', default: 0 },
  tlsCertFile: { type: 'string', default: '' },
  tlsPrivateKeyFile: { type: 'string', default: '' },
  tlsCipherSuites: { type: 'strings' },
  tlsMinVersion: { type: 'string', default: '' },
  tlsCurvePreferences: { type: 'objects' },
  rotateCertificates: { type: 'boolean', default: false },
  serverTLSBootstrap: { type: 'boolean', default: false },
  authentication: { type: 'object' },
  'authentication.x509': { type: 'object' },
  'authentication.x509.clientCAFile': { type: 'string', default: '' },
  'authentication.webhook': { type: 'object' },
  'authentication.webhook.enabled': { type: 'boolean', default: true },
  'authentication.webhook.cacheTTL': { type: 'duration', default: '2m0s' },
  'authentication.anonymous': { type: 'object' },
  'authentication.anonymous.enabled': { type: 'boolean', default: false },
  authorization: { type: 'object' },
  'authorization.mode': { type: 'string', default: 'Webhook' },
  'authorization.webhook': { type: 'object' },
  'authorization.webhook.cacheAuthorizedTTL': { type: 'duration', default: '5m0s' },
  'authorization.webhook.cacheUnauthorizedTTL': { type: 'duration', default: '30s' },
  registryPullQPS: { type: 'integer', default: 5 },
  registryBurst: { type: 'integer', default: 10 },
  imagePullCredentialsVerificationPolicy: { type: 'string', default: 'NeverVerifyPreloadedImages' },
  preloadedImagesVerificationAllowlist: { type: 'strings' },
  eventRecordQPS: { type: 'integer', default: 50 },
  eventBurst: { type: 'integer', default: 100 },
  enableDebuggingHandlers: { type: 'boolean', default: true },
  enableContentionProfiling: { type: 'boolean', default: false, refused: 'there are no locks to profile' },
  healthzPort: { type: 'integer', default: 10248 },
  healthzBindAddress: { type: 'string', default: '127.0.0.1' },
  oomScoreAdj: { type: 'integer', default: -999 },
  clusterDomain: { type: 'string', default: '' },
  clusterDNS: { type: 'strings', default: [] },
  streamingConnectionIdleTimeout: { type: 'duration', default: '4h0m0s' },
  nodeStatusUpdateFrequency: { type: 'duration', default: '10s' },
  nodeStatusReportFrequency: { type: 'duration', default: '5m0s' },
  nodeLeaseDurationSeconds: { type: 'integer', default: 40 },
  imageMinimumGCAge: { type: 'duration', default: '2m0s' },
  imageMaximumGCAge: { type: 'duration', default: '0s' },
  imageGCHighThresholdPercent: { type: 'integer', default: 85 },
  imageGCLowThresholdPercent: { type: 'integer', default: 80 },
  volumeStatsAggPeriod: { type: 'duration', default: '1m0s' },
  kubeletCgroups: { type: 'string', default: '' },
  systemCgroups: {
    type: 'string',
    default: '',
    refused: "the processes of the machine are the init system's to place",
  },
  cgroupRoot: { type: 'string', default: '' },
  cgroupsPerQOS: { type: 'boolean', default: true },
  cgroupDriver: { type: 'string', default: 'cgroupfs' },
  cpuManagerPolicy: { type: 'string', default: 'none' },
  singleProcessOOMKill: { type: 'boolean' },
  cpuManagerPolicyOptions: { type: 'map' },
  cpuManagerReconcilePeriod: { type: 'duration', default: '10s' },
  memoryManagerPolicy: { type: 'string', default: 'None' },
  topologyManagerPolicy: { type: 'string', default: 'none' },
  topologyManagerScope: { type: 'string', default: 'container' },
  topologyManagerPolicyOptions: { type: 'map' },
  qosReserved: { type: 'map' },
  runtimeRequestTimeout: { type: 'duration', default: '2m0s' },
  hairpinMode: { type: 'string', default: 'promiscuous-bridge' },
  maxPods: { type: 'integer', default: 110 },
  podCIDR: { type: 'string', default: '' },
  podPidsLimit: { type: 'integer', default: -1 },
  resolvConf: { type: 'string', default: '/etc/resolv.conf' },
  cpuCFSQuota: { type: 'boolean', default: true },
  cpuCFSQuotaPeriod: { type: 'duration', default: '100ms' },
  nodeStatusMaxImages: { type: 'integer', default: 50 },
  maxOpenFiles: { type: 'integer', default: 1_000_000 },
  contentType: { type: 'string', default: 'application/vnd.kubernetes.protobuf' },
  kubeAPIQPS: { type: 'integer', default: 50 },
  kubeAPIBurst: { type: 'integer', default: 100 },
  serializeImagePulls: { type: 'boolean', default: true },
  maxParallelImagePulls: { type: 'integer' },
  evictionHard: { type: 'map' },
  evictionSoft: { type: 'map' },
  evictionSoftGracePeriod: { type: 'map' },
  evictionPressureTransitionPeriod: { type: 'duration', default: '5m0s' },
  evictionMaxPodGracePeriod: { type: 'integer', default: 0 },
  evictionMinimumReclaim: { type: 'map' },
  mergeDefaultEvictionSettings: { type: 'boolean', default: false },
  podsPerCore: { type: 'integer', default: 0 },
  enableControllerAttachDetach: {
    type: 'boolean',
    default: true,
    refused: 'volumes are attached by the controller of the control plane only',
  },
  protectKernelDefaults: { type: 'boolean', default: false },
  makeIPTablesUtilChains: { type: 'boolean', default: true },
  iptablesMasqueradeBit: { type: 'integer', default: 14 },
  iptablesDropBit: { type: 'integer', default: 15 },
  featureGates: { type: 'object', default: {} },
  failSwapOn: { type: 'boolean', default: true },
  memorySwap: { type: 'object' },
  'memorySwap.swapBehavior': { type: 'string', default: '' },
  containerLogMaxSize: { type: 'string', default: '10Mi' },
  containerLogMaxFiles: { type: 'integer', default: 5 },
  containerLogMaxWorkers: { type: 'integer', default: 1 },
  containerLogMonitorInterval: { type: 'duration', default: '10s' },
  configMapAndSecretChangeDetectionStrategy: { type: 'string', default: 'Watch' },
  systemReserved: { type: 'map' },
  kubeReserved: { type: 'map' },
  reservedSystemCPUs: { type: 'string', default: '' },
  showHiddenMetricsForVersion: { type: 'string', default: '' },
  systemReservedCgroup: { type: 'string', default: '' },
  kubeReservedCgroup: { type: 'string', default: '' },
  enforceNodeAllocatable: { type: 'strings', default: ['pods'] },
  allowedUnsafeSysctls: { type: 'strings', default: [] },
  volumePluginDir: { type: 'string', default: '/usr/libexec/kubernetes/kubelet-plugins/volume/exec/' },
  providerID: { type: 'string', default: '' },
  kernelMemcgNotification: { type: 'boolean', default: false },
  logging: { type: 'object', default: {} },
  enableSystemLogHandler: { type: 'boolean', default: true },
  enableSystemLogQuery: { type: 'boolean', default: false },
  shutdownGracePeriod: { type: 'duration', default: '0s' },
  shutdownGracePeriodCriticalPods: { type: 'duration', default: '0s' },
  shutdownGracePeriodByPodPriority: { type: 'objects' },
  crashLoopBackOff: { type: 'object' },
  'crashLoopBackOff.maxContainerRestartPeriod': { type: 'duration', default: '5m0s' },
  reservedMemory: { type: 'objects' },
  enableProfilingHandler: { type: 'boolean', default: true },
  enableDebugFlagsHandler: { type: 'boolean', default: true },
  seccompDefault: { type: 'boolean', default: false },
  memoryThrottlingFactor: { type: 'number', default: 0.9 },
  memoryReservationPolicy: {
    type: 'string',
    default: 'None',
    refused: 'it belongs to the alpha feature MemoryQoS, which is not implemented',
  },
  runOnce: { type: 'boolean', default: false, refused: 'a kubelet that ends by itself is gone from upstream too' },
  registerWithTaints: { type: 'objects', default: [] },
  registerNode: { type: 'boolean', default: true },
  tracing: { type: 'object', refused: 'spans are not exported; deckhand timeline shows where the time of a pod went' },
  localStorageCapacityIsolation: { type: 'boolean', default: true },
  containerRuntimeEndpoint: { type: 'string', default: 'unix:///run/containerd/containerd.sock' },
  imageServiceEndpoint: { type: 'string', default: '' },
  failCgroupV1: { type: 'boolean', default: false },
  userNamespaces: { type: 'object', refused: notYet },
};
