import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseDuration } from './duration.ts';
import { completeConfiguration, parseKubeletConfiguration } from './kubelet-configuration.ts';
import { resolveSettings } from './settings.ts';

const head = 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n';

describe('KubeletConfiguration', () => {
  it('fills in the defaults', () => {
    const configuration = parseKubeletConfiguration(head);
    assert.equal(configuration.port, 10250);
    assert.equal(configuration.authentication.anonymous.enabled, false);
    assert.equal(configuration.imageGCHighThresholdPercent, 85);
    assert.deepEqual(configuration.enforceNodeAllocatable, ['pods']);
  });

  it('may be completed twice', () => {
    const once = parseKubeletConfiguration(`${head}maxPods: 5\n`);
    assert.deepEqual(completeConfiguration(once), once);
  });

  it('lays later files over earlier ones, part by part', () => {
    const over = `${head}authentication: {webhook: {enabled: false}}\nclusterDNS: [10.0.0.2]\n`;
    const merged = parseKubeletConfiguration(
      `${head}authentication: {webhook: {cacheTTL: 1m}}\nclusterDNS: [10.0.0.1]\n`,
      [over],
    );
    assert.deepEqual(merged.authentication.webhook, { enabled: false, cacheTTL: '1m' });
    assert.deepEqual(merged.clusterDNS, ['10.0.0.2']);
  });

  it('refuses what it does not know or does not do, by name', () => {
    const cases: [string, RegExp][] = [
      ['maxPodz: 1', /^maxPodz: unknown field/],
      ['authentication: {x509: {file: a}}', /^authentication\.x509\.file: unknown field/],
      ['maxPods: many', /^maxPods: must be an integer, not "many"/],
      ['syncFrequency: 5', /^syncFrequency: must be a duration/],
      ['enableContentionProfiling: true', /^enableContentionProfiling: true: there are no locks to profile/],
      ['port: 1\nport: 2', /unique/],
      ['imageGCLowThresholdPercent: 90', /^imageGCLowThresholdPercent: 90 must be less/],
      ['crashLoopBackOff: {maxContainerRestartPeriod: 10m}', /^crashLoopBackOff\.maxContainerRestartPeriod: /],
      ['cgroupDriver: other', /^cgroupDriver: must be cgroupfs or systemd/],
    ];
    for (const [text, message] of cases)
      assert.throws(() => parseKubeletConfiguration(`${head}${text}\n`), { message }, text);
    assert.throws(() => parseKubeletConfiguration('kind: Other\n'), /^ConfigurationError|kind: must be/);
    assert.doesNotThrow(() =>
      parseKubeletConfiguration(`${head}enableContentionProfiling: false\nshutdownGracePeriod: 0s\n`),
    );
  });

  it('resolves durations and neighbours', () => {
    const settings = resolveSettings({
      nodeName: 'n',
      configuration: { podLogsDir: '/x/logs/pods', crashLoopBackOff: { maxContainerRestartPeriod: '30s' } },
    });
    assert.equal(settings.containerLogsDirectory, '/x/logs/containers');
    assert.equal(settings.crashLoopMaximumMs, 30_000);
    assert.equal(settings.cpuQuotaPeriodUs, 100_000);
  });
});

describe('parseDuration', () => {
  it('reads what upstream writes', () => {
    const cases: [string, number | undefined][] = [
      ['1m30s', 90_000],
      ['100ms', 100],
      ['0', 0],
      ['0s', 0],
      ['1.5h', 5_400_000],
      ['-1s', -1000],
      ['5', undefined],
      ['', undefined],
    ];
    for (const [text, ms] of cases) assert.equal(parseDuration(text), ms, text);
  });
});
