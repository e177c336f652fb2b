import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AdmissionRequest } from '../apiserver/extension-points.ts';
import { MemoryRegistry } from '../apiserver/memory-registry.ts';
import { createAdmission } from './index.ts';

const plugins = createAdmission();
const user = { username: 'ann', groups: ['system:authenticated'] };

async function namespace(labels: Record<string, string> = {}): Promise<MemoryRegistry> {
  const registry = new MemoryRegistry();
  await registry.create('namespaces', { metadata: { name: 'a', labels }, status: { phase: 'Active' } } as never);
  await registry.create('serviceaccounts', {
    metadata: { namespace: 'a', name: 'default' },
    imagePullSecrets: [{ name: 'pull' }],
  } as never);
  return registry;
}

/** Asks all plugins as the server does, and gives the object as it is then. */
async function admit(registry: MemoryRegistry, object: any, plural = 'pods'): Promise<any> {
  const request: AdmissionRequest = {
    operation: 'CREATE',
    resource: { group: '', version: 'v1', plural, kind: '' },
    subresource: '',
    namespace: 'a',
    name: object.metadata.name,
    object,
    user,
    dryRun: false,
    options: {},
    registry,
  };
  for (const plugin of plugins) await plugin.mutate?.(request);
  for (const plugin of plugins) await plugin.validate?.(request);
  return object;
}

const pod = (container: object = {}, spec: object = {}): any => ({
  metadata: { namespace: 'a', name: 'p' },
  spec: { containers: [{ name: 'c', image: 'x', ...container }], ...spec },
});

test('a pod gets what its service account has, unless it brings its own or wants none', async () => {
  const registry = await namespace();
  const { spec } = await admit(registry, pod());
  assert.deepEqual(spec.imagePullSecrets, [{ name: 'pull' }]);
  assert.equal(spec.volumes.length, 1);
  const without = await admit(registry, pod({}, { automountServiceAccountToken: false }));
  assert.equal(without.spec.volumes, undefined);
  const path = '/var/run/secrets/kubernetes.io/serviceaccount';
  const own = await admit(registry, pod({ volumeMounts: [{ name: 'mine', mountPath: path }] }));
  assert.equal(own.spec.volumes, undefined);
});

test('nothing new begins in a namespace that ends', async () => {
  const registry = await namespace();
  await registry.update<any>('namespaces', '', 'a', (one) => ({ ...one, status: { phase: 'Terminating' } }));
  await assert.rejects(admit(registry, pod()), {
    code: 403,
    message: 'pods "p" is forbidden: unable to create new content in namespace a because it is being terminated',
  });
});

test('a LimitRange fills in and bounds', async () => {
  const registry = await namespace();
  const limits = [
    {
      type: 'Container',
      default: { cpu: '500m' },
      defaultRequest: { cpu: '100m' },
      max: { cpu: '1' },
      min: { cpu: '50m' },
    },
  ];
  await registry.create('limitranges', { metadata: { namespace: 'a', name: 'l' }, spec: { limits } } as never);
  const { spec } = await admit(registry, pod());
  assert.deepEqual(spec.containers[0].resources, { limits: { cpu: '500m' }, requests: { cpu: '100m' } });
  const limited = await admit(registry, pod({ resources: { limits: { cpu: '800m' } } }));
  assert.equal(limited.spec.containers[0].resources.requests.cpu, '800m');
  await assert.rejects(admit(registry, pod({ resources: { limits: { cpu: '2' } } })), {
    message: 'pods "p" is forbidden: maximum cpu usage per Container is 1, but limit is 2',
  });
});

test('a quota counts what is there and names what must be said', async () => {
  const registry = await namespace();
  await registry.create('resourcequotas', {
    metadata: { namespace: 'a', name: 'q' },
    spec: { hard: { pods: '2', 'requests.cpu': '1' } },
  } as never);
  await assert.rejects(admit(registry, pod()), { message: /failed quota: q: must specify requests.cpu/ });
  const asking = { resources: { requests: { cpu: '600m' } } };
  await registry.create('pods', await admit(registry, pod(asking)));
  await assert.rejects(admit(registry, pod(asking)), {
    message:
      'pods "p" is forbidden: exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=600m, limited: requests.cpu=1',
  });
});

test('a label holds the pods of a namespace to a standard', async () => {
  const baseline = await namespace({ 'pod-security.kubernetes.io/enforce': 'baseline' });
  await admit(baseline, pod());
  await assert.rejects(admit(baseline, pod({ securityContext: { privileged: true } }, { hostNetwork: true })), {
    message:
      /violates PodSecurity "baseline:latest": host namespaces \(hostNetwork=true\), privileged \(container "c" must not set/,
  });
  const restricted = await namespace({ 'pod-security.kubernetes.io/enforce': 'restricted' });
  const securityContext = {
    allowPrivilegeEscalation: false,
    capabilities: { drop: ['ALL'] },
    runAsNonRoot: true,
    seccompProfile: { type: 'RuntimeDefault' },
  };
  await admit(restricted, pod({ securityContext }));
  await assert.rejects(admit(restricted, pod()), { message: /allowPrivilegeEscalation != false/ });
});

test('priorities come from classes, not from pods', async () => {
  const registry = await namespace();
  await registry.create('scheduling.k8s.io/priorityclasses', {
    metadata: { name: 'high' },
    value: 1000,
    preemptionPolicy: 'Never',
  } as never);
  const { spec } = await admit(registry, pod({}, { priorityClassName: 'high' }));
  assert.deepEqual([spec.priority, spec.preemptionPolicy], [1000, 'Never']);
  await assert.rejects(admit(registry, pod({}, { priority: 7 })), { message: /must not be provided in pod spec/ });
});
