import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseProxyConfiguration, splitBindAddress } from './configuration.ts';
import { parseDuration } from './configuration-fields.ts';

const head = 'apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n';

test('a kubeadm file is taken as it is', () => {
  const { settings, kubeconfig, warnings } = parseProxyConfiguration(
    `${head}bindAddress: 0.0.0.0\nbindAddressHardFail: false\nclientConnection:\n  acceptContentTypes: ""\n  burst: 0\n  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf\n  qps: 0\nclusterCIDR: 10.244.0.0/16,fd00::/48\nconfigSyncPeriod: 0s\nconntrack:\n  maxPerCore: null\n  tcpEstablishedTimeout: 1h30m\ndetectLocal:\n  bridgeInterface: ""\ndetectLocalMode: ""\nenableProfiling: false\nhealthzBindAddress: ""\nhostnameOverride: ""\niptables:\n  localhostNodePorts: null\n  masqueradeAll: false\n  masqueradeBit: null\n  minSyncPeriod: 2s\n  syncPeriod: 0s\nipvs:\n  strictARP: false\nlogging:\n  flushFrequency: 0\nmode: iptables\nnodePortAddresses: null\noomScoreAdj: null\nwinkernel:\n  enableDSR: false\n`,
  );
  assert.equal(settings.mode, 'iptables');
  assert.deepEqual(settings.detectLocal, { kind: 'cidr', cidrs: ['10.244.0.0/16', 'fd00::/48'] });
  assert.deepEqual([settings.minSyncPeriodMs, settings.syncPeriodMs, settings.masqueradeBit], [2000, 30_000, 14]);
  assert.equal(settings.localhostNodePorts, true);
  assert.equal(settings.conntrack.maxPerCore, 32768);
  assert.equal(settings.conntrack.tcpEstablishedTimeoutMs, 5_400_000);
  assert.equal(kubeconfig, '/var/lib/kube-proxy/kubeconfig.conf');
  assert.deepEqual(warnings, ['winkernel has no effect']);
});

test('every mistake is told at once', () => {
  const text = `${head}modes: iptables\nclusterCIDR: 10\nnftables:\n  masqueradeBit: x\n`;
  assert.throws(() => parseProxyConfiguration(text), {
    code: 'INVALID_CONFIGURATION',
    message:
      'proxy configuration: unknown field "modes"; clusterCIDR: must be a string; nftables.masqueradeBit: must be an integer',
  });
  assert.throws(() => parseProxyConfiguration(`${head}clusterCIDR: 10.0.0.0\ndetectLocalMode: BridgeInterface\n`), {
    message: /not a CIDR.*bridgeInterface: must be set/,
  });
  assert.throws(() => parseProxyConfiguration(`${head}mode: userspace\n`), { code: 'UNSUPPORTED' });
  assert.throws(() => parseProxyConfiguration('mode: nftables\n'), { message: /apiVersion.*kind/ });
  assert.throws(() => parseProxyConfiguration('a: b: c'), { message: /not YAML/ });
});

test('durations and addresses', () => {
  assert.deepEqual(['1h2m3.5s', '0', '150ms', '1', 's', '-1s'].map(parseDuration), [
    3_723_500,
    0,
    150,
    undefined,
    undefined,
    -1000,
  ]);
  assert.deepEqual(splitBindAddress('[::1]:80'), { host: '::1', port: 80 });
  assert.deepEqual(splitBindAddress(':80'), { host: '0.0.0.0', port: 80 });
  assert.equal(splitBindAddress('1.2.3.4'), undefined);
});

test('what has no effect here is told when the file asks for it', () => {
  const { warnings } = parseProxyConfiguration(
    'apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\noomScoreAdj: -999\nenableProfiling: true\nbindAddress: 0.0.0.0\n',
  );
  assert.deepEqual(warnings, ['oomScoreAdj has no effect', 'enableProfiling has no effect']);
});

test('the section ipvs', () => {
  const text = `${head}mode: ipvs\niptables:\n  masqueradeAll: true\nipvs:\n  scheduler: lc\n  strictARP: true\n  excludeCIDRs: [10.9.0.0/16]\n  tcpTimeout: 15m\n  minSyncPeriod: 1s\n  syncPeriod: 20s\n`;
  const { settings } = parseProxyConfiguration(text);
  assert.deepEqual(settings.ipvs, {
    ...{ scheduler: 'lc', strictArp: true, excludeCidrs: ['10.9.0.0/16'] },
    ...{ tcpTimeoutMs: 900_000, tcpFinTimeoutMs: 0, udpTimeoutMs: 0 },
  });
  assert.deepEqual(
    [settings.mode, settings.masqueradeAll, settings.minSyncPeriodMs, settings.syncPeriodMs],
    ['ipvs', true, 1000, 20_000],
  );
  assert.throws(() => parseProxyConfiguration(`${head}ipvs:\n  excludeCIDRs: [10.9.0.0]\n  udpTimeout: -1s\n`), {
    message: /ipvs.excludeCIDRs: "10.9.0.0" is not a CIDR.*ipvs.udpTimeout: must not be negative/,
  });
});
