import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Node, PodSpec } from '../../api/index.ts';
import { podRequests } from '../resources/pod-requests.ts';
import { makeContainer, makePod } from '../testing/pods.ts';
import { createAdmission } from './admission.ts';
import { appArmorHandler, predicateHandler, sysctlHandler } from './handlers.ts';

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

async function reason(spec: Partial<PodSpec>, others: Partial<PodSpec>[] = []): Promise<string | undefined> {
  const admission = createAdmission([
    sysctlHandler(['net.core.*']),
    predicateHandler({ node: () => node, maxPods: 110, preempt: () => {} }),
  ]);
  const pods = others.map((one) => makePod(one));
  const pod = makePod({ tolerations, ...spec });
  const failure = await admission.admit(
    pod,
    () => pods,
    () => {},
  );
  return failure?.reason;
}

describe('predicates of admission', () => {
  it('counts resources and pods', async () => {
    assert.equal(await reason(asking('2')), undefined);
    assert.equal(await reason(asking('2001m')), 'OutOfcpu');
    assert.equal(await reason(asking('1500m'), [asking('1')]), 'OutOfcpu');
    assert.equal(await reason({}, [{}, {}]), 'OutOfpods');
  });

  it('asks selector, affinity, name and taints', async () => {
    const affinity = (operator: string, key: string, values: string[] = []) => ({
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [{ matchExpressions: [{ key, operator, values }] }],
        },
      },
    });
    assert.equal(await reason({ nodeSelector: { disk: 'hdd' } }), 'NodeAffinity');
    assert.equal(await reason({ affinity: affinity('In', 'disk', ['ssd']) }), undefined);
    assert.equal(await reason({ affinity: affinity('Gt', 'cores', ['9']) }), 'NodeAffinity');
    assert.equal(await reason({ nodeName: 'other' }), 'NodeName');
    assert.equal(await reason({ tolerations: [] }), 'TaintToleration');
  });

  it('keeps host ports apart', async () => {
    const port = (hostIP?: string, protocol = 'TCP') => ({
      containers: [
        makeContainer('c', { ports: [{ containerPort: 1, hostPort: 80, protocol, ...(hostIP ? { hostIP } : {}) }] }),
      ],
    });
    assert.equal(await reason(port(), [port('192.0.2.1')]), 'NodePorts');
    assert.equal(await reason(port('192.0.2.2'), [port('192.0.2.1')]), undefined);
    assert.equal(await reason(port(undefined, 'UDP'), [port()]), undefined);
  });

  it('allows safe sysctls and those that are listed', async () => {
    const sysctl = (name: string, more: Partial<PodSpec> = {}) => ({
      securityContext: { sysctls: [{ name, value: '1' }] },
      ...more,
    });
    assert.equal(await reason(sysctl('net.ipv4.tcp_syncookies')), undefined);
    assert.equal(await reason(sysctl('net.core.somaxconn')), undefined);
    assert.equal(await reason(sysctl('vm.swappiness')), 'SysctlForbidden');
    assert.equal(await reason(sysctl('net.ipv4.tcp_syncookies', { hostNetwork: true })), 'SysctlForbidden');
  });

  it('refuses pods of another system', async () => {
    assert.equal(await reason({ os: { name: 'windows' } }), 'PodOSNotSupported');
  });
});

describe('AppArmor', () => {
  const ask = (securityContext: object, enabled: boolean) =>
    appArmorHandler(() => enabled).admit(makePod({ securityContext } as Partial<PodSpec>), []);

  it('refuses profiles that nobody enforces, and nameless ones', () => {
    const message = 'Cannot enforce AppArmor: AppArmor is not enabled on the host';
    assert.deepEqual(ask({ appArmorProfile: { type: 'RuntimeDefault' } }, false), { reason: 'AppArmor', message });
    assert.equal(ask({ appArmorProfile: { type: 'Unconfined' } }, false), undefined);
    assert.equal(ask({}, false), undefined);
    assert.equal(ask({ appArmorProfile: { type: 'RuntimeDefault' } }, true), undefined);
    assert.ok(ask({ appArmorProfile: { type: 'Localhost' } }, true));
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
