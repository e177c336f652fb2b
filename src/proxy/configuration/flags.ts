/** Every flag of a 1.36 kube-proxy, and what becomes of it. Names and kinds are facts of the release. */
export interface ProxyFlag {
  kind: 'bool' | 'text' | 'integer' | 'number' | 'duration' | 'list' | 'gates';
  /** The field of the configuration whose twin it is. */
  field?: string;
  /** It counts also with --config. */
  always?: true;
  help: string;
  value?: string;
  short?: string;
  /** A value other than this one (the default) is refused: why. */
  refused?: { default: string; why: string };
}

const loggingRefused = { default: '', why: 'lines are written at once, all to standard error' };

/** The flags by name. */
export const proxyFlags: Readonly<Record<string, ProxyFlag>> = {
  config: {
    kind: 'text',
    always: true,
    value: 'FILE',
    help: 'a KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1); most other options are then ignored',
  },
  'write-config-to': {
    kind: 'text',
    always: true,
    value: 'FILE',
    help: 'write the configuration, with defaults, and exit',
  },
  cleanup: { kind: 'bool', always: true, help: 'take away the rules of every mode and exit' },
  'init-only': {
    kind: 'bool',
    always: true,
    help: 'set the kernel parameters that need all rights and exit: what runs then needs NET_ADMIN only',
  },
  'feature-gates': { kind: 'gates', field: 'featureGates', value: 'K=BOOL,…', help: 'features to turn on or off' },
  kubeconfig: {
    kind: 'text',
    field: 'clientConnection.kubeconfig',
    value: 'FILE',
    help: 'how to reach the API server (default: as a pod does)',
  },
  master: { kind: 'text', always: true, value: 'URL', help: "the API server's address, in place of the kubeconfig's" },
  'kube-api-content-type': {
    kind: 'text',
    field: 'clientConnection.contentType',
    value: 'TYPE',
    help: 'taken for what it is upstream; JSON is spoken',
  },
  'kube-api-burst': {
    kind: 'integer',
    field: 'clientConnection.burst',
    value: 'N',
    help: 'requests to the API server at once',
  },
  'kube-api-qps': {
    kind: 'number',
    field: 'clientConnection.qps',
    value: 'N',
    help: 'requests to the API server a second',
  },
  'hostname-override': { kind: 'text', always: true, value: 'NAME', help: 'the name of the node' },
  'bind-address': {
    kind: 'text',
    field: 'bindAddress',
    value: 'IP',
    help: "the node's address, in place of the Node object's",
  },
  'healthz-bind-address': {
    kind: 'text',
    field: 'healthzBindAddress',
    value: 'IP:PORT',
    help: 'where to tell whether it is well (default 0.0.0.0:10256); empty: nowhere',
  },
  'metrics-bind-address': {
    kind: 'text',
    field: 'metricsBindAddress',
    value: 'IP:PORT',
    help: 'where metrics are (default 127.0.0.1:10249); empty: nowhere',
  },
  'healthz-port': { kind: 'integer', value: 'PORT', help: 'old: use --healthz-bind-address. 0: no server' },
  'metrics-port': { kind: 'integer', value: 'PORT', help: 'old: use --metrics-bind-address. 0: no server' },
  'bind-address-hard-fail': { kind: 'bool', field: 'bindAddressHardFail', help: 'a port that is taken ends the start' },
  profiling: { kind: 'bool', field: 'enableProfiling', help: 'profiles below /debug/pprof of the metrics address' },
  'show-hidden-metrics-for-version': {
    kind: 'text',
    field: 'showHiddenMetricsForVersion',
    value: 'VERSION',
    help: 'the previous version, 1.35: nothing is hidden',
  },
  'proxy-mode': { kind: 'text', field: 'mode', value: 'MODE', help: 'iptables (default), ipvs or nftables' },
  'iptables-masquerade-bit': {
    kind: 'integer',
    field: 'iptables.masqueradeBit',
    value: 'BIT',
    help: 'mark of packets to masquerade, 0 to 31 (default 14)',
  },
  'masquerade-all': { kind: 'bool', help: 'masquerade everything that goes to a cluster IP' },
  'iptables-localhost-nodeports': {
    kind: 'bool',
    field: 'iptables.localhostNodePorts',
    help: 'node ports answer on 127.0.0.1 (iptables mode; default true)',
  },
  'iptables-sync-period': { kind: 'duration', value: 'TIME', help: 'how often the kernel is compared (default 30s)' },
  'iptables-min-sync-period': { kind: 'duration', value: 'TIME', help: 'least time between writes' },
  'ipvs-sync-period': { kind: 'duration', value: 'TIME', help: 'the same in ipvs mode' },
  'ipvs-min-sync-period': { kind: 'duration', value: 'TIME', help: 'the same in ipvs mode' },
  'ipvs-scheduler': { kind: 'text', field: 'ipvs.scheduler', value: 'NAME', help: 'how IPVS chooses (default rr)' },
  'ipvs-exclude-cidrs': {
    kind: 'list',
    field: 'ipvs.excludeCIDRs',
    value: 'CIDR,…',
    help: 'virtual servers that are not ours',
  },
  'ipvs-strict-arp': { kind: 'bool', field: 'ipvs.strictARP', help: 'answer no ARP for addresses of kube-ipvs0' },
  'ipvs-tcp-timeout': {
    kind: 'duration',
    field: 'ipvs.tcpTimeout',
    value: 'TIME',
    help: 'of idle TCP connections; 0: as it is',
  },
  'ipvs-tcpfin-timeout': {
    kind: 'duration',
    field: 'ipvs.tcpFinTimeout',
    value: 'TIME',
    help: 'after a FIN; 0: as it is',
  },
  'ipvs-udp-timeout': { kind: 'duration', field: 'ipvs.udpTimeout', value: 'TIME', help: 'of UDP; 0: as it is' },
  'detect-local-mode': {
    kind: 'text',
    field: 'detectLocalMode',
    value: 'MODE',
    help: 'how pods are told from others: ClusterCIDR (default), NodeCIDR, BridgeInterface, InterfaceNamePrefix',
  },
  'pod-bridge-interface': {
    kind: 'text',
    field: 'detectLocal.bridgeInterface',
    value: 'LINK',
    help: 'for BridgeInterface',
  },
  'pod-interface-name-prefix': {
    kind: 'text',
    field: 'detectLocal.interfaceNamePrefix',
    value: 'TEXT',
    help: 'for InterfaceNamePrefix',
  },
  'cluster-cidr': {
    kind: 'text',
    field: 'clusterCIDR',
    value: 'CIDR',
    help: 'addresses of pods: what comes from elsewhere to a Service is masqueraded',
  },
  'nodeport-addresses': {
    kind: 'list',
    field: 'nodePortAddresses',
    value: 'CIDR,…',
    help: 'addresses of the node that take node ports, or primary (default: all; nftables mode: primary)',
  },
  'oom-score-adj': { kind: 'integer', field: 'oomScoreAdj', value: 'N', help: 'of this process (default -999)' },
  'conntrack-max-per-core': {
    kind: 'integer',
    field: 'conntrack.maxPerCore',
    value: 'N',
    help: 'connections to track for each core; 0: as it is',
  },
  'conntrack-min': {
    kind: 'integer',
    field: 'conntrack.min',
    value: 'N',
    help: 'least number of connections to track',
  },
  'conntrack-tcp-timeout-established': {
    kind: 'duration',
    field: 'conntrack.tcpEstablishedTimeout',
    value: 'TIME',
    help: 'of idle connections; 0: as it is',
  },
  'conntrack-tcp-timeout-close-wait': {
    kind: 'duration',
    field: 'conntrack.tcpCloseWaitTimeout',
    value: 'TIME',
    help: 'in CLOSE_WAIT; 0: as it is',
  },
  'conntrack-tcp-be-liberal': {
    kind: 'bool',
    field: 'conntrack.tcpBeLiberal',
    help: 'take packets outside of the window',
  },
  'conntrack-udp-timeout': {
    kind: 'duration',
    field: 'conntrack.udpTimeout',
    value: 'TIME',
    help: 'of UDP without an answer; 0: as it is',
  },
  'conntrack-udp-timeout-stream': {
    kind: 'duration',
    field: 'conntrack.udpStreamTimeout',
    value: 'TIME',
    help: 'of UDP with answers; 0: as it is',
  },
  'config-sync-period': {
    kind: 'duration',
    field: 'configSyncPeriod',
    value: 'TIME',
    help: 'how often everything is planned anew',
  },
  'logging-format': {
    kind: 'text',
    field: 'logging.format',
    always: true,
    value: 'FORMAT',
    help: 'text (default) or json',
  },
  'log-flush-frequency': { kind: 'text', always: true, value: 'TIME', help: 'lines are written at once' },
  'log-text-split-stream': {
    kind: 'bool',
    always: true,
    help: 'not here',
    refused: { ...loggingRefused, default: 'false' },
  },
  'log-text-info-buffer-size': {
    kind: 'text',
    always: true,
    help: 'not here',
    refused: { ...loggingRefused, default: '0' },
  },
  'log-json-split-stream': {
    kind: 'bool',
    always: true,
    help: 'not here',
    refused: { ...loggingRefused, default: 'false' },
  },
  'log-json-info-buffer-size': {
    kind: 'text',
    always: true,
    help: 'not here',
    refused: { ...loggingRefused, default: '0' },
  },
  vmodule: {
    kind: 'text',
    always: true,
    help: 'not here',
    refused: { default: '', why: 'lines belong to components here, not to source files' },
  },
  v: {
    kind: 'integer',
    field: 'logging.verbosity',
    always: true,
    short: 'v',
    value: 'LEVEL',
    help: 'log level; 4 and more shows debug lines',
  },
  'boot-id-file': { kind: 'text', always: true, help: 'taken, and does nothing: there is no cAdvisor' },
  'machine-id-file': { kind: 'text', always: true, help: 'taken, and does nothing: there is no cAdvisor' },
  version: { kind: 'bool', always: true, help: 'print the version of Kubernetes whose kube-proxy this is' },
  help: { kind: 'bool', always: true, short: 'h', help: 'show this' },
};
