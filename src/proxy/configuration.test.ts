import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { formatDuration, parseDuration } from './configuration/duration.ts';
import { configurationFields } from './configuration/fields.ts';
import { ownFields } from './configuration/own-fields.ts';
import {
  formatConfiguration,
  loadProxyConfiguration,
  parseProxyConfiguration,
  proxyFlags,
  splitBindAddress,
} from './configuration.ts';

const head = 'apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n';
const parse = (text: string) => parseProxyConfiguration(head + text);

/** What kubeadm writes into its ConfigMap. */
const kubeadm = `bindAddress: 0.0.0.0\nbindAddressHardFail: false\nclientConnection:\n  acceptContentTypes: ""\n  burst: 0\n  contentType: ""\n  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf\n  qps: 0\nclusterCIDR: 10.244.0.0/16,fd00::/48\nconfigSyncPeriod: 0s\nconntrack:\n  maxPerCore: null\n  min: null\n  tcpBeLiberal: false\n  tcpCloseWaitTimeout: null\n  tcpEstablishedTimeout: null\n  udpStreamTimeout: 0s\n  udpTimeout: 0s\ndetectLocal:\n  bridgeInterface: ""\n  interfaceNamePrefix: ""\ndetectLocalMode: ""\nenableProfiling: false\nhealthzBindAddress: ""\nhostnameOverride: ""\niptables:\n  localhostNodePorts: null\n  masqueradeAll: false\n  masqueradeBit: null\n  minSyncPeriod: 0s\n  syncPeriod: 0s\nipvs:\n  excludeCIDRs: null\n  minSyncPeriod: 0s\n  scheduler: ""\n  strictARP: false\n  syncPeriod: 0s\n  tcpFinTimeout: 0s\n  tcpTimeout: 0s\n  udpTimeout: 0s\nlogging:\n  flushFrequency: 0\n  options:\n    json:\n      infoBufferSize: "0"\n    text:\n      infoBufferSize: "0"\n  verbosity: 0\nmetricsBindAddress: ""\nmode: ""\nnftables:\n  masqueradeAll: false\n  masqueradeBit: null\n  minSyncPeriod: 0s\n  syncPeriod: 0s\nnodePortAddresses: null\noomScoreAdj: null\nportRange: ""\nshowHiddenMetricsForVersion: ""\nwinkernel:\n  enableDSR: false\n  forwardHealthCheckVip: false\n  networkName: ""\n  rootHnsEndpointName: ""\n  sourceVip: ""\n`;

/** Every field: a value that is not the default, in a mode that reads it, and what it does: an excerpt of what is read, or a problem. */
const every: Record<string, [value: unknown, mode: string, effect: Record<string, unknown> | RegExp]> = {
  featureGates: [{ AllowServiceExternalIPs: false }, '', { featureGates: { AllowServiceExternalIPs: false } }],
  'clientConnection.kubeconfig': ['/k', '', { connection: { kubeconfig: '/k', qps: 5, burst: 10 } }],
  'clientConnection.acceptContentTypes': ['text/plain', '', /acceptContentTypes: "text\/plain" is none of/],
  'clientConnection.contentType': ['text/plain', '', /contentType: "text\/plain" is none of/],
  'clientConnection.qps': [7.5, '', { connection: { kubeconfig: '', qps: 7.5, burst: 10 } }],
  'clientConnection.burst': [70, '', { connection: { kubeconfig: '', qps: 5, burst: 70 } }],
  logging: [{ format: 'json', verbosity: 4 }, '', { logging: { format: 'json', verbosity: 4 } }],
  hostnameOverride: ['N1', '', { hostnameOverride: 'n1' }],
  bindAddress: [
    'fd00::1',
    '',
    { nodeAddress: 'fd00::1', healthzBindAddress: '[::]:10256', metricsBindAddress: '[::1]:10249' },
  ],
  healthzBindAddress: ['10.0.0.1', '', { healthzBindAddress: '10.0.0.1:10256' }],
  metricsBindAddress: ['[::1]:1', '', { metricsBindAddress: '[::1]:1' }],
  bindAddressHardFail: [true, '', { bindAddressHardFail: true }],
  enableProfiling: [true, '', { profiling: true }],
  showHiddenMetricsForVersion: ['1.34', '', /showHiddenMetricsForVersion: "1.34" is none of 1.35/],
  mode: ['ipvs', '', { mode: 'ipvs' }],
  'iptables.masqueradeBit': [3, 'ipvs', { masqueradeBit: 3 }],
  'iptables.masqueradeAll': [true, 'iptables', { masqueradeAll: true }],
  'iptables.localhostNodePorts': [false, 'iptables', { localhostNodePorts: false }],
  'iptables.syncPeriod': ['10s', 'iptables', { syncPeriodMs: 10_000 }],
  'iptables.minSyncPeriod': ['2s', 'iptables', { minSyncPeriodMs: 2000 }],
  'ipvs.syncPeriod': ['10s', 'ipvs', { syncPeriodMs: 10_000 }],
  'ipvs.minSyncPeriod': ['2s', 'ipvs', { minSyncPeriodMs: 2000 }],
  'ipvs.scheduler': ['wlc', 'ipvs', { ipvs: { ...parse('').settings.ipvs, scheduler: 'wlc' } }],
  'ipvs.excludeCIDRs': [['10.0.0.0/8'], 'ipvs', { ipvs: { ...parse('').settings.ipvs, excludeCidrs: ['10.0.0.0/8'] } }],
  'ipvs.strictARP': [true, 'ipvs', { ipvs: { ...parse('').settings.ipvs, strictArp: true } }],
  'ipvs.tcpTimeout': ['1s', 'ipvs', { ipvs: { ...parse('').settings.ipvs, tcpTimeoutMs: 1000 } }],
  'ipvs.tcpFinTimeout': ['1s', 'ipvs', { ipvs: { ...parse('').settings.ipvs, tcpFinTimeoutMs: 1000 } }],
  'ipvs.udpTimeout': ['1s', 'ipvs', { ipvs: { ...parse('').settings.ipvs, udpTimeoutMs: 1000 } }],
  'nftables.masqueradeBit': [3, 'nftables', { masqueradeBit: 3 }],
  'nftables.masqueradeAll': [true, 'nftables', { masqueradeAll: true }],
  'nftables.syncPeriod': ['10s', 'nftables', { syncPeriodMs: 10_000 }],
  'nftables.minSyncPeriod': ['2s', 'nftables', { minSyncPeriodMs: 2000 }],
  'winkernel.networkName': ['n', '', /winkernel.networkName: "n" is for nodes of Windows/],
  'winkernel.sourceVip': ['n', '', /winkernel.sourceVip: "n" is for nodes of Windows/],
  'winkernel.enableDSR': [true, '', /winkernel.enableDSR: true is for nodes of Windows/],
  'winkernel.rootHnsEndpointName': ['n', '', /winkernel.rootHnsEndpointName: "n" is for nodes of Windows/],
  'winkernel.forwardHealthCheckVip': [true, '', /winkernel.forwardHealthCheckVip: true is for nodes of Windows/],
  detectLocalMode: ['NodeCIDR', '', { detectLocal: { kind: 'node-cidr' } }],
  'detectLocal.bridgeInterface': ['br0', 'BridgeInterface', { detectLocal: { kind: 'bridge', name: 'br0' } }],
  'detectLocal.interfaceNamePrefix': [
    'v',
    'InterfaceNamePrefix',
    { detectLocal: { kind: 'interface-prefix', prefix: 'v' } },
  ],
  clusterCIDR: ['10.0.0.0/8', '', { detectLocal: { kind: 'cidr', cidrs: ['10.0.0.0/8'] } }],
  nodePortAddresses: [['10.0.0.0/8'], 'nftables', { nodePortAddresses: ['10.0.0.0/8'] }],
  oomScoreAdj: [-5, '', { oomScoreAdj: -5 }],
  'conntrack.maxPerCore': [0, '', { conntrack: { ...parse('').settings.conntrack, maxPerCore: 0 } }],
  'conntrack.min': [5, '', { conntrack: { ...parse('').settings.conntrack, minimum: 5 } }],
  'conntrack.tcpEstablishedTimeout': [
    '0s',
    '',
    { conntrack: { ...parse('').settings.conntrack, tcpEstablishedTimeoutMs: 0 } },
  ],
  'conntrack.tcpCloseWaitTimeout': [
    '1s',
    '',
    { conntrack: { ...parse('').settings.conntrack, tcpCloseWaitTimeoutMs: 1000 } },
  ],
  'conntrack.tcpBeLiberal': [true, '', { conntrack: { ...parse('').settings.conntrack, tcpBeLiberal: true } }],
  'conntrack.udpTimeout': ['1s', '', { conntrack: { ...parse('').settings.conntrack, udpTimeoutMs: 1000 } }],
  'conntrack.udpStreamTimeout': [
    '1s',
    '',
    { conntrack: { ...parse('').settings.conntrack, udpStreamTimeoutMs: 1000 } },
  ],
  configSyncPeriod: ['1m', '', { configSyncPeriodMs: 60_000 }],
  portRange: ['1-2', '', { warnings: ['portRange does nothing: it was for a mode that upstream has no longer'] }],
  windowsRunAsService: [true, '', /windowsRunAsService: true is for nodes of Windows/],
};

function documentWith(path: string, value: unknown, mode: string): string {
  const [first, second] = path.split('.') as [string, string?];
  const isDetection = mode.endsWith('Interface') || mode.endsWith('Prefix');
  return JSON.stringify({
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    ...(mode === '' ? {} : isDetection ? { detectLocalMode: mode } : { mode }),
    [first]: second === undefined ? value : { [second]: value },
  });
}

describe('KubeProxyConfiguration', () => {
  it('has every field of upstream, and each does something, is refused, or is told to do nothing', () => {
    assert.deepEqual(Object.keys(every), Object.keys(configurationFields));
    for (const [path, [value, mode, effect]] of Object.entries(every)) {
      const text = documentWith(path, value, mode);
      if (effect instanceof RegExp) {
        assert.throws(() => parseProxyConfiguration(text), { code: 'INVALID_CONFIGURATION', message: effect }, path);
        continue;
      }
      const loaded = parseProxyConfiguration(text);
      const read: Record<string, unknown> = { ...loaded.settings, ...loaded };
      for (const [name, expected] of Object.entries(effect)) assert.deepEqual(read[name], expected, `${path}: ${name}`);
      const [bare, plain] = [
        parseProxyConfiguration(
          documentWith(
            'apiVersion',
            'kubeproxy.config.k8s.io/v1alpha1',
            mode.endsWith('x') || mode.endsWith('Interface') ? '' : mode,
          ),
        ),
        JSON.stringify(value),
      ];
      for (const [name, expected] of Object.entries(effect))
        assert.notDeepEqual(
          { ...bare.settings, ...bare }[name as 'mode'],
          expected,
          `${path} ${plain} changes nothing`,
        );
    }
  });

  it('takes what kubeadm writes as upstream takes it', () => {
    const { settings, connection, warnings } = parse(kubeadm);
    assert.deepEqual(warnings, []);
    assert.equal(settings.mode, 'iptables');
    assert.deepEqual(settings.detectLocal, { kind: 'cidr', cidrs: ['10.244.0.0/16', 'fd00::/48'] });
    assert.deepEqual(connection, { kubeconfig: '/var/lib/kube-proxy/kubeconfig.conf', qps: 5, burst: 10 });
    assert.deepEqual([settings.healthzBindAddress, settings.metricsBindAddress], ['0.0.0.0:10256', '127.0.0.1:10249']);
    assert.deepEqual([settings.syncPeriodMs, settings.masqueradeBit, settings.oomScoreAdj], [30_000, 14, -999]);
    assert.deepEqual([settings.localhostNodePorts, settings.nodePortAddresses], [true, []]);
    assert.deepEqual(settings.conntrack, {
      maxPerCore: 32_768,
      minimum: 131_072,
      tcpEstablishedTimeoutMs: 86_400_000,
      tcpCloseWaitTimeoutMs: 3_600_000,
      tcpBeLiberal: false,
      udpTimeoutMs: 0,
      udpStreamTimeoutMs: 0,
    });
    assert.deepEqual(parse(kubeadm.replace('mode: ""', 'mode: nftables')).settings.nodePortAddresses, ['primary']);
  });

  it('passes over unknown and repeated fields with a warning, as upstream does, and refuses wrong types', () => {
    const { warnings, settings } = parse(
      'modes: x\niptables: {speed: 1}\nclusterCIDR: 10.0.0.0/8\nclusterCIDR: 11.0.0.0/8\n',
    );
    assert.deepEqual(warnings.slice(1), ['unknown field "modes"', 'unknown field "iptables.speed"']);
    assert.match(warnings[0]!, /twice.*line 6/);
    assert.deepEqual(settings.detectLocal, { kind: 'cidr', cidrs: ['11.0.0.0/8'] });
    assert.throws(() => parse('clusterCIDR: 10\nnftables: {masqueradeBit: x, syncPeriod: 5}\nipvs: []\n'), {
      message:
        'proxy configuration: clusterCIDR: must be a string; nftables.masqueradeBit: must be an integer; nftables.syncPeriod: must be a duration such as 30s or 1m30s; ipvs: must be an object',
    });
    assert.throws(() => parseProxyConfiguration('mode: nftables\n'), { message: /apiVersion.*kind/ });
    assert.throws(() => parseProxyConfiguration('a: b: c'), { message: /not YAML/ });
    assert.throws(() => parseProxyConfiguration('[]'), { message: /must be an object/ });
  });

  it('checks values as upstream does, all at once', () => {
    const cases: [string, RegExp][] = [
      ['clusterCIDR: 10.0.0.0\ndetectLocalMode: BridgeInterface\n', /detectLocal.bridgeInterface: must be set/],
      [
        'clusterCIDR: 10.0.0.0\noomScoreAdj: 1001\n',
        /oomScoreAdj: 1001 must be within -1000 and 1000; .*clusterCIDR: "10.0.0.0" is not a CIDR/,
      ],
      ['clusterCIDR: 10.0.0.0/8,11.0.0.0/8\n', /one of each family/],
      ['mode: userspace\n', /mode: "userspace" is none of iptables, ipvs, nftables/],
      ['mode: kernelspace\n', /mode: "kernelspace" is none of/],
      ['iptables: {masqueradeBit: 32}\n', /iptables.masqueradeBit: 32 must be within 0 and 31/],
      ['iptables: {syncPeriod: -1s}\n', /iptables.syncPeriod: -1s must not be negative/],
      ['iptables: {syncPeriod: 1s, minSyncPeriod: 2s}\n', /minSyncPeriod: 2s must not be longer than syncPeriod, 1s/],
      ['bindAddress: host\n', /bindAddress: "host" is no IP address/],
      ['healthzBindAddress: host:80\n', /healthzBindAddress: "host:80" is not an address with a port/],
      ['healthzBindAddress: 1.2.3.4:0\n', /healthzBindAddress/],
      ['nodePortAddresses: [primary, 10.0.0.0/8]\n', /"primary" stands alone/],
      ['nodePortAddresses: [10.0.0.0]\n', /nodePortAddresses: "10.0.0.0" is not a CIDR/],
      ['ipvs: {excludeCIDRs: [x]}\n', /ipvs.excludeCIDRs: "x" is not a CIDR/],
      ['detectLocalMode: Magic\n', /detectLocalMode: "Magic" is none of/],
      ['conntrack: {min: -1}\n', /conntrack.min: -1 must be 0 or greater/],
      ['clientConnection: {burst: -1}\n', /burst: -1 must be 0 or greater/],
      ['logging: {format: xml, vmodule: [{filePattern: a, verbosity: 1}]}\n', /logging.format: "xml".*logging.vmodule/],
      ['featureGates: {Unheard: true}\n', /featureGates.Unheard: unknown feature gate/],
      ['featureGates: {MultiCIDRServiceAllocator: false}\n', /locked to true/],
    ];
    for (const [text, message] of cases) assert.throws(() => parse(text), { message }, text);
  });

  it('tells of feature gates that change nothing here', () => {
    const { warnings, settings } = parse(
      'featureGates: {AllAlpha: true, APIServerIdentity: false, EnvFiles: true, ComponentFlagz: false}\n',
    );
    assert.deepEqual(warnings, [
      'featureGates.AllAlpha: there are no alpha features of a proxy here',
      'featureGates.APIServerIdentity: changes nothing in a proxy',
    ]);
    assert.deepEqual(settings.featureGates, { ComponentFlagz: false });
  });

  it('has options of our own in a document behind', () => {
    const own = (text: string) => parse(`---\napiVersion: proxy.deckhand.dev/v1alpha1\nkind: ProxyOptions\n${text}`);
    assert.equal(own('serviceRoutes: false\n').settings.serviceRoutes, false);
    assert.equal(parse('').settings.serviceRoutes, true);
    assert.ok(Object.keys(ownFields).length > 0);
    assert.throws(() => own('serviceRoutes: 1\n'), { message: /serviceRoutes: must be true or false/ });
    assert.throws(() => parse('---\nkind: Other\n'), { message: /a further document must be proxy.deckhand.dev/ });
  });

  it('is written as it was read, with the defaults', async () => {
    const once = parse('mode: nftables\nipvs: {tcpTimeout: 90s}\nnodePortAddresses: [primary]\n');
    const text = await formatConfiguration(once);
    assert.match(text, /^apiVersion: kubeproxy.config.k8s.io\/v1alpha1\nkind: KubeProxyConfiguration\n/);
    assert.match(text, /tcpTimeout: 1m30s\n/);
    assert.deepEqual(parseProxyConfiguration(text), once);
  });
});

/** What `kube-proxy --help` of 1.36 lists. */
const released = `
  bind-address bind-address-hard-fail boot-id-file cleanup cluster-cidr config config-sync-period conntrack-max-per-core
  conntrack-min conntrack-tcp-be-liberal conntrack-tcp-timeout-close-wait conntrack-tcp-timeout-established
  conntrack-udp-timeout conntrack-udp-timeout-stream detect-local-mode feature-gates healthz-bind-address healthz-port help
  hostname-override init-only iptables-localhost-nodeports iptables-masquerade-bit iptables-min-sync-period
  iptables-sync-period ipvs-exclude-cidrs ipvs-min-sync-period ipvs-scheduler ipvs-strict-arp ipvs-sync-period
  ipvs-tcp-timeout ipvs-tcpfin-timeout ipvs-udp-timeout kube-api-burst kube-api-content-type kube-api-qps kubeconfig
  log-flush-frequency log-json-info-buffer-size log-json-split-stream log-text-info-buffer-size log-text-split-stream
  logging-format machine-id-file masquerade-all master metrics-bind-address metrics-port nodeport-addresses oom-score-adj
  pod-bridge-interface pod-interface-name-prefix profiling proxy-mode show-hidden-metrics-for-version v version vmodule
  write-config-to
`
  .split(/\s+/)
  .filter(Boolean);

describe('flags of the proxy', () => {
  it('every flag of a 1.36 kube-proxy is known, and none else', () => {
    assert.deepEqual(Object.keys(proxyFlags).sort(), released);
    const isInFile = (field: string) => field.startsWith('logging.') || Object.hasOwn(configurationFields, field);
    for (const [name, { field, help }] of Object.entries(proxyFlags)) {
      assert.ok(help, name);
      assert.ok(!field || isInFile(field), `${name}: ${field}`);
    }
  });

  it('become fields of the configuration', async () => {
    const { settings, connection, hostnameOverride, logging } = await loadProxyConfiguration({
      'proxy-mode': 'ipvs',
      'cluster-cidr': '10.0.0.0/8',
      'masquerade-all': true,
      'iptables-sync-period': '7s',
      'ipvs-sync-period': '9s',
      'ipvs-min-sync-period': '0',
      'ipvs-exclude-cidrs': ['10.0.0.0/8,11.0.0.0/8'],
      'nodeport-addresses': ['10.0.0.0/8', '11.0.0.0/8'],
      'feature-gates': ['AllowServiceExternalIPs=false'],
      kubeconfig: '/k',
      'kube-api-qps': '-1',
      'hostname-override': ' N ',
      'healthz-port': '0',
      'metrics-port': '1',
      'logging-format': 'json',
      v: '5',
    });
    assert.equal(settings.mode, 'ipvs');
    assert.deepEqual(
      [settings.masqueradeAll, settings.syncPeriodMs, settings.minSyncPeriodMs],
      [true, 9000, undefined],
    );
    assert.deepEqual(settings.ipvs.excludeCidrs, ['10.0.0.0/8', '11.0.0.0/8']);
    assert.deepEqual(settings.nodePortAddresses, ['10.0.0.0/8', '11.0.0.0/8']);
    assert.deepEqual(settings.featureGates, { AllowServiceExternalIPs: false });
    assert.deepEqual(connection, { kubeconfig: '/k', qps: -1, burst: 10 });
    assert.deepEqual([settings.healthzBindAddress, settings.metricsBindAddress], ['', '127.0.0.1:1']);
    assert.deepEqual([hostnameOverride, logging], ['n', { format: 'json', verbosity: 5 }]);
    const nftables = await loadProxyConfiguration({
      'proxy-mode': 'nftables',
      'iptables-min-sync-period': '3s',
      'bind-address': '::1',
      'healthz-port': '9',
    });
    assert.deepEqual([nftables.settings.minSyncPeriodMs, nftables.settings.healthzBindAddress], [3000, '[::]:9']);
  });

  it('are refused by name', async () => {
    const cases: [Record<string, string | boolean | string[]>, RegExp][] = [
      [{ 'oom-score-adj': 'x' }, /^--oom-score-adj: "x" is no whole number/],
      [{ 'kube-api-qps': 'x' }, /^--kube-api-qps: "x" is no number/],
      [{ 'config-sync-period': '5' }, /^--config-sync-period: "5" is no duration/],
      [{ 'feature-gates': ['A'] }, /^--feature-gates: "A" is not NAME=true or NAME=false/],
      [{ vmodule: 'a=1' }, /^--vmodule: a=1: lines belong to components/],
      [{ 'log-text-split-stream': true }, /^--log-text-split-stream: true: /],
      [{ 'proxy-mode': 'x' }, /^flags: mode: "x" is none of/],
      [{ config: '/nowhere' }, /^cannot read --config \/nowhere: ENOENT/],
      [{ 'hostname-override': ' ' }, /^--hostname-override: must not be blank/],
    ];
    for (const [flags, message] of cases) await assert.rejects(loadProxyConfiguration(flags), { message });
  });

  it('with a file only those of logging and the name of the node count, and the others are named', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'deckhand-proxy-'));
    try {
      const config = join(directory, 'config.yaml');
      await writeFile(config, `${head}mode: nftables\nhostnameOverride: a\nlogging: {verbosity: 1}\n`);
      const flags = {
        config,
        'proxy-mode': 'ipvs',
        'masquerade-all': true,
        'hostname-override': 'b',
        v: '4',
        master: 'x',
      };
      const loaded = await loadProxyConfiguration(flags);
      assert.equal(loaded.settings.mode, 'nftables');
      assert.equal(loaded.settings.masqueradeAll, false);
      assert.equal(loaded.hostnameOverride, 'b');
      assert.deepEqual(loaded.logging, { verbosity: 4 });
      assert.deepEqual(loaded.warnings, ['ignored, because --config says everything: --masquerade-all, --proxy-mode']);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});

describe('durations and addresses', () => {
  it('are read and written as upstream does', () => {
    const read: [string, number | undefined][] = [
      ['1h2m3.5s', 3_723_500],
      ['0', 0],
      ['150ms', 150],
      ['1', undefined],
      ['s', undefined],
      ['-1s', -1000],
    ];
    for (const [text, ms] of read) assert.equal(parseDuration(text), ms, text);
    for (const text of ['1h2m3.5s', '0s', '150ms', '15m0s', '24h0m0s', '30s'])
      assert.equal(formatDuration(parseDuration(text)!), text);
    assert.deepEqual(splitBindAddress('[::1]:80'), { host: '::1', port: 80 });
    assert.deepEqual(splitBindAddress(':80'), { host: '0.0.0.0', port: 80 });
    assert.equal(splitBindAddress('1.2.3.4'), undefined);
  });
});
