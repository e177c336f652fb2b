import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Node } from '../../api/index.ts';
import { resolveSettings } from '../config/settings.ts';
import { makeNodeStatus, type NodeFacts } from './node-status.ts';
import { draftNode, statusPatch } from './registration.ts';

const mebibyte = 1024 * 1024;
const facts = (more: Partial<NodeFacts> = {}): NodeFacts => ({
  nodeName: 'n1',
  addresses: ['10.0.0.1', 'fd00::1'],
  cloudAddresses: undefined,
  declaresFeatures: true,
  localStorage: true,
  capacity: {
    cpuMilli: 4000,
    memoryBytes: 1024 * mebibyte,
    diskBytes: 1024 * mebibyte,
    maximumPids: 1000,
    hugepages: { '2Mi': 4 * mebibyte },
  } as NodeFacts['capacity'],
  maxPods: 110,
  reserved: { cpuMilli: 500, memoryBytes: 100 * mebibyte, storageBytes: 0, pids: 0 } as NodeFacts['reserved'],
  evictionReserved: { memoryBytes: 100 * mebibyte, storageBytes: 24 * mebibyte },
  pressures: new Set(),
  kubeletVersion: 'v1.36.2',
  kubeletPort: 10250,
  runtime: {
    version: 'x://1',
    problem: undefined,
    networkProblem: undefined,
    handlers: [],
    supplementalGroupsPolicy: true,
  },
  images: [],
  devices: new Map(),
  volumesInUse: [],
  problem: undefined,
  ...more,
});
const now = '2026-01-01T00:00:00Z';
const later = '2026-01-01T00:01:00Z';

describe('the status of a node', () => {
  it('allocatable is capacity less what is reserved, the eviction thresholds and huge pages', () => {
    const { capacity, allocatable } = makeNodeStatus(facts(), undefined, now);
    assert.deepEqual(
      [capacity?.['cpu'], capacity?.['memory'], capacity?.['hugepages-2Mi'], capacity?.['pods']],
      ['4', '1048576Ki', String(4 * mebibyte), '110'],
    );
    assert.equal(allocatable?.['cpu'], '3500m');
    assert.equal(allocatable?.['memory'], `${(1024 - 100 - 100 - 4) * 1024}Ki`);
    assert.equal(allocatable?.['ephemeral-storage'], String(1000 * mebibyte));
  });

  it('conditions carry the reasons of upstream, and keep the time of their last change', () => {
    const first = makeNodeStatus(facts(), undefined, now);
    assert.deepEqual(
      first.conditions!.map(({ type, status, reason }) => `${type} ${status} ${reason}`),
      [
        'MemoryPressure False KubeletHasSufficientMemory',
        'DiskPressure False KubeletHasNoDiskPressure',
        'PIDPressure False KubeletHasSufficientPID',
        'Ready True KubeletReady',
      ],
    );
    const before = { metadata: { name: 'n1' }, status: first } as Node;
    const down = facts({ runtime: { ...facts().runtime, problem: 'container runtime is down' }, problem: 'PLEG' });
    const second = makeNodeStatus(down, before, later);
    const of = (type: string) => second.conditions!.find((one) => one.type === type)!;
    assert.deepEqual(
      [of('Ready').status, of('Ready').reason, of('Ready').message, of('Ready').lastTransitionTime],
      ['False', 'KubeletNotReady', '[container runtime is down, PLEG]', later],
    );
    assert.deepEqual([of('DiskPressure').lastTransitionTime, of('DiskPressure').lastHeartbeatTime], [now, later]);
  });

  it('what others have put there stays: conditions, and resources that an administrator gave by hand', () => {
    const status = {
      capacity: { 'example.com/dongle': '4', 'example.com/gone': '2' },
      conditions: [{ type: 'NetworkUnavailable', status: 'False' }],
    };
    const before = { metadata: { name: 'n1' }, status } as unknown as Node;
    const devices = new Map([['example.com/gone', { capacity: 0, allocatable: 0 }]]);
    const made = makeNodeStatus(facts({ devices }), before, now);
    assert.equal(made.capacity?.['example.com/dongle'], '4');
    assert.equal(made.allocatable?.['example.com/dongle'], '4');
    assert.equal(made.allocatable?.['example.com/gone'], '0');
    assert.ok(made.conditions!.some(({ type }) => type === 'NetworkUnavailable'));
  });

  it('a cloud has the last word on addresses; features are declared unless the gate is off', () => {
    const cloudAddresses = [{ type: 'ExternalIP', address: '1.2.3.4' }];
    const made = makeNodeStatus(facts({ cloudAddresses, declaresFeatures: false }), undefined, now);
    assert.deepEqual(made.addresses, cloudAddresses);
    assert.equal(made.declaredFeatures, undefined);
    assert.deepEqual(
      makeNodeStatus(facts(), undefined, now).addresses!.map(({ type, address }) => `${type} ${address}`),
      ['InternalIP 10.0.0.1', 'InternalIP fd00::1', 'Hostname n1'],
    );
  });

  it('the patch replaces addresses as a whole and takes away sizes of huge pages that are gone', () => {
    const before = { capacity: { 'hugepages-1Gi': '1', cpu: '4' }, allocatable: { 'hugepages-1Gi': '1' } };
    const { status } = statusPatch(makeNodeStatus(facts(), undefined, now), before) as any;
    assert.deepEqual(status.addresses[0], { $patch: 'replace' });
    assert.equal(status.capacity['hugepages-1Gi'], null);
    assert.equal(status.allocatable['hugepages-1Gi'], null);
  });
});

describe('the Node that a kubelet registers', () => {
  const draft = (more: object) =>
    draftNode(
      resolveSettings({ nodeName: 'n1', nodeIps: ['10.0.0.1'], ...more }),
      makeNodeStatus(facts(), undefined, now),
    );

  it('has the labels of the machine, those it was given, its taints and its provider', () => {
    const node = draft({
      nodeLabels: { a: 'b' },
      configuration: { registerWithTaints: [{ key: 't', effect: 'NoSchedule' }], providerID: 'x://1' },
    });
    assert.equal(node.metadata.labels?.['kubernetes.io/hostname'], 'n1');
    assert.equal(node.metadata.labels?.['a'], 'b');
    assert.deepEqual(node.spec?.taints, [{ key: 't', effect: 'NoSchedule' }]);
    assert.equal(node.spec?.providerID, 'x://1');
    assert.equal(node.metadata.annotations?.['volumes.kubernetes.io/controller-managed-attach-detach'], 'true');
  });

  it('waits for the cloud when there is one: a taint, and the address that it was given', () => {
    const node = draft({ externalCloud: true, nodeIpsGiven: true });
    assert.deepEqual(node.spec?.taints, [
      { key: 'node.cloudprovider.kubernetes.io/uninitialized', value: 'true', effect: 'NoSchedule' },
    ]);
    assert.equal(node.metadata.annotations?.['alpha.kubernetes.io/provided-node-ip'], '10.0.0.1');
  });
});
