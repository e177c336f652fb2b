import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { NamespaceMode, SecurityProfile_ProfileType as ProfileType } from '../../api/cri/index.ts';
import type { ResourceRequirements, SecurityContext } from '../../api/index.ts';
import { makeContainer, makePod } from '../testing/pods.ts';
import { containerResources, oomScoreAdjust, qosClass } from './container-resources.ts';
import { containerSecurityContext } from './security-context.ts';

const machine = { memoryCapacity: 1000 * 2 ** 20, cpuQuota: true, cpuQuotaPeriodUs: 100_000 };
const podWith = (resources: ResourceRequirements) => makePod({ containers: [makeContainer('main', { resources })] });

describe('container resources', () => {
  it('tells QoS classes apart', () => {
    assert.equal(qosClass(podWith({})), 'BestEffort');
    assert.equal(qosClass(podWith({ requests: { cpu: '1' } })), 'Burstable');
    assert.equal(qosClass(podWith({ limits: { cpu: '1', memory: '1Gi' } })), 'Guaranteed');
    assert.equal(qosClass(podWith({ limits: { cpu: '1', memory: '1Gi' }, requests: { cpu: '500m' } })), 'Burstable');
  });

  it('turns quantities into the units of cgroups', () => {
    const pod = podWith({ limits: { cpu: '200m', memory: '64Mi' }, requests: { cpu: '100m' } });
    const { cpuShares, cpuQuota, memoryLimitInBytes } = containerResources(pod, pod.spec.containers[0]!, machine);
    assert.deepEqual([cpuShares, cpuQuota, memoryLimitInBytes], [102n, 20_000n, 67_108_864n]);
    const none = containerResources(makePod(), makeContainer('main'), machine);
    assert.deepEqual([none.cpuShares, none.cpuQuota, none.memoryLimitInBytes], [2n, 0n, 0n]);
  });

  it('ranks by what was asked for when memory runs out', () => {
    const score = (resources: ResourceRequirements) => {
      const pod = podWith(resources);
      return oomScoreAdjust(pod, pod.spec.containers[0]!, machine.memoryCapacity);
    };
    assert.equal(score({}), 1000);
    assert.equal(score({ limits: { cpu: '1', memory: '1Mi' } }), -997);
    assert.equal(score({ requests: { memory: '500Mi' } }), 500);
    assert.equal(score({ requests: { memory: '999Mi' } }), 3);
    assert.equal(score({ requests: { cpu: '1m' } }), 999);
  });
});

describe('swap and kills', () => {
  const unified = { ...machine, unified: true, swapControl: true, swapCapacity: 500 * 2 ** 20 };
  const files = (resources: ResourceRequirements, changes: object) => {
    const pod = podWith(resources);
    return containerResources(pod, pod.spec.containers[0]!, { ...unified, ...changes }).unified;
  };
  const half = { requests: { memory: '500Mi' } };

  it('burstable containers have their share of swap where it is wanted, and nobody else', () => {
    const limitedSwap = true;
    assert.deepEqual(files(half, { limitedSwap }), { 'memory.swap.max': String(250 * 2 ** 20) });
    assert.deepEqual(files(half, {}), { 'memory.swap.max': '0' });
    assert.deepEqual(files({}, { limitedSwap }), { 'memory.swap.max': '0' });
    assert.deepEqual(files({ ...half, limits: { memory: '500Mi' } }, { limitedSwap }), { 'memory.swap.max': '0' });
    const whole = { cpu: '1', memory: '500Mi' };
    assert.deepEqual(files({ requests: whole, limits: whole }, { limitedSwap }), { 'memory.swap.max': '0' });
    assert.equal(files(half, { limitedSwap, swapControl: false }), undefined);
  });

  it('on v1 nobody has more memory and swap together than memory', () => {
    const pod = podWith({ limits: { memory: '64Mi' } });
    const v1 = containerResources(pod, pod.spec.containers[0]!, { ...machine, swapControl: true, limitedSwap: true });
    assert.equal(v1.memorySwapLimitInBytes, 67_108_864n);
  });

  it('all processes of a container are killed together where the kernel can', () => {
    assert.deepEqual(files(half, { killTogether: true, swapControl: false }), { 'memory.oom.group': '1' });
  });

  it('what a pod as a whole has bounds its containers and spares them', () => {
    const pod = makePod({
      containers: [makeContainer('a', { resources: { requests: { memory: '100Mi' } } }), makeContainer('b')],
      resources: { requests: { memory: '500Mi' }, limits: { cpu: '1', memory: '800Mi' } },
    });
    const [a, b] = pod.spec.containers.map((one) => containerResources(pod, one, machine));
    assert.deepEqual([a?.memoryLimitInBytes, b?.memoryLimitInBytes], [838_860_800n, 838_860_800n]);
    assert.deepEqual([a?.oomScoreAdj, b?.oomScoreAdj], [700n, 800n]);
    const side = makeContainer('side', { restartPolicy: 'Always' });
    const served = makePod({ initContainers: [side], containers: [makeContainer('a', { resources: half })] });
    assert.equal(oomScoreAdjust(served, side, machine.memoryCapacity), 500);
  });
});

describe('containerSecurityContext', () => {
  const defaults = { seccompDefault: false, seccompDirectory: '/k/seccomp' };
  const context = (
    own: SecurityContext,
    pod = makePod(),
    user = { uid: 0, username: '' } as { uid?: number; username: string },
  ) =>
    containerSecurityContext(pod, makeContainer('main', { securityContext: own }), user, defaults, {
      mode: NamespaceMode.NODE,
    });

  it('prefers the container, then the pod, then the image', () => {
    const pod = makePod({ securityContext: { runAsUser: 7, fsGroup: 8, supplementalGroups: [9] } });
    assert.deepEqual(context({ runAsUser: 5 }, pod).runAsUser, { value: 5n });
    assert.deepEqual(context({}, pod).runAsUser, { value: 7n });
    assert.deepEqual(context({}, makePod(), { uid: 3, username: '' }).runAsUser, { value: 3n });
    assert.equal(context({}, makePod(), { username: 'www' }).runAsUsername, 'www');
    assert.deepEqual(context({}, pod).supplementalGroups, [8n, 9n]);
  });

  it('refuses root where it is forbidden', () => {
    const reason = { reason: 'CreateContainerConfigError' };
    assert.throws(() => context({ runAsNonRoot: true }), reason);
    assert.throws(() => context({ runAsNonRoot: true, runAsUser: 0 }, makePod(), { uid: 5, username: '' }), reason);
    assert.throws(() => context({ runAsNonRoot: true }, makePod(), { username: 'www' }), /non-numeric user \(www\)/);
    assert.doesNotThrow(() => context({ runAsNonRoot: true, runAsUser: 1 }));
  });

  it('chooses the seccomp profile', () => {
    assert.equal(context({}).seccomp?.profileType, ProfileType.Unconfined);
    assert.equal(
      context({ seccompProfile: { type: 'RuntimeDefault' } }).seccomp?.profileType,
      ProfileType.RuntimeDefault,
    );
    const local = context({ seccompProfile: { type: 'Localhost', localhostProfile: 'a.json' } });
    assert.equal(local.seccomp?.localhostRef, '/k/seccomp/a.json');
    assert.throws(() => context({ seccompProfile: { type: 'Localhost', localhostProfile: '../a' } }), /outside/);
  });

  it('forbids new privileges and masks paths, unless it is privileged', () => {
    const plain = context({ allowPrivilegeEscalation: false });
    assert.deepEqual([plain.noNewPrivs, plain.maskedPaths?.includes('/proc/kcore')], [true, true]);
    assert.deepEqual(context({ privileged: true }).maskedPaths, []);
  });
});
