import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { PodStatus } from '../../api/index.ts';
import {
  makeContainer,
  makeEnded,
  makePod,
  makeRuntimeContainer,
  makeRuntimePod,
  makeSandbox,
} from '../testing/pods.ts';
import { podStatus } from './pod-status.ts';
import type { StatusInput } from './status-input.ts';
import { sameValue, statusPatch } from './status-patch.ts';

function status(changes: Partial<StatusInput>): PodStatus {
  return podStatus({
    pod: makePod(),
    runtime: makeRuntimePod(),
    waiting: new Map(),
    inPostStart: new Set(),
    probes: { startup: () => 'none', readiness: () => 'none' },
    ended: false,
    runtimeName: 'deckhand',
    hostIps: ['192.0.2.1'],
    startedAt: 1_000_000,
    now: 2_000_000,
    ...changes,
  });
}

const condition = (of: PodStatus, type: string) => of.conditions?.find((one) => one.type === type);
const running = makeRuntimePod([makeSandbox()], [makeRuntimeContainer('main')]);

describe('podStatus', () => {
  it('begins as Pending and ContainerCreating', () => {
    const first = status({});
    assert.equal(first.phase, 'Pending');
    assert.deepEqual(first.containerStatuses?.[0]?.state, { waiting: { reason: 'ContainerCreating' } });
    assert.equal(condition(first, 'PodReadyToStartContainers')?.status, 'False');
    assert.equal(condition(first, 'Ready')?.message, 'containers with unready status: [main]');
  });

  it('is Running and Ready when the containers run', () => {
    const is = status({ runtime: running });
    assert.equal(is.phase, 'Running');
    assert.equal(condition(is, 'Ready')?.status, 'True');
    assert.deepEqual([is.podIP, is.podIPs, is.hostIP], ['10.0.0.2', [{ ip: '10.0.0.2' }], '192.0.2.1']);
    assert.equal(is.containerStatuses?.[0]?.containerID, 'deckhand://main-0');
    assert.equal(is.qosClass, 'BestEffort');
  });

  it('is not Ready while a readiness probe has not passed, or a startup probe, or a postStart hook', () => {
    const probing = { startup: () => 'none' as const, readiness: () => 'pending' as const };
    assert.equal(condition(status({ runtime: running, probes: probing }), 'Ready')?.status, 'False');
    const starting = { startup: () => 'pending' as const, readiness: () => 'success' as const };
    const notStarted = status({ runtime: running, probes: starting });
    assert.deepEqual(
      [notStarted.containerStatuses?.[0]?.started, notStarted.containerStatuses?.[0]?.ready],
      [false, false],
    );
    assert.equal(condition(status({ runtime: running, inPostStart: new Set(['main-0']) }), 'Ready')?.status, 'False');
  });

  it('asks readiness gates', () => {
    const pod = makePod({ readinessGates: [{ conditionType: 'example.test/ok' }] });
    assert.equal(condition(status({ pod, runtime: running }), 'Ready')?.reason, 'ReadinessGatesNotReady');
    pod.status = { conditions: [{ type: 'example.test/ok', status: 'True' }] };
    assert.equal(condition(status({ pod, runtime: running }), 'Ready')?.status, 'True');
  });

  it('shows a crash loop as waiting, with the last end beside it', () => {
    const waiting = new Map([['main', { reason: 'CrashLoopBackOff', message: 'back-off 10s' }]]);
    const is = status({ runtime: makeRuntimePod([makeSandbox()], [makeEnded('main', 3)]), waiting });
    const main = is.containerStatuses![0]!;
    assert.deepEqual(main.state, { waiting: { reason: 'CrashLoopBackOff', message: 'back-off 10s' } });
    assert.deepEqual([main.lastState?.terminated?.exitCode, main.lastState?.terminated?.reason], [3, 'Error']);
    assert.equal(is.phase, 'Running');
  });

  it('counts restarts and shows the end before', () => {
    const containers = [
      makeRuntimeContainer('main', { restartCount: 1 }),
      makeEnded('main', 137, { reason: 'OOMKilled' }),
    ];
    const main = status({ runtime: makeRuntimePod([makeSandbox()], containers) }).containerStatuses![0]!;
    assert.equal(main.restartCount, 1);
    assert.equal(main.lastState?.terminated?.reason, 'OOMKilled');
  });

  it('ends as Succeeded or Failed, and stays so', () => {
    const pod = makePod({ restartPolicy: 'Never' });
    const good = status({ pod, ended: true, runtime: makeRuntimePod([], [makeEnded('main', 0)]) });
    assert.deepEqual([good.phase, condition(good, 'Ready')?.reason], ['Succeeded', 'PodCompleted']);
    const bad = status({ pod, ended: true, runtime: makeRuntimePod([], [makeEnded('main', 2)]) });
    assert.deepEqual([bad.phase, condition(bad, 'Ready')?.reason], ['Failed', 'PodFailed']);
    assert.equal(status({ pod, previous: bad, runtime: running }).phase, 'Failed');
  });

  it('is Failed with the reason when the end was not its own', () => {
    const failure = { reason: 'DeadlineExceeded', message: 'too long' };
    const is = status({ ended: true, failure, runtime: makeRuntimePod([], [makeEnded('main', 0)]) });
    assert.deepEqual([is.phase, is.reason, is.message], ['Failed', 'DeadlineExceeded', 'too long']);
  });

  it('tells of a container that cannot be found any more', () => {
    const previous = status({ runtime: running });
    const main = status({ previous }).containerStatuses![0]!;
    assert.equal(main.lastState?.terminated?.reason, 'ContainerStatusUnknown');
    assert.equal(main.lastState?.terminated?.exitCode, 137);
  });

  it('is Pending with PodInitializing while init containers run', () => {
    const pod = makePod({ initContainers: [makeContainer('i1'), makeContainer('i2')] });
    const is = status({ pod, runtime: makeRuntimePod([makeSandbox()], [makeRuntimeContainer('i1')]) });
    assert.equal(is.phase, 'Pending');
    assert.equal(is.containerStatuses?.[0]?.state?.waiting?.reason, 'PodInitializing');
    assert.equal(is.initContainerStatuses?.[1]?.state?.waiting?.reason, 'PodInitializing');
    assert.equal(condition(is, 'Initialized')?.message, 'containers with incomplete status: [i1 i2]');
  });

  it('moves a transition time only when a condition turns', () => {
    const before = status({ runtime: running });
    const after = status({ runtime: running, previous: before, now: 9_000_000 });
    assert.equal(condition(after, 'Ready')?.lastTransitionTime, condition(before, 'Ready')?.lastTransitionTime);
  });

  it("has the address of the node's own family first, and one of each", () => {
    const dual = makeRuntimePod([makeSandbox({ ips: ['fd00::2', '10.0.0.2', '10.0.0.3'] })]);
    assert.deepEqual(status({ runtime: dual }).podIPs, [{ ip: '10.0.0.2' }, { ip: 'fd00::2' }]);
    assert.equal(status({ runtime: dual, hostIps: ['fd00::1'] }).podIP, 'fd00::2');
  });

  it('keeps conditions of others', () => {
    const pod = { ...makePod(), status: { conditions: [{ type: 'example.test/mine', status: 'True' }] } };
    assert.equal(condition(status({ pod }), 'example.test/mine')?.status, 'True');
  });

  it('has ended pods whose containers never ran as failed, unless their turn never came', () => {
    const ended = status({ ended: true });
    assert.equal(ended.phase, 'Failed');
    const { exitCode, reason } = ended.containerStatuses![0]!.state!.terminated!;
    assert.deepEqual([exitCode, reason], [137, 'ContainerStatusUnknown']);
    const pod = makePod({ initContainers: [makeContainer('i')] });
    const waited = status({ pod, ended: true });
    assert.equal(waited.initContainerStatuses![0]!.state!.terminated!.exitCode, 137);
    assert.equal(waited.containerStatuses![0]!.state!.waiting!.reason, 'PodInitializing');
  });

  it('counts a container that was lost, and says that nothing is known of its end', () => {
    const before = status({ runtime: running });
    const after = status({ runtime: makeRuntimePod([makeSandbox()]), previous: before });
    const [one] = after.containerStatuses!;
    assert.deepEqual([one!.restartCount, one!.lastState!.terminated!.exitCode], [1, 137]);
    assert.equal(after.phase, 'Running');
    const later = status({ runtime: makeRuntimePod([makeSandbox()]), previous: after });
    assert.equal(later.containerStatuses![0]!.restartCount, 1);
  });

  it('keeps how a container ended that the runtime has no more', () => {
    const pod = makePod({ restartPolicy: 'Never', containers: [makeContainer('main'), makeContainer('other')] });
    const other = makeRuntimeContainer('other');
    const before = status({ pod, runtime: makeRuntimePod([makeSandbox()], [other, makeEnded('main', 0)]) });
    const after = status({ pod, runtime: makeRuntimePod([makeSandbox()], [other]), previous: before });
    assert.equal(after.containerStatuses![0]!.state!.terminated!.exitCode, 0);
    const again = makeRuntimeContainer('main', { restartCount: 1 });
    const restarted = status({ runtime: makeRuntimePod([makeSandbox()], [again]), previous: before });
    const twice = status({ runtime: makeRuntimePod([makeSandbox()], [again]), previous: restarted });
    assert.equal(twice.containerStatuses![0]!.lastState!.terminated!.exitCode, 0);
  });

  it('shares 12 KiB of messages among the containers of a pod', () => {
    const names = ['a', 'b', 'c', 'd'];
    const pod = makePod({ restartPolicy: 'Never', containers: names.map((name) => makeContainer(name)) });
    const message = 'é'.repeat(2048);
    const containers = names.map((name) => makeEnded(name, 1, { message }));
    const is = status({ pod, runtime: makeRuntimePod([makeSandbox()], containers) });
    for (const one of is.containerStatuses!) assert.equal(one.state!.terminated!.message, 'é'.repeat(1536));
  });

  it('stays initialised when init containers run again', () => {
    const pod = makePod({ initContainers: [makeContainer('i')] });
    const done = makeRuntimePod([makeSandbox()], [makeRuntimeContainer('main'), makeEnded('i', 0)]);
    const before = status({ pod, runtime: done });
    const after = status({ pod, runtime: makeRuntimePod(), previous: before });
    assert.equal(condition(after, 'Initialized')?.status, 'True');
  });

  it('tells while all containers are started anew', () => {
    const rule = { action: 'RestartAllContainers', exitCodes: { operator: 'In', values: [42] } };
    const source = makeContainer('main', { restartPolicy: 'Never', restartPolicyRules: [rule] });
    const pod = makePod({ restartPolicy: 'Never', containers: [source, makeContainer('other')] });
    const other = makeRuntimeContainer('other');
    const runs = makeRuntimePod([makeSandbox()], [other, makeRuntimeContainer('main')]);
    const first = status({ pod, runtime: runs });
    assert.equal(condition(first, 'AllContainersRestarting')?.status, 'False');
    const asked = status({
      pod,
      runtime: makeRuntimePod([makeSandbox()], [other, makeEnded('main', 42)]),
      previous: first,
    });
    assert.equal(condition(asked, 'AllContainersRestarting')?.reason, 'RestartAllContainersStarted');
    const half = status({ pod, runtime: makeRuntimePod([makeSandbox()], [makeEnded('main', 42)]), previous: asked });
    assert.equal(half.containerStatuses![1]!.lastState!.terminated!.reason, 'RestartingAllContainers');
    assert.equal(half.phase, 'Running');
    const gone = status({ pod, runtime: makeRuntimePod([makeSandbox()]), previous: half });
    const [main, second] = gone.containerStatuses!;
    assert.deepEqual([main!.restartCount, second!.restartCount], [1, 1]);
    assert.equal(main!.lastState!.terminated!.exitCode, 42);
    assert.equal(condition(gone, 'AllContainersRestarting')?.status, 'False');
  });
});

describe('statusPatch', () => {
  it('is nothing when nothing differs, whatever is empty or absent', () => {
    const is = status({ runtime: running });
    assert.equal(statusPatch(JSON.parse(JSON.stringify(is)), is), undefined);
    assert.equal(sameValue({ a: {}, b: undefined }, { c: null }), true);
  });

  it('sends only what differs', () => {
    const before = status({});
    const patch = statusPatch(before, { ...before, phase: 'Running' });
    assert.deepEqual(patch, { phase: 'Running' });
  });

  it('takes away what is over: fields, messages of conditions, addresses', () => {
    const before = status({});
    const after = status({ runtime: running, previous: before });
    const patch = statusPatch({ ...before, reason: 'x', podIPs: [{ ip: '10.0.0.9' }] }, after)!;
    assert.equal(patch['reason'], null);
    assert.deepEqual(patch['podIPs'], [{ ip: '10.0.0.2' }, { $patch: 'replace' }]);
    const ready = (patch['conditions'] as { type: string; message: unknown }[]).find(({ type }) => type === 'Ready')!;
    assert.equal(ready.message, null);
  });

  it('leaves conditions of others alone', () => {
    const before = status({});
    const other = { type: 'example.test/mine', status: 'False' };
    assert.equal(statusPatch(before, { ...before, conditions: [...before.conditions!, other] }), undefined);
  });
});
