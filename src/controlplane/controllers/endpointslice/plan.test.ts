import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EndpointSlice, Pod, Service } from '../../../api/index.ts';
import { planSlices, type SliceStep } from './plan.ts';

const meta = (name: string) => ({ name, namespace: 'default', uid: name, resourceVersion: '1', creationTimestamp: '' });
const service = (spec: Service['spec'] = {}): Service => ({
  metadata: meta('web'),
  spec: {
    clusterIP: '10.96.0.1',
    ipFamilies: ['IPv4'],
    selector: { app: 'web' },
    ports: [{ name: 'http', port: 80, targetPort: 'web' }],
    ...spec,
  },
});
function pod(name: string, ip: string, options: { ready?: boolean; leaving?: boolean; port?: number } = {}): Pod {
  return {
    metadata: { ...meta(name), ...(options.leaving ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}) },
    spec: { nodeName: 'n', containers: [{ name: 'c', ports: [{ name: 'web', containerPort: options.port ?? 8080 }] }] },
    status: {
      phase: 'Running',
      podIP: ip,
      podIPs: [{ ip }],
      conditions: [{ type: 'Ready', status: options.ready === false ? 'False' : 'True' }],
    },
  };
}
const plan = (pods: Pod[], slices: EndpointSlice[] = [], spec: Service['spec'] = {}) =>
  planSlices({ service: service(spec), pods, slices, zoneOf: () => 'z1' });
/** What the server would have after the steps. */
function apply(steps: SliceStep[], before: EndpointSlice[] = []): EndpointSlice[] {
  const gone = new Set(steps.flatMap((step) => (step.kind === 'create' ? [] : [step.slice.metadata.name])));
  const kept = before.filter(({ metadata }) => !gone.has(metadata.name));
  return [
    ...kept,
    ...steps.flatMap((step, i) => {
      if (step.kind === 'delete') return [];
      return [
        {
          ...step.slice,
          metadata: { ...step.slice.metadata, name: step.slice.metadata.name ?? `s${before.length + i}` },
        } as EndpointSlice,
      ];
    }),
  ];
}

test('an endpoint says what its pod is, where, and in which state', () => {
  const [slice] = apply(
    plan([pod('a', '10.0.0.1'), pod('b', '10.0.0.2', { leaving: true }), pod('c', '10.0.0.3', { ready: false })]),
  );
  assert.deepEqual(slice!.ports, [{ name: 'http', port: 8080, protocol: 'TCP' }]);
  assert.deepEqual(
    slice!.endpoints?.map(({ conditions }) => conditions),
    [
      { ready: true, serving: true, terminating: false },
      { ready: false, serving: true, terminating: true },
      { ready: false, serving: false, terminating: false },
    ],
  );
  assert.deepEqual(slice!.endpoints![0], {
    addresses: ['10.0.0.1'],
    conditions: { ready: true, serving: true, terminating: false },
    targetRef: { kind: 'Pod', namespace: 'default', name: 'a', uid: 'a' },
    nodeName: 'n',
    zone: 'z1',
  });
  const all = apply(plan([pod('c', '10.0.0.3', { ready: false })], [], { publishNotReadyAddresses: true }));
  assert.equal(all[0]!.endpoints![0]!.conditions?.ready, true);
});

test('nothing to do is nothing done', () => {
  const pods = [pod('a', '10.0.0.1'), pod('b', '10.0.0.2')];
  const slices = apply(plan(pods));
  assert.deepEqual(plan(pods, slices), []);
});

test('at most 100 endpoints in a slice, and a change touches one slice', () => {
  const pods = Array.from({ length: 250 }, (_, i) => pod(`p${i}`, `10.0.${i >> 8}.${i & 255}`));
  const slices = apply(plan(pods));
  assert.deepEqual(
    slices.map(({ endpoints }) => endpoints!.length),
    [100, 100, 50],
  );
  const steps = plan(pods.slice(1), slices);
  assert.equal(steps.length, 1);
  assert.equal(apply(steps, slices).flatMap(({ endpoints }) => endpoints!).length, 249);
  const more = plan([...pods, pod('new', '10.0.9.9')], slices);
  assert.deepEqual(
    more.map(({ kind }) => kind),
    ['update'],
  );
});

test('pods whose named port differs are in slices of their own', () => {
  const slices = apply(plan([pod('a', '10.0.0.1'), pod('b', '10.0.0.2', { port: 9090 })]));
  assert.deepEqual(
    slices.map(({ ports }) => ports![0]!.port),
    [8080, 9090],
  );
});

test('without pods one empty slice stays', () => {
  const slices = apply(plan([]));
  assert.equal(slices.length, 1);
  assert.deepEqual(slices[0]!.endpoints, []);
  assert.deepEqual(plan([], slices), []);
  const headless = apply(plan([], [], { clusterIP: 'None' }));
  assert.equal(headless[0]!.metadata.labels?.['service.kubernetes.io/headless'], '');
});

test('both families have slices', () => {
  const both = pod('a', '10.0.0.1');
  both.status!.podIPs = [{ ip: '10.0.0.1' }, { ip: 'fd00::1' }];
  const slices = apply(plan([both], [], { ipFamilies: ['IPv4', 'IPv6'] }));
  assert.deepEqual(
    slices.map(({ addressType, endpoints }) => [addressType, endpoints![0]!.addresses[0]]),
    [
      ['IPv4', '10.0.0.1'],
      ['IPv6', 'fd00::1'],
    ],
  );
});
