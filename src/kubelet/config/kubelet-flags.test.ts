import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { featureGateTable } from '../../api/features/index.ts';
import { configurationFields } from './configuration-fields.ts';
import { checkFeatureGates, isFeatureOn } from './feature-gates.ts';
import { readFlagConfiguration } from './flag-values.ts';
import { kubeletFlags } from './kubelet-flags.ts';
import { checkTlsChoices } from './tls-choices.ts';

/** What `kubelet --help` of 1.36 lists. */
const released = `
  address allowed-unsafe-sysctls anonymous-auth application-metrics-count-limit authentication-token-webhook
  authentication-token-webhook-cache-ttl authorization-mode authorization-webhook-cache-authorized-ttl
  authorization-webhook-cache-unauthorized-ttl boot-id-file bootstrap-kubeconfig cert-dir cgroup-driver
  cgroup-root cgroups-per-qos client-ca-file cloud-provider cluster-dns cluster-domain config config-dir
  container-hints container-log-max-files container-log-max-size container-runtime-endpoint containerd
  containerd-namespace contention-profiling cpu-cfs-quota cpu-cfs-quota-period cpu-manager-policy
  cpu-manager-policy-options cpu-manager-reconcile-period enable-controller-attach-detach
  enable-debugging-handlers enable-load-reader enable-server enforce-node-allocatable event-burst event-qps
  event-storage-age-limit event-storage-event-limit eviction-hard eviction-max-pod-grace-period
  eviction-minimum-reclaim eviction-pressure-transition-period eviction-soft eviction-soft-grace-period
  exit-on-lock-contention experimental-allocatable-ignore-eviction experimental-mounter-path fail-cgroupv1
  fail-swap-on feature-gates file-check-frequency global-housekeeping-interval hairpin-mode
  healthz-bind-address healthz-port help hostname-override housekeeping-interval http-check-frequency
  image-credential-provider-bin-dir image-credential-provider-config image-gc-high-threshold
  image-gc-low-threshold image-service-endpoint kernel-memcg-notification kube-api-burst kube-api-content-type
  kube-api-qps kube-reserved kube-reserved-cgroup kubeconfig kubelet-cgroups local-storage-capacity-isolation
  lock-file log-cadvisor-usage log-flush-frequency log-json-info-buffer-size log-json-split-stream
  log-text-info-buffer-size log-text-split-stream logging-format machine-id-file make-iptables-util-chains
  manifest-url manifest-url-header max-housekeeping-interval max-open-files max-pods maximum-dead-containers
  maximum-dead-containers-per-container memory-manager-policy minimum-container-ttl-duration
  minimum-image-ttl-duration node-ip node-labels node-status-max-images node-status-update-frequency
  oom-score-adj pod-cidr pod-manifest-path pod-max-pids pods-per-core port protect-kernel-defaults provider-id
  qos-reserved read-only-port register-node register-with-taints registry-burst registry-qps reserved-cpus
  reserved-memory resolv-conf root-dir rotate-certificates rotate-server-certificates runonce runtime-cgroups
  runtime-request-timeout seccomp-default serialize-image-pulls storage-driver-buffer-duration
  storage-driver-db storage-driver-host storage-driver-password storage-driver-secure storage-driver-table
  storage-driver-user streaming-connection-idle-timeout sync-frequency system-cgroups system-reserved
  system-reserved-cgroup tls-cert-file tls-cipher-suites tls-min-version tls-private-key-file
  topology-manager-policy topology-manager-policy-options topology-manager-scope v version vmodule
  volume-plugin-dir volume-stats-agg-period
`
  .split(/\s+/)
  .filter(Boolean);

describe('flags of the kubelet', () => {
  it('every flag of a 1.36 kubelet is known, and none else', () => {
    assert.deepEqual(Object.keys(kubeletFlags).sort(), released.sort());
  });

  it('each has a field that there is, a help text of its own, or a reason for being ignored or refused', () => {
    for (const [name, { field, help, ignored, refused }] of Object.entries(kubeletFlags)) {
      assert.ok(field || help || ignored || refused, name);
      const top = field?.startsWith('logging.') ? 'logging' : field;
      assert.ok(!top || configurationFields[top], `${name}: ${field}`);
    }
  });

  it('their texts become fields of the configuration', () => {
    const { fields, ignored } = readFlagConfiguration({
      'max-pods': '5',
      'anonymous-auth': true,
      'cluster-dns': ['10.0.0.1,10.0.0.2', '10.0.0.3'],
      'eviction-hard': ['memory.available<1Gi,nodefs.available<10%'],
      'kube-reserved': ['cpu=1,memory=1Gi', 'pid=100'],
      'feature-gates': ['NodeDeclaredFeatures=false,GracefulNodeShutdown=true'],
      'register-with-taints': ['a=b:NoSchedule,c:NoExecute'],
      'manifest-url-header': ['a:b,a:c'],
      'reserved-memory': ['0:memory=1Gi,hugepages-2Mi=2Mi', '1:memory=1Gi'],
      v: '4',
      'housekeeping-interval': '10s',
    });
    assert.deepEqual(fields, {
      maxPods: 5,
      authentication: { anonymous: { enabled: true } },
      clusterDNS: ['10.0.0.1', '10.0.0.2', '10.0.0.3'],
      evictionHard: { 'memory.available': '1Gi', 'nodefs.available': '10%' },
      kubeReserved: { cpu: '1', memory: '1Gi', pid: '100' },
      featureGates: { NodeDeclaredFeatures: false, GracefulNodeShutdown: true },
      registerWithTaints: [
        { key: 'a', value: 'b', effect: 'NoSchedule' },
        { key: 'c', effect: 'NoExecute' },
      ],
      staticPodURLHeader: { a: ['b', 'c'] },
      reservedMemory: [
        { numaNode: 0, limits: { memory: '1Gi', 'hugepages-2Mi': '2Mi' } },
        { numaNode: 1, limits: { memory: '1Gi' } },
      ],
      logging: { verbosity: 4 },
    });
    assert.deepEqual(
      ignored.map(({ flag }) => flag),
      ['housekeeping-interval'],
    );
  });

  it('what cannot be read or done is refused by the name of the flag', () => {
    const cases: [string, string | boolean | string[], RegExp][] = [
      ['max-pods', 'many', /^--max-pods: "many" is no whole number/],
      ['kube-reserved', ['cpu'], /^--kube-reserved: "cpu" is not NAME=VALUE/],
      ['eviction-hard', ['memory.available=1Gi'], /^--eviction-hard: .* is not NAME<VALUE/],
      ['feature-gates', ['A=maybe'], /^--feature-gates: A=maybe is neither/],
      ['register-with-taints', ['a=b'], /^--register-with-taints: "a=b" is not KEY=VALUE:EFFECT/],
      ['runonce', true, /^--runonce: true: /],
      ['experimental-mounter-path', '/x', /^--experimental-mounter-path: \/x: /],
    ];
    for (const [flag, value, message] of cases)
      assert.throws(() => readFlagConfiguration({ [flag]: value }), { message }, flag);
    assert.doesNotThrow(() => readFlagConfiguration({ 'maximum-dead-containers': '-1', runonce: false }));
  });
});

describe('feature gates', () => {
  it('are on or off as upstream has them, unless the configuration says otherwise', () => {
    assert.ok(isFeatureOn({}, 'GracefulNodeShutdown'));
    assert.ok(!isFeatureOn({ GracefulNodeShutdown: false }, 'GracefulNodeShutdown'));
    assert.ok(!isFeatureOn({}, 'EventedPLEG'));
    assert.ok(!isFeatureOn({}, 'Unheard'));
    assert.ok(Object.keys(featureGateTable).length > 230);
  });

  it('unknown, locked and unimplemented ones are refused by name; what no kubelet acts by may be set', () => {
    const cases: [Record<string, unknown>, RegExp][] = [
      [{ Unheard: true }, /^featureGates\.Unheard: unknown feature gate/],
      [
        { KubeletFineGrainedAuthz: false },
        /^featureGates\.KubeletFineGrainedAuthz: cannot be set to false: .* locked to true/,
      ],
      [{ EventedPLEG: true }, /^featureGates\.EventedPLEG: the alpha feature is not implemented/],
      [{ EnvFiles: false }, /^featureGates\.EnvFiles: the feature is always on here/],
      [{ AllAlpha: true }, /^featureGates\.AllAlpha: true: alpha features are not there/],
      [{ EnvFiles: 'yes' }, /^featureGates\.EnvFiles: must be true or false/],
    ];
    for (const [gates, message] of cases) assert.throws(() => checkFeatureGates(gates), { message });
    assert.doesNotThrow(() =>
      checkFeatureGates({ APIServerIdentity: false, EnvFiles: true, AllAlpha: false, AllBeta: true }),
    );
  });
});

describe('choices of TLS', () => {
  it('are read by the names and numbers that configurations use', () => {
    const made = checkTlsChoices({
      tlsMinVersion: 'VersionTLS13',
      tlsCipherSuites: ['TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256'],
      tlsCurvePreferences: [29, 23],
    });
    assert.equal(made.minVersion, 'TLSv1.3');
    assert.match(made.ciphers!, /^TLS_AES_128_GCM_SHA256:.*:ECDHE-RSA-AES128-GCM-SHA256$/);
    assert.equal(made.ecdhCurve, 'X25519:P-256');
  });

  it('unknown ones are refused', () => {
    const cases: [object, RegExp][] = [
      [{ tlsMinVersion: 'VersionTLS14' }, /^tlsMinVersion: "VersionTLS14" is none of/],
      [{ tlsCipherSuites: ['RC4'] }, /^tlsCipherSuites: there is no cipher suite "RC4"/],
      [{ tlsCurvePreferences: [1] }, /^tlsCurvePreferences: 1 is none of/],
    ];
    for (const [configuration, message] of cases) assert.throws(() => checkTlsChoices(configuration), { message });
  });
});
