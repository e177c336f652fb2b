import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { makePod } from '../testing/pods.ts';
import { podResolver } from './dns.ts';
import { hostsFile, podHostname } from './hostname.ts';

const host = { servers: ['192.0.2.53'], searches: ['corp.example'], options: ['timeout:2'] };
const cluster = { servers: ['10.96.0.10'], domain: 'cluster.local' };

describe('podResolver', () => {
  it('asks the cluster first', () => {
    const { resolver, warnings } = podResolver(makePod(), host, cluster);
    assert.deepEqual(resolver, {
      servers: ['10.96.0.10'],
      searches: ['default.svc.cluster.local', 'svc.cluster.local', 'cluster.local', 'corp.example'],
      options: ['ndots:5'],
    });
    assert.deepEqual(warnings, []);
  });

  it('asks as the node does with Default, in the host network, and (with a warning) without a cluster DNS', () => {
    assert.deepEqual(podResolver(makePod({ dnsPolicy: 'Default' }), host, cluster).resolver, host);
    assert.deepEqual(podResolver(makePod({ hostNetwork: true }), host, cluster).resolver, host);
    const without = podResolver(makePod(), host, { servers: [], domain: '' });
    assert.deepEqual([without.resolver, without.warnings[0]?.reason], [host, 'MissingClusterDNS']);
    const asked = podResolver(makePod({ hostNetwork: true, dnsPolicy: 'ClusterFirstWithHostNet' }), host, cluster);
    assert.deepEqual(asked.resolver.servers, ['10.96.0.10']);
  });

  it('merges the dnsConfig, and takes nothing else with None', () => {
    const dnsConfig = {
      nameservers: ['198.51.100.1'],
      searches: ['a.example'],
      options: [{ name: 'ndots', value: '2' }, { name: 'rotate' }],
    };
    const merged = podResolver(makePod({ dnsConfig }), host, cluster).resolver;
    assert.deepEqual(
      [merged.servers, merged.options],
      [
        ['10.96.0.10', '198.51.100.1'],
        ['ndots:2', 'rotate'],
      ],
    );
    assert.deepEqual(podResolver(makePod({ dnsConfig, dnsPolicy: 'None' }), host, cluster).resolver.servers, [
      '198.51.100.1',
    ]);
  });

  it('leaves out what resolvers would not read, and says so', () => {
    const dnsConfig = {
      nameservers: ['1.1.1.1', '1.1.1.2', '1.1.1.3'],
      searches: Array.from({ length: 40 }, (_, i) => `s${i}.example`),
    };
    const { resolver, warnings } = podResolver(makePod({ dnsConfig }), host, cluster);
    assert.deepEqual([resolver.servers.length, resolver.searches.length], [3, 32]);
    assert.deepEqual(
      warnings.map(({ reason }) => reason),
      ['DNSConfigForming', 'DNSConfigForming'],
    );
  });
});

describe('podHostname', () => {
  it('cuts long names and follows the spec', () => {
    assert.equal(podHostname(makePod({}, { name: `${'a'.repeat(62)}-b` }), 'c.local').kernelName, 'a'.repeat(62));
    const pod = makePod({ hostname: 'h', subdomain: 's' });
    assert.deepEqual(podHostname(pod, 'c.local'), { hostname: 'h', domain: 's.default.svc.c.local', kernelName: 'h' });
    pod.spec.setHostnameAsFQDN = true;
    assert.equal(podHostname(pod, 'c.local').kernelName, 'h.s.default.svc.c.local');
    pod.spec.hostname = 'h'.repeat(60);
    assert.throws(() => podHostname(pod, 'c.local'), { reason: 'CreatePodSandboxConfigError' });
  });

  it('writes /etc/hosts with the pod and its aliases', () => {
    const pod = makePod({ hostname: 'h', subdomain: 's', hostAliases: [{ ip: '192.0.2.9', hostnames: ['x', 'y'] }] });
    const text = hostsFile(pod, podHostname(pod, 'c.local'), ['10.0.0.2'], '');
    assert.match(text, /^10\.0\.0\.2\th\.s\.default\.svc\.c\.local\th$/m);
    assert.match(text, /^192\.0\.2\.9\tx\ty$/m);
    const node = makePod({ hostNetwork: true });
    assert.match(
      hostsFile(node, podHostname(node, 'c.local'), [], '127.0.0.1 localhost\n'),
      /\(host network\)\.\n127\.0\.0\.1 localhost/,
    );
  });
});
