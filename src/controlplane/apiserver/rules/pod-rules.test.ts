import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryRegistry } from '../memory-registry.ts';
import { createRules, qosClassOf, ServiceAllocator } from './index.ts';
import { podCells } from './pod-cells.ts';
import { defaultPullPolicy } from './pod-defaults.ts';
import { podRequests } from './pod-resources.ts';

const rules = createRules(new ServiceAllocator({ serviceCidrs: ['10.96.0.0/16'] }))['pods']!;
const now = Date.UTC(2026, 0, 2);
const context = {
  user: { username: 'u', groups: [] },
  namespace: 'default',
  dryRun: false,
  now,
  subresource: '',
  registry: new MemoryRegistry(),
  onFailure: () => {},
};
const makePod = (spec: any = {}, metadata: any = {}): any => {
  const pod = { metadata: { name: 'web', ...metadata }, spec: { containers: [{ name: 'c', image: 'x:1' }], ...spec } };
  rules.setDefaults!(pod);
  return pod;
};
const check = (pod: any, old?: any, subresource = ''): string[] =>
  rules.validate!(pod, old, { ...context, subresource }).map(({ field, message }) => `${field}: ${message}`);

test('defaults are filled in, and filling them twice changes nothing', () => {
  const pod = makePod({
    hostNetwork: true,
    containers: [{ name: 'c', image: 'x', ports: [{ containerPort: 80 }], livenessProbe: { httpGet: { port: 80 } } }],
    volumes: [{ name: 'v' }, { name: 's', secret: { secretName: 's' } }],
  });
  const [container] = pod.spec.containers;
  assert.deepEqual(container.ports, [{ containerPort: 80, hostPort: 80, protocol: 'TCP' }]);
  assert.equal(container.imagePullPolicy, 'Always');
  assert.deepEqual(container.livenessProbe, {
    httpGet: { port: 80, path: '/', scheme: 'HTTP' },
    timeoutSeconds: 1,
    periodSeconds: 10,
    successThreshold: 1,
    failureThreshold: 3,
  });
  assert.deepEqual(pod.spec.volumes[0], { name: 'v', emptyDir: {} });
  assert.equal(pod.spec.volumes[1].secret.defaultMode, 0o644);
  const before = structuredClone(pod);
  rules.setDefaults!(pod);
  assert.deepEqual(pod, before);
  assert.deepEqual(check(pod), []);
});

test('the pull policy follows the tag', () => {
  assert.equal(defaultPullPolicy('localhost:5000/a'), 'Always');
  assert.equal(defaultPullPolicy('a:latest'), 'Always');
  assert.equal(defaultPullPolicy('localhost:5000/a:1'), 'IfNotPresent');
  assert.equal(defaultPullPolicy('a@sha256:00'), 'IfNotPresent');
});

test('everything wrong is said at once, in the words that users know', () => {
  const pod = makePod(
    {
      containers: [
        { name: 'c', image: 'x:1', resources: { limits: { memory: '1Gi' }, requests: { memory: '2Gi', foo: '1' } } },
        { name: 'c', image: 'x:1', volumeMounts: [{ name: 'gone', mountPath: '/a' }], env: [{ name: '' }] },
      ],
    },
    { name: 'Web' },
  );
  const found = check(pod);
  assert.match(found[0]!, /^metadata.name: Invalid value: "Web": a lowercase RFC 1123 subdomain must consist of/);
  assert.ok(
    found.includes(
      'spec.containers[0].resources.requests: Invalid value: "2Gi": must be less than or equal to memory limit of 1Gi',
    ),
  );
  assert.ok(
    found.includes(
      'spec.containers[0].resources.requests: Invalid value: "foo": must be a standard resource for containers',
    ),
  );
  assert.ok(found.includes('spec.containers[1].volumeMounts[0].name: Not found: "gone"'));
  assert.ok(found.includes('spec.containers[1].env[0].name: Required value'));
  assert.ok(found.includes('spec.containers[1].name: Duplicate value: "c"'));
});

test('of a running pod only the image, the deadline and tolerations change', () => {
  const old = makePod({ activeDeadlineSeconds: 100 });
  const pod = structuredClone(old);
  pod.spec.containers[0].image = 'x:2';
  pod.spec.activeDeadlineSeconds = 50;
  pod.spec.tolerations = [{ key: 'a', operator: 'Exists' }];
  assert.deepEqual(check(pod, old), []);
  pod.spec.containers[0].command = ['other'];
  const [error] = check(pod, old);
  assert.match(error!, /^spec: Forbidden: pod updates may not change fields other than `spec.containers\[\*\].image`/);
  assert.match(error!, /containers\[0\].command/);
  const longer = structuredClone(old);
  longer.spec.activeDeadlineSeconds = 200;
  assert.match(check(longer, old)[0]!, /must be less than or equal to previous value/);
});

test('ephemeral containers are added through their subresource and then stay', () => {
  const old = makePod();
  const pod = makePod({ ephemeralContainers: [{ name: 'debug', image: 'x:1', targetContainerName: 'c' }] });
  assert.deepEqual(check(pod, old, 'ephemeralcontainers'), []);
  assert.match(check(makePod(), pod, 'ephemeralcontainers')[0]!, /"debug" may not be removed/);
  assert.match(check(pod)[0]!, /cannot be set on create/);
});

test('the class of a pod and what it asks for', () => {
  const both = { requests: { cpu: '100m', memory: '1Gi' }, limits: { cpu: '0.1', memory: '1024Mi' } };
  assert.equal(qosClassOf({ containers: [{ resources: both }] }), 'Guaranteed');
  assert.equal(qosClassOf({ containers: [{ resources: both }, {}] }), 'Burstable');
  assert.equal(qosClassOf({ containers: [{ resources: { limits: { foo: '1' } } }] }), 'BestEffort');
  const spec = {
    containers: [{ resources: { requests: { cpu: '1' } } }],
    initContainers: [
      { restartPolicy: 'Always', resources: { requests: { cpu: '500m' } } },
      { resources: { requests: { cpu: '2' } } },
    ],
    overhead: { cpu: '10m' },
  };
  assert.equal(podRequests(spec).get('cpu'), 2_510_000_000n);
});

test('a pod without a node goes at once, others get their grace', () => {
  assert.equal(rules.graceSeconds!(makePod(), undefined), 0);
  const bound = makePod({ nodeName: 'n' });
  assert.equal(rules.graceSeconds!(bound, undefined), 30);
  assert.equal(rules.graceSeconds!(bound, 5), 5);
  assert.equal(rules.graceSeconds!({ ...bound, status: { phase: 'Succeeded' } }, undefined), 0);
});

test('the row of a pod says what kubectl users look for', () => {
  const at = (ms: number) => new Date(now - ms).toISOString();
  const row = (status: any, spec: any = {}, metadata: any = {}) =>
    podCells(
      {
        metadata: { name: 'p', creationTimestamp: at(90_000), ...metadata },
        spec: { containers: [{}], ...spec },
        status,
      },
      now,
    ).slice(1, 5);
  const waiting = {
    containerStatuses: [
      {
        restartCount: 3,
        state: { waiting: { reason: 'CrashLoopBackOff' } },
        lastState: { terminated: { finishedAt: at(120_000) } },
      },
    ],
  };
  assert.deepEqual(row({ phase: 'Running', ...waiting }), ['0/1', 'CrashLoopBackOff', '3 (2m ago)', '90s']);
  const init = { initContainerStatuses: [{ name: 'i', state: { running: {} } }] };
  assert.deepEqual(row({ phase: 'Pending', ...init }, { initContainers: [{ name: 'i' }] }), [
    '0/1',
    'Init:0/1',
    '0',
    '90s',
  ]);
  const ready = { containerStatuses: [{ ready: true, state: { running: {} } }] };
  assert.deepEqual(row({ phase: 'Running', ...ready }), ['1/1', 'Running', '0', '90s']);
  assert.deepEqual(row({ phase: 'Running', ...ready }, {}, { deletionTimestamp: at(0) }), [
    '1/1',
    'Terminating',
    '0',
    '90s',
  ]);
  const ended = { containerStatuses: [{ state: { terminated: { exitCode: 0, reason: 'Completed' } } }] };
  assert.deepEqual(row({ phase: 'Succeeded', ...ended }), ['0/1', 'Completed', '0', '90s']);
});

test('rules of restart, variables from files and other names are checked', () => {
  const rule = (more = {}) => ({ action: 'Restart', exitCodes: { operator: 'In', values: [1] }, ...more });
  const file = (more = {}) => ({
    env: [{ name: 'A', valueFrom: { fileKeyRef: { volumeName: 'v', path: 'env', key: 'A', ...more } } }],
  });
  const withContainer = (container: object, spec = {}) =>
    check(makePod({ containers: [{ name: 'c', image: 'x:1', ...container }], volumes: [{ name: 'v' }], ...spec }));
  assert.deepEqual(withContainer({ restartPolicy: 'Never', restartPolicyRules: [rule()], ...file() }), []);
  const at = 'spec.containers[0]';
  const cases: [string[], string][] = [
    [withContainer({ restartPolicyRules: [rule()] }), `${at}.restartPolicy`],
    [withContainer({ restartPolicy: 'Sometimes' }), `${at}.restartPolicy`],
    [
      withContainer({ restartPolicy: 'Never', restartPolicyRules: [rule({ action: 'Stop' })] }),
      `${at}.restartPolicyRules[0].action`,
    ],
    [
      withContainer({ restartPolicy: 'Never', restartPolicyRules: [{ action: 'Restart' }] }),
      `${at}.restartPolicyRules[0].exitCodes`,
    ],
    [withContainer({ restartPolicy: 'Never', restartPolicyRules: Array(21).fill(rule()) }), `${at}.restartPolicyRules`],
    [withContainer(file({ path: '../x' })), `${at}.env[0].valueFrom.fileKeyRef.path`],
    [withContainer(file({ volumeName: 'w' })), `${at}.env[0].valueFrom.fileKeyRef.volumeName`],
    [withContainer(file({ key: '' })), `${at}.env[0].valueFrom.fileKeyRef.key`],
    [withContainer({}, { hostnameOverride: 'Not.OK' }), 'spec.hostnameOverride'],
    [withContainer({}, { hostnameOverride: 'ok', setHostnameAsFQDN: true }), 'spec.hostnameOverride'],
  ];
  for (const [errors, field] of cases)
    assert.deepEqual(
      errors.map((one) => one.split(': ')[0]),
      [field],
      errors.join(),
    );
});

test('who a pod may be is checked: user namespaces, AppArmor, groups, options of another system', () => {
  const withContainer = (container: object, spec: object = {}) =>
    check(makePod({ containers: [{ name: 'c', image: 'x:1', ...container }], ...spec }));
  assert.deepEqual(check(makePod({ hostUsers: false, hostPID: true })), [
    'spec.HostPID: Forbidden: when `hostUsers` is false',
  ]);
  const unmasked = { securityContext: { procMount: 'Unmasked' } };
  assert.deepEqual(withContainer(unmasked, { hostUsers: false }), []);
  assert.match(withContainer(unmasked)[0]!, /procMount: Invalid value: "Unmasked": `hostUsers` must be false/);
  const armored = (appArmorProfile: object) => withContainer({ securityContext: { appArmorProfile } });
  assert.deepEqual(armored({ type: 'Localhost', localhostProfile: 'mine' }), []);
  assert.match(armored({ type: 'Localhost' })[0]!, /localhostProfile: Required value: must be set/);
  assert.match(armored({ type: 'Localhost', localhostProfile: ' mine' })[0]!, /must not be padded with whitespace/);
  assert.match(armored({ type: 'Unconfined', localhostProfile: 'x' })[0]!, /can only be set when AppArmor type/);
  assert.match(armored({ type: 'Other' })[0]!, /Unsupported value: "Other"/);
  const strict = { supplementalGroupsPolicy: 'Never', supplementalGroups: [-1] };
  assert.equal(check(makePod({ securityContext: strict })).length, 2);
  const windows = { securityContext: { windowsOptions: { runAsUserName: 'x' } } };
  assert.deepEqual(check(makePod(windows)), []);
  assert.match(
    check(makePod({ ...windows, os: { name: 'linux' } }))[0]!,
    /windows options cannot be set for a linux pod/,
  );
});
