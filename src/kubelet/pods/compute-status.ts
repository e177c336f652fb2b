import type { PodStatus } from '../../api/index.ts';
import { podStatus } from '../status/pod-status.ts';
import type { PodKit } from './kit.ts';
import type { PodRecord } from './pod-record.ts';

/** The status of a pod by everything that is known here of it. `runtimeName` is as in container ids. */
export function computeStatus(kit: PodKit, record: PodRecord, runtimeName: string): PodStatus {
  const { pod, failure, status } = record;
  const { uid } = pod.metadata;
  return podStatus({
    pod,
    runtime: kit.cache.pod(uid),
    ...(status ? { previous: status } : {}),
    waiting: record.waiting,
    inPostStart: record.inPostStart,
    probes: kit.probes,
    resize: kit.resizes.conditions(uid),
    actuated: kit.resizes.actuated(uid),
    ended: record.phase === 'terminated',
    ...(failure ? { failure } : {}),
    runtimeName,
    hostIps: kit.node.hostIps(),
    startedAt: record.startedAt,
    now: kit.clock.now(),
  });
}
