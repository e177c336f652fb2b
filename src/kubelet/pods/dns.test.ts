import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { makePod } from '../testing/pods.ts';
import { podResolver, readResolver } from './dns.ts';

const host = { servers: ['192.0.2.53'], searches: ['host.test'], options: ['timeout:1'] };
const cluster = { servers: ['10.96.0.10'], domain: 'cluster.local' };
const own = ['default.svc.cluster.local', 'svc.cluster.local', 'cluster.local'];

describe('the resolver of a pod', () => {
  it('is the one of the cluster, with the domains of the host behind its own', () => {
    const { resolver, warnings } = podResolver(makePod(), host, cluster);
    assert.deepEqual(resolver, { servers: cluster.servers, searches: [...own, 'host.test'], options: ['ndots:5'] });
    assert.deepEqual(warnings, []);
  });

  it('is that of the host by policy, in the network of the host, and (with a warning) without one of the cluster', () => {
    assert.deepEqual(podResolver(makePod({ dnsPolicy: 'Default' }), host, cluster).resolver, host);
    assert.deepEqual(podResolver(makePod({ hostNetwork: true }), host, cluster).resolver, host);
    const both = makePod({ hostNetwork: true, dnsPolicy: 'ClusterFirstWithHostNet' });
    assert.deepEqual(podResolver(both, host, cluster).resolver.servers, cluster.servers);
    const { resolver, warnings } = podResolver(makePod(), host, { servers: [], domain: '' });
    assert.deepEqual(resolver, host);
    assert.equal(warnings[0]?.reason, 'MissingClusterDNS');
  });

  it('has what dnsConfig adds; an option of the same name is replaced', () => {
    const dnsConfig = {
      nameservers: ['192.0.2.1'],
      searches: ['more.test', 'cluster.local'],
      options: [{ name: 'ndots', value: '2' }, { name: 'edns0' }],
    };
    const { resolver } = podResolver(makePod({ dnsConfig }), host, cluster);
    assert.deepEqual(resolver, {
      servers: ['10.96.0.10', '192.0.2.1'],
      searches: [...own, 'host.test', 'more.test'],
      options: ['ndots:2', 'edns0'],
    });
    const { resolver: none } = podResolver(makePod({ dnsPolicy: 'None', dnsConfig }), host, cluster);
    assert.deepEqual([none.servers, none.searches], [['192.0.2.1'], ['more.test', 'cluster.local']]);
  });

  it('keeps to three servers, 32 domains and 2048 characters, and says what it left out', () => {
    const many = Array.from({ length: 40 }, (_, index) => `d${index}.test`);
    const dnsConfig = { nameservers: ['192.0.2.1', '192.0.2.2', '192.0.2.3'], searches: many };
    const { resolver, warnings } = podResolver(makePod({ dnsConfig }), host, cluster);
    assert.deepEqual([resolver.servers.length, resolver.searches.length], [3, 32]);
    assert.deepEqual(
      warnings.map(({ reason }) => reason),
      ['DNSConfigForming', 'DNSConfigForming'],
    );
    const long = Array.from({ length: 20 }, (_, index) => `${index}${'x'.repeat(200)}.test`);
    const { resolver: short } = podResolver(
      makePod({ dnsPolicy: 'None', dnsConfig: { searches: long } }),
      host,
      cluster,
    );
    assert.ok(short.searches.join(' ').length <= 2048 && short.searches.length > 8);
  });

  it('reads resolv.conf: the last search line counts, comments and the root do not', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'dh-dns-'));
    try {
      const file = join(directory, 'resolv.conf');
      await writeFile(file, '# x\nnameserver 192.0.2.1 ; y\ndomain a.test\nsearch b.test. . c.test\noptions ndots:1\n');
      assert.deepEqual(await readResolver(file), {
        servers: ['192.0.2.1'],
        searches: ['b.test', 'c.test'],
        options: ['ndots:1'],
      });
      assert.deepEqual(await readResolver(join(directory, 'none')), { servers: [], searches: [], options: [] });
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
