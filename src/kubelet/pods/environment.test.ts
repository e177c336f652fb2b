import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ConfigMap, Container, EnvVar, Secret, Service } from '../../api/index.ts';
import { makeContainer, makePod } from '../testing/pods.ts';
import { type EnvironmentSources, makeEnvironment } from './environment.ts';
import { expandVariables } from './expand.ts';

const sources: EnvironmentSources = {
  configMap: async (_namespace, name) =>
    name === 'map' ? ({ data: { a: '1', b: '2' } } as unknown as ConfigMap) : undefined,
  secret: async (_namespace, name) =>
    name === 'secret' ? ({ data: { word: Buffer.from('hush').toString('base64') } } as unknown as Secret) : undefined,
  services: async () => services,
  allocatable: () => ({ cpu: '4', memory: '1Gi' }),
  podIps: ['10.0.0.2', 'fd00::2'],
  hostIps: ['192.0.2.1'],
  nodeName: 'node-1',
  volumes: new Map(),
};
const services = [
  {
    metadata: { name: 'kubernetes', namespace: 'default' },
    spec: { clusterIP: '10.96.0.1', ports: [{ name: 'https', port: 443 }] },
  },
  {
    metadata: { name: 'my-db', namespace: 'default' },
    spec: { clusterIP: '10.96.0.7', ports: [{ port: 5432, protocol: 'TCP' }] },
  },
  { metadata: { name: 'headless', namespace: 'default' }, spec: { clusterIP: 'None', ports: [{ port: 1 }] } },
  { metadata: { name: 'far', namespace: 'other' }, spec: { clusterIP: '10.96.0.8', ports: [{ port: 1 }] } },
] as unknown as Service[];

async function environment(
  env: EnvVar[],
  changes: Partial<Container> = {},
  links = true,
): Promise<Record<string, string>> {
  const container = makeContainer('main', { env, ...changes });
  const pod = makePod(
    { containers: [container], enableServiceLinks: links, serviceAccountName: 'robot' },
    { labels: { app: 'x' } },
  );
  return Object.fromEntries(await makeEnvironment(pod, container, sources));
}

describe('expandVariables', () => {
  it('replaces what is known, keeps what is not, and unescapes', () => {
    const lookup = (name: string) => ({ A: '1', B: '$(A)' })[name];
    assert.equal(expandVariables('$(A) $(B) $(C) $$(A) $$$$ $A $(A', lookup), '1 $(A) $(C) $(A) $$ $A $(A');
  });
});

describe('makeEnvironment', () => {
  it('takes values from every source', async () => {
    const from = (valueFrom: EnvVar['valueFrom'], name = 'X'): EnvVar => ({ name, valueFrom });
    const cases: [EnvVar['valueFrom'], string | undefined][] = [
      [{ fieldRef: { fieldPath: 'metadata.name' } }, 'web'],
      [{ fieldRef: { fieldPath: "metadata.labels['app']" } }, 'x'],
      [{ fieldRef: { fieldPath: 'spec.nodeName' } }, 'node-1'],
      [{ fieldRef: { fieldPath: 'spec.serviceAccountName' } }, 'robot'],
      [{ fieldRef: { fieldPath: 'status.podIPs' } }, '10.0.0.2,fd00::2'],
      [{ fieldRef: { fieldPath: 'status.hostIP' } }, '192.0.2.1'],
      [{ configMapKeyRef: { name: 'map', key: 'b' } }, '2'],
      [{ configMapKeyRef: { name: 'map', key: 'none', optional: true } }, undefined],
      [{ secretKeyRef: { name: 'secret', key: 'word' } }, 'hush'],
      [{ secretKeyRef: { name: 'none', key: 'word', optional: true } }, undefined],
      [{ resourceFieldRef: { resource: 'limits.memory', divisor: '1Mi' } }, '64'],
      [{ resourceFieldRef: { resource: 'limits.cpu' } }, '4'],
      [{ resourceFieldRef: { resource: 'requests.cpu', divisor: '1m' } }, '250'],
    ];
    const resources = { limits: { memory: '64Mi' }, requests: { cpu: '250m' } };
    for (const [valueFrom, wanted] of cases) {
      const { X } = await environment([from(valueFrom)], { resources });
      assert.equal(X, wanted, JSON.stringify(valueFrom));
    }
  });

  it('expands references to earlier variables and to services', async () => {
    const all = await environment([
      { name: 'A', value: 'a' },
      { name: 'B', value: '$(A)-$(MY_DB_SERVICE_HOST)-$(LATER)' },
      { name: 'LATER', value: 'x' },
    ]);
    assert.equal(all['B'], 'a-10.96.0.7-$(LATER)');
  });

  it('puts envFrom below env, with prefixes', async () => {
    const all = await environment([{ name: 'P_a', value: 'own' }], {
      envFrom: [{ prefix: 'P_', configMapRef: { name: 'map' } }],
    });
    assert.deepEqual([all['P_a'], all['P_b']], ['own', '2']);
  });

  it('tells where services are: of the own namespace, and kubernetes', async () => {
    const all = await environment([]);
    assert.equal(all['MY_DB_SERVICE_PORT'], '5432');
    assert.equal(all['MY_DB_PORT_5432_TCP_ADDR'], '10.96.0.7');
    assert.equal(all['KUBERNETES_SERVICE_PORT_HTTPS'], '443');
    assert.equal(
      Object.keys(all).some((name) => /^(FAR|HEADLESS)/.test(name)),
      false,
    );
    const few = await environment([], {}, false);
    assert.deepEqual([few['KUBERNETES_SERVICE_HOST'], few['MY_DB_SERVICE_HOST']], ['10.96.0.1', undefined]);
  });

  it('says what is missing', async () => {
    const missing = { name: 'X', valueFrom: { configMapKeyRef: { name: 'map', key: 'zz' } } };
    await assert.rejects(environment([missing]), {
      reason: 'CreateContainerConfigError',
      message: "couldn't find key zz in ConfigMap default/map",
    });
    const none = { name: 'X', valueFrom: { secretKeyRef: { name: 'none', key: 'k' } } };
    await assert.rejects(environment([none]), { message: 'secret "none" not found' });
  });
});
