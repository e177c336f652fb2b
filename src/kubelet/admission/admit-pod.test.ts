import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Node, PodSpec } from '../../api/index.ts';
import { makeContainer, makePod } from '../testing/pods.ts';
import { admitPod } from './admit-pod.ts';
import { podRequests } from './pod-requests.ts';

const node = {
  metadata: { name: 'n', labels: { disk: 'ssd', cores: '8' } },
  spec: {
    taints: [
      { key: 'bad', effect: 'NoExecute' },
      { key: 'soft', effect: 'NoSchedule' },
    ],
  },
  status: { allocatable: { cpu: '2', memory: '1Gi', pods: '2' } },
} as unknown as Node;
const tolerations = [{ key: 'bad', operator: 'Exists' }];
const asking = (cpu: string) => ({ containers: [makeContainer('c', { resources: { requests: { cpu } } })] });

function reason(spec: Partial<PodSpec>, others: Partial<PodSpec>[] = []): string | undefined {
  const facts = { node, maxPods: 110, allowedUnsafeSysctls: ['net.core.*'] };
  return admitPod(
    makePod({ tolerations, ...spec }),
    others.map((one) => makePod(one)),
    facts,
  )?.reason;
}

describe('admitPod', () => {
  it('counts resources and pods', () => {
    assert.equal(reason(asking('2')), undefined);
    assert.equal(reason(asking('2001m')), 'OutOfcpu');
    assert.equal(reason(asking('1500m'), [asking('1')]), 'OutOfcpu');
    assert.equal(reason({}, [{}, {}]), 'OutOfpods');
  });

  it('asks selector, affinity, name and taints', () => {
    const affinity = (operator: string, key: string, values: string[] = []) => ({
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [{ matchExpressions: [{ key, operator, values }] }],
        },
      },
    });
    assert.equal(reason({ nodeSelector: { disk: 'hdd' } }), 'NodeAffinity');
    assert.equal(reason({ affinity: affinity('In', 'disk', ['ssd']) }), undefined);
    assert.equal(reason({ affinity: affinity('Gt', 'cores', ['9']) }), 'NodeAffinity');
    assert.equal(reason({ nodeName: 'other' }), 'NodeName');
    assert.equal(reason({ tolerations: [] }), 'TaintToleration');
  });

  it('keeps host ports apart', () => {
    const port = (hostIP?: string, protocol = 'TCP') => ({
      containers: [
        makeContainer('c', { ports: [{ containerPort: 1, hostPort: 80, protocol, ...(hostIP ? { hostIP } : {}) }] }),
      ],
    });
    assert.equal(reason(port(), [port('192.0.2.1')]), 'NodePorts');
    assert.equal(reason(port('192.0.2.2'), [port('192.0.2.1')]), undefined);
    assert.equal(reason(port(undefined, 'UDP'), [port()]), undefined);
  });

  it('allows safe sysctls and those that are listed', () => {
    const sysctl = (name: string, more: Partial<PodSpec> = {}) => ({
      securityContext: { sysctls: [{ name, value: '1' }] },
      ...more,
    });
    assert.equal(reason(sysctl('net.ipv4.tcp_syncookies')), undefined);
    assert.equal(reason(sysctl('net.core.somaxconn')), undefined);
    assert.equal(reason(sysctl('vm.swappiness')), 'SysctlForbidden');
    assert.equal(reason(sysctl('net.ipv4.tcp_syncookies', { hostNetwork: true })), 'SysctlForbidden');
  });

  it('refuses pods of another system', () => {
    assert.equal(reason({ os: { name: 'windows' } }), 'PodOSNotSupported');
  });
});

describe('podRequests', () => {
  it('takes the widest moment of the init containers, with the sidecars before it', () => {
    const cpu = (name: string, request: string, more = {}) =>
      makeContainer(name, { resources: { requests: { cpu: request } }, ...more });
    const pod = makePod({
      initContainers: [cpu('s', '100m', { restartPolicy: 'Always' }), cpu('i', '900m')],
      containers: [cpu('a', '200m'), cpu('b', '300m')],
      overhead: { cpu: '10m' },
    });
    assert.equal(podRequests(pod).get('cpu'), 1010);
  });
});
