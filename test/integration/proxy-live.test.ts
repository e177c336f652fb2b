/** The proxy as a program under our API server, with upstream's rights: what changes while it runs, with real packets. */
import assert from 'node:assert/strict';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pollUntil } from '../../src/async/index.ts';
import { endpointAddresses, nodeName } from '../../src/proxy/testing/packet-cases.ts';
import type { Daemon } from '../support/daemons.ts';
import { ProxyCluster, testNode, testService, testSlice } from '../support/proxy-cluster.ts';

const clusterIp = '10.96.0.50';
const nodeAddress = '192.168.50.1';
const soon = { timeoutMs: 10_000, intervalMs: 50 };
const endpoint = (name: keyof typeof endpointAddresses, more: object = {}) => ({
  addresses: [endpointAddresses[name]],
  conditions: { ready: true },
  nodeName: name === 'r1' ? 'node-b' : nodeName,
  ...more,
});

/** Names of upstream's metrics, behind `kubeproxy_`. */
const upstreamMetrics = `
  conntrack_reconciler_deleted_entries_total conntrack_reconciler_sync_duration_seconds network_programming_duration_seconds
  proxy_healthz_total proxy_livez_total sync_full_proxy_rules_duration_seconds sync_partial_proxy_rules_duration_seconds
  sync_proxy_rules_duration_seconds sync_proxy_rules_endpoint_changes_pending sync_proxy_rules_endpoint_changes_total
  sync_proxy_rules_iptables_last sync_proxy_rules_iptables_partial_restore_failures_total
  sync_proxy_rules_iptables_restore_failures_total sync_proxy_rules_iptables_total sync_proxy_rules_last_queued_timestamp_seconds
  sync_proxy_rules_last_timestamp_seconds sync_proxy_rules_nftables_cleanup_failures_total
  sync_proxy_rules_nftables_sync_failures_total sync_proxy_rules_no_local_endpoints_total
  sync_proxy_rules_service_changes_pending sync_proxy_rules_service_changes_total
`
  .split(/\s+/)
  .filter(Boolean);

describe('a proxy that runs', { timeout: 120_000 }, () => {
  let cluster: ProxyCluster;
  let proxy: Daemon;
  let apiServer: Daemon;
  const eventually = (what: string, probe: () => Promise<boolean>) => pollUntil(what, probe, soon);
  const answers = (from: string, expected: RegExp, address = clusterIp, port = 80) =>
    eventually(`${from} to ${address}:${port} gets ${expected}`, async () =>
      expected.test(await cluster.call(from, address, port)),
    );

  before(async () => {
    cluster = await ProxyCluster.create();
    apiServer = await cluster.startApiServer();
    await cluster.configure({ mode: 'nftables' });
    proxy = cluster.startProxy();
  });
  after(async () => {
    if (process.env['DECKHAND_TEST_LOG']) console.error(cluster.daemons.tails());
    await cluster[Symbol.asyncDispose]();
  });

  it('leads Services with the rights of system:node-proxier, and says Starting on the Node', async () => {
    await cluster.apply(
      testNode(),
      testService('web', { clusterIP: clusterIp, type: 'NodePort', ports: [{ port: 80, nodePort: 30080 }] }),
      testSlice('web', [endpoint('p1')]),
    );
    await answers('client', /^p1 10\.244\.0\.10$/);
    await answers('outside', /^p1 /, nodeAddress, 30080);
    await eventually('the event', async () =>
      /"reason": "Starting"/.test(await cluster.kubectl(['get', 'events', '-o', 'json'])),
    );
    assert.doesNotMatch(proxy.said(), /forbidden/);
  });

  it('a node that is there and well is told as upstream tells it; one that is gone or about to go answers 503', async () => {
    const health = () => cluster.fetch('http://127.0.0.1:10256/healthz');
    await eventually('healthz 200', async () => (await health()).status === 200);
    const body = JSON.parse((await health()).body);
    assert.deepEqual(Object.keys(body), ['lastUpdated', 'currentTime', 'nodeEligible', 'healthy', 'status']);
    assert.equal(body.status.IPv4.healthy, true);
    const taint = ['taint', 'node', nodeName, 'ToBeDeletedByClusterAutoscaler=1:NoSchedule'];
    await cluster.kubectl(taint);
    await eventually('healthz 503', async () => (await health()).status === 503);
    const live = await cluster.fetch('http://127.0.0.1:10256/livez');
    assert.equal(live.status, 200);
    assert.ok(!('nodeEligible' in JSON.parse(live.body)));
    await cluster.kubectl([...taint.slice(0, 3), 'ToBeDeletedByClusterAutoscaler-']);
    await eventually('healthz 200 again', async () => (await health()).status === 200);
  });

  it('a changed zone of the node moves Services with hints', async () => {
    const hint = (zone: string) => ({ zone, hints: { forZones: [{ name: zone }] } });
    await cluster.apply(testSlice('web', [endpoint('p1', hint('a')), endpoint('p2', hint('b'))]));
    await answers('client', /^p1/);
    await cluster.apply(testNode('b'));
    await answers('client', /^p2/);
    await cluster.apply(testSlice('web', [endpoint('p1')]));
    await answers('client', /^p1/);
  });

  it('a changed masqueradeAll, mode and metrics address apply in place, and no connection fails meanwhile', async () => {
    let failures = 0;
    let calls = 0;
    let on = true;
    const load = (async () => {
      while (on) {
        calls++;
        if (!/^p1/.test(await cluster.call('client', clusterIp, 80))) failures++;
      }
    })();
    await cluster.configure({ mode: 'nftables', nftables: { masqueradeAll: true } });
    await answers('client', /^p1 10\.244\.0\.1$/);
    for (const mode of ['iptables', 'nftables', 'iptables', 'nftables']) {
      await cluster.configure({ mode });
      await eventually(mode, async () => (await cluster.fetch('http://127.0.0.1:10249/proxyMode')).body === mode);
      await answers('client', /^p1 10\.244\.0\.10$/);
      await eventually(`only the rules of ${mode}`, async () => {
        const saved = await cluster.network.node.output(['iptables-save', '-t', 'nat']);
        const { status } = await cluster.network.node.run(['nft', 'list', 'table', 'ip', 'deckhand-proxy']);
        return (status === 0) === (mode === 'nftables') && saved.includes('KUBE-SERVICES') === (mode === 'iptables');
      });
    }
    on = false;
    await load;
    assert.ok(calls > 20, String(calls));
    assert.equal(failures, 0, `of ${calls}`);
    await cluster.configure({ mode: 'nftables', metricsBindAddress: '127.0.0.1:10250' });
    await eventually(
      'metrics elsewhere',
      async () => (await cluster.fetch('http://127.0.0.1:10250/healthz')).body === 'ok',
    );
    assert.equal((await cluster.fetch('http://127.0.0.1:10249/healthz')).status, 0);
    await cluster.configure({ mode: 'nftables' });
    await eventually('metrics here', async () => (await cluster.fetch('http://127.0.0.1:10249/healthz')).body === 'ok');
  });

  it('a configuration that is wrong is refused by name, loudly, and the old one stays', async () => {
    await cluster.configure({ mode: 'nftables', iptables: { masqueradeBit: 40 } });
    await eventually('the metric', async () => (await cluster.metric('kubeproxy_deckhand_configuration_good')) === 0);
    assert.match(proxy.said(), /configuration refused.*iptables\.masqueradeBit: 40 must be within 0 and 31/);
    await eventually('the event', async () =>
      /"reason": "ConfigurationRefused"/.test(await cluster.kubectl(['get', 'events', '-o', 'json'])),
    );
    await writeFile(cluster.config, 'half: [');
    await eventually('told', async () => /not YAML/.test(proxy.said()));
    await answers('client', /^p1/);
    await cluster.configure({ mode: 'nftables' });
    await eventually('the metric', async () => (await cluster.metric('kubeproxy_deckhand_configuration_good')) === 1);
  });

  it('node port addresses, and addresses of links that come, count at once', async () => {
    const { node } = cluster.network;
    await cluster.apply(
      testService('lb', {
        type: 'LoadBalancer',
        clusterIP: '10.96.0.60',
        externalTrafficPolicy: 'Local',
        healthCheckNodePort: 30999,
        ports: [{ port: 80, nodePort: 30081 }],
      }),
      testSlice('lb', [endpoint('p1')]),
    );
    await eventually('health check node port', async () => {
      const { status, body } = await cluster.fetch(`http://${nodeAddress}:30999/`, '-D', '-');
      if (status !== 200) return false;
      assert.match(body, /x-load-balancing-endpoint-weight: 1/i);
      assert.match(
        body,
        /{"service":{"namespace":"default","name":"lb"},"localEndpoints":1,"serviceProxyHealthy":true}/,
      );
      return true;
    });
    await cluster.apply(testSlice('lb', [endpoint('r1')]));
    await eventually('503', async () => (await cluster.fetch(`http://${nodeAddress}:30999/`)).status === 503);
    await cluster.configure({ mode: 'nftables', nodePortAddresses: ['10.77.0.0/24'] });
    await eventually(
      'not at this address',
      async () => (await cluster.fetch(`http://${nodeAddress}:30999/`)).status === 0,
    );
    await answers('outside', /refused|timed out/i, nodeAddress, 30080);
    await node.output(['ip', 'addr', 'add', '10.77.0.1/32', 'dev', 'lo']);
    await eventually('at the new one', async () => (await cluster.fetch('http://10.77.0.1:30999/')).status === 503);
    await answers('client', /^p1/, '10.77.0.1', 30080);
    await cluster.configure({ mode: 'nftables' });
    await answers('outside', /^p1/, nodeAddress, 30080);
  });

  it('a new ServiceCIDR closes its unused addresses, and one that goes opens them', async () => {
    const { node } = cluster.network;
    await node.output(['ip', 'addr', 'add', '10.99.0.7/32', 'dev', 'lo']);
    const refused = /refused/i;
    await answers('outside', refused, '10.99.0.7');
    const range = { apiVersion: 'networking.k8s.io/v1', kind: 'ServiceCIDR', metadata: { name: 'more' } };
    await cluster.apply({ ...range, spec: { cidrs: ['10.99.0.0/24'] } });
    await answers('outside', /timed out|nothing/i, '10.99.0.7');
    await answers('outside', /^p1/, nodeAddress, 30080);
    await cluster.kubectl(['delete', 'servicecidr', 'more', '--wait=false']);
    await answers('outside', refused, '10.99.0.7');
  });

  it('metrics have the names of upstream, and values after this story', async () => {
    const trigger = { 'endpoints.kubernetes.io/last-change-trigger-time': new Date().toISOString() };
    const slice = testSlice('web', [endpoint('p1'), endpoint('p2')]) as { metadata: object };
    await cluster.apply({ ...slice, metadata: { ...slice.metadata, annotations: trigger } });
    await answers('client', /^p2/);
    await cluster.apply(testSlice('web', [endpoint('p1')]));
    const { body } = await cluster.fetch('http://127.0.0.1:10249/metrics');
    for (const name of upstreamMetrics) assert.match(body, new RegExp(`^# TYPE kubeproxy_${name} `, 'm'), name);
    const value = (name: string) =>
      Number(
        body
          .split('\n')
          .find((line) => line.startsWith(`${name} `))
          ?.split(' ')[1],
      );
    for (const name of [
      'kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family="IPv4"}',
      'kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family="IPv4"}',
      'kubeproxy_sync_partial_proxy_rules_duration_seconds_count{ip_family="IPv4"}',
      'kubeproxy_network_programming_duration_seconds_count{ip_family="IPv4"}',
      'kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family="IPv6"}',
      'kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds{ip_family="IPv4"}',
      'kubeproxy_sync_proxy_rules_service_changes_total',
      'kubeproxy_sync_proxy_rules_endpoint_changes_total',
      'kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family="IPv4",traffic_policy="external"}',
      'kubeproxy_proxy_healthz_total{code="200"}',
      'kubeproxy_proxy_healthz_total{code="503"}',
      'kubeproxy_proxy_livez_total{code="200"}',
      'kubeproxy_deckhand_change_duration_seconds_count',
      'process_resident_memory_bytes',
      'process_cpu_seconds_total',
      'process_start_time_seconds',
    ])
      assert.ok(value(name) > 0, name);
    assert.equal(value('kubeproxy_sync_proxy_rules_service_changes_pending'), 0);
    for (const [name, bucket] of [
      ['network_programming_duration_seconds', '0.25'],
      ['network_programming_duration_seconds', '300'],
      ['sync_proxy_rules_duration_seconds', '16.384'],
    ])
      assert.match(
        body,
        new RegExp(`^kubeproxy_${name}_bucket\\{le="${bucket}",ip_family="IPv4"\\}`, 'm'),
        `${name} ${bucket}`,
      );
    assert.match(body, /^rest_client_requests_total\{code="200",method="GET",host="127\.0\.0\.1:6443"\} [1-9]/m);
    assert.match(body, /^kubernetes_build_info\{major="1",minor="36",git_version="v1\.36\.2",.*\} 1$/m);
    assert.match(body, /^kubernetes_feature_enabled\{name="AllowServiceExternalIPs",stage=""\} 1$/m);
  });

  it('the status port has what upstream has there', async () => {
    const get = (path: string, ...options: string[]) => cluster.fetch(`http://127.0.0.1:10249${path}`, ...options);
    assert.match((await get('/healthz?verbose')).body, /\[\+\]ping ok\nhealthz check passed/);
    assert.match((await get('/metrics/slis')).body, /kubernetes_healthcheck\{name="ping",type="healthz"\} 1/);
    const { 'kubeproxy.config.k8s.io': document } = JSON.parse((await get('/configz')).body);
    assert.deepEqual(
      [document.kind, document.mode, document.configSyncPeriod],
      ['KubeProxyConfiguration', 'nftables', '15m0s'],
    );
    assert.match((await get('/flagz')).body, /^config=.*config\.yaml$/m);
    assert.match((await get('/statusz')).body, /^Paths: .*\/metrics\/slis/m);
    assert.equal((await get('/debug/pprof/')).status, 404);
    await cluster.configure({ mode: 'nftables', enableProfiling: true, featureGates: { ComponentFlagz: false } });
    await eventually('profiles', async () => (await get('/debug/pprof/')).status === 200);
    assert.equal((await get('/flagz')).status, 404);
    const profile = await get('/debug/pprof/profile?seconds=0.2');
    assert.ok(JSON.parse(profile.body).nodes.length > 0);
    assert.match((await get('/debug/flags/v', '-X', 'PUT', '-d', '4')).body, /set klog.logging.verbosity to 4/);
    await cluster.configure({ mode: 'nftables' });
    await eventually('no profiles', async () => (await get('/debug/pprof/')).status === 404);
  });

  it('other credentials, in another kubeconfig or in the same file, are used from then on', async () => {
    const pki = (name: string) => join(cluster.directory, 'pki', name);
    await copyFile(pki('kube-proxy.conf'), pki('rotated.conf'));
    await cluster.configure({ mode: 'nftables' }, 'rotated.conf');
    await eventually('asked for', async () =>
      (await cluster.fetch('http://127.0.0.1:10249/configz')).body.includes('rotated.conf'),
    );
    await copyFile(pki('admin.conf'), pki('rotated.conf'));
    await eventually('read again', async () => /has read files again.*kubeconfig/.test(proxy.said()));
    await cluster.apply(testSlice('web', [endpoint('p2')]));
    await answers('client', /^p2/);
    assert.doesNotMatch(proxy.said(), /401|unauthorized/i);
  });

  it('an API server that is away changes nothing; it is told, and what comes after its return counts', async () => {
    await apiServer.end('SIGKILL');
    await eventually('told', async () => /the API server does not answer/.test(proxy.said()));
    assert.match(await cluster.call('client', clusterIp, 80), /^p2/);
    assert.equal((await cluster.fetch('http://127.0.0.1:10256/healthz')).status, 200);
    apiServer = await cluster.startApiServer();
    await cluster.apply(testSlice('web', [endpoint('p1')]));
    await answers('client', /^p1/);
    assert.match(proxy.said(), /the API server answers/);
  });

  it('objects that no proxy can use hold up no others, and are told on the Service', async () => {
    const bad = (name: string, spec: object, slice: object[]) => [testService(name, spec), testSlice(name, slice)];
    await cluster.apply(
      ...bad(
        'range',
        { type: 'LoadBalancer', loadBalancerSourceRanges: ['10.0.0.0/8'], externalIPs: [nodeAddress] },
        [],
      ),
      ...bad('twin', { externalIPs: ['203.0.113.7'] }, [endpoint('p1')]),
      ...bad('twin2', { externalIPs: ['203.0.113.7'] }, [endpoint('p2')]),
      ...bad('fine', { clusterIP: '10.96.0.70' }, [endpoint('p2')]),
    );
    await answers('client', /^p2/, '10.96.0.70');
    await answers('outside', /^p1/, '203.0.113.7');
    await eventually('the event', async () =>
      /"reason": "AddressConflict"/.test(await cluster.kubectl(['get', 'events', '-o', 'json'])),
    );
    await cluster.kubectl(['delete', 'service', 'twin']);
    await answers('outside', /^p2/, '203.0.113.7');
  });

  it('a proxy that starts before its API server waits, says for what, and then serves', async () => {
    await proxy.end('SIGKILL');
    await apiServer.end('SIGKILL');
    proxy = cluster.startProxy('-v', '4');
    await eventually('started', async () => (await cluster.fetch('http://127.0.0.1:10256/livez')).status === 200);
    assert.equal((await cluster.fetch('http://127.0.0.1:10256/healthz')).status, 503);
    assert.match(await cluster.call('client', clusterIp, 80), /^p1/, 'rules of before serve on');
    apiServer = await cluster.startApiServer();
    await cluster.apply(testSlice('web', [endpoint('p2')]));
    await answers('client', /^p2/);
    assert.match(proxy.said(), /the API server does not answer/);
  });

  it('a Service that goes to another proxy, and comes back, by its label', async () => {
    const label = 'service.kubernetes.io/service-proxy-name';
    await cluster.kubectl(['label', 'service', 'web', `${label}=other`]);
    await answers('client', /refused|timed out|unreachable|nothing/i);
    await cluster.kubectl(['label', 'service', 'web', `${label}-`]);
    await answers('client', /^p2/);
  });

  it('what is done once: --version, --write-config-to, --init-only', async () => {
    const { node } = cluster.network;
    const run = (...flags: string[]) => node.run([process.execPath, 'src/cli/main.ts', 'proxy', ...flags]);
    assert.equal((await run('--version')).stdout, 'Kubernetes v1.36.2\n');
    const file = join(cluster.directory, 'written.yaml');
    await run('--write-config-to', file, '--proxy-mode', 'ipvs', '--ipvs-scheduler', 'wlc');
    assert.match(await readFile(file, 'utf8'), /^kind: KubeProxyConfiguration\n.*scheduler: wlc\n/ms);
    const routes = '/proc/sys/net/ipv4/conf/all/route_localnet';
    await node.output(['sh', '-c', `echo 0 > ${routes}`]);
    const done = await run('--init-only', '--conntrack-max-per-core', '0', '--conntrack-tcp-timeout-close-wait', '61s');
    assert.equal(done.status, 0, done.stderr);
    assert.equal(await node.output(['cat', routes]), '1\n');
    const wait = ['cat', '/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close_wait'];
    assert.equal(await node.output(wait), '61\n');
    const wrong = await run('--proxy-mode', 'userspace');
    assert.equal(wrong.status, 2);
    assert.match(wrong.stderr, /^deckhand: flags: mode: "userspace" is none of iptables, ipvs, nftables; see/);
  });

  it('--cleanup takes all of it away', async () => {
    await proxy.end();
    const { node } = cluster.network;
    await node.output(['nft', 'add', 'table', 'ip', 'kube-proxy']);
    await node.output(['nft', 'add', 'table', 'ip', 'others']);
    await node.output([process.execPath, 'src/cli/main.ts', 'proxy', '--cleanup']);
    const left = await node.output(['nft', 'list', 'tables']);
    assert.doesNotMatch(left, /kube-proxy|deckhand/);
    assert.match(left, /table ip others/);
    assert.doesNotMatch(await node.output(['iptables-save']), /KUBE-/);
  });
});
