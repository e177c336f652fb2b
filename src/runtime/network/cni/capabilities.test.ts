import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { DNSConfigSchema, PortMappingSchema, Protocol } from '../../../api/cri/index.ts';
import type { PodNetworkRequest } from '../pod-network.ts';
import { capabilityArguments, checkCapabilities, runtimeConfigOf } from './capabilities.ts';

const request = (more: Partial<PodNetworkRequest>): PodNetworkRequest => ({
  sandboxId: 'id',
  name: 'web',
  namespace: 'default',
  uid: 'uid',
  namespacePath: '/run/netns/x',
  portMappings: [],
  annotations: {},
  ...more,
});
const port = create(PortMappingSchema, { protocol: Protocol.UDP, hostPort: 53, containerPort: 5353, hostIp: '::1' });
const dns = create(DNSConfigSchema, { servers: ['10.96.0.10'] });

test('a plugin is told what it has declared, and nothing else', () => {
  const annotations = { 'kubernetes.io/ingress-bandwidth': '10M' };
  const asked = capabilityArguments(request({ portMappings: [port], annotations, dns, cgroupParent: '/pods/x' }));
  const all = { portMappings: true, bandwidth: true, dns: true, cgroupPath: true, mac: true };
  assert.deepEqual(runtimeConfigOf({ type: 'any', capabilities: all }, asked), {
    portMappings: [{ hostPort: 53, containerPort: 5353, protocol: 'udp', hostIP: '::1' }],
    bandwidth: { ingressRate: 10_000_000, ingressBurst: 2_147_483_647 },
    dns: { servers: ['10.96.0.10'], searches: [], options: [] },
    cgroupPath: '/pods/x',
  });
  assert.equal(runtimeConfigOf({ type: 'any', capabilities: { portMappings: false } }, asked), undefined);
  assert.equal(runtimeConfigOf({ type: 'any' }, asked), undefined);
});

test('what no plugin can do is refused', () => {
  const configuration = { cniVersion: '1.0.0', name: 'net', plugins: [{ type: 'bridge' }] };
  assert.throws(
    () => checkCapabilities(configuration, capabilityArguments(request({ portMappings: [port] }))),
    /host ports, and no plugin of CNI network "net" has the capability portMappings/,
  );
  checkCapabilities(configuration, capabilityArguments(request({ dns })));
});
