import assert from 'node:assert/strict';
import { test } from 'node:test';
import { convertCniResult, parseCniResult, podAddresses } from './cni-result.ts';

const modern = {
  cniVersion: '1.0.0',
  interfaces: [
    { name: 'cni0' },
    { name: 'veth1' },
    { name: 'eth0', mac: '02:00:00:00:00:01', sandbox: '/run/netns/x' },
    { name: 'net1', sandbox: '/run/netns/x' },
  ],
  ips: [
    { address: 'fd00::2/64', gateway: 'fd00::1', interface: 2 },
    { address: '10.0.0.2/24', gateway: '10.0.0.1', interface: 2 },
    { address: '10.9.0.2/24', interface: 3 },
  ],
  routes: [{ dst: '0.0.0.0/0', gw: '10.0.0.1' }, { dst: '::/0' }],
  dns: { nameservers: ['10.0.0.1'] },
};

test("only the addresses of the own link are the pod's, IPv4 first", () => {
  assert.deepEqual(podAddresses(modern, 'eth0'), ['10.0.0.2', 'fd00::2']);
  assert.deepEqual(podAddresses({ cniVersion: '1.0.0', ips: [{ address: '10.0.0.3/32' }] }, 'eth0'), ['10.0.0.3']);
  assert.deepEqual(podAddresses(parseCniResult(''), 'eth0'), []);
});

test('results go from version to version', () => {
  const old = convertCniResult(modern, '0.4.0') as { cniVersion: string; ips: { version: string }[] };
  assert.deepEqual(
    old.ips.map(({ version }) => version),
    ['6', '4', '4'],
  );
  assert.equal(old.cniVersion, '0.4.0');
  assert.deepEqual(convertCniResult(parseCniResult(JSON.stringify(old)), '1.0.0'), modern);
  const first = convertCniResult(modern, '0.2.0');
  assert.deepEqual(first, {
    cniVersion: '0.2.0',
    dns: modern.dns,
    ip4: { ip: '10.0.0.2/24', gateway: '10.0.0.1', routes: [{ dst: '0.0.0.0/0', gw: '10.0.0.1' }] },
    ip6: { ip: 'fd00::2/64', gateway: 'fd00::1', routes: [{ dst: '::/0' }] },
  });
  assert.deepEqual(podAddresses(parseCniResult(JSON.stringify(first)), 'eth0'), ['10.0.0.2', 'fd00::2']);
});

test('what is no result is refused', () => {
  for (const text of ['x', '[]', '{"cniVersion":"7.0.0"}', '{"cniVersion":"1.0.0","ips":[{"address":5}]}'])
    assert.throws(() => parseCniResult(text), Error, text);
});
