import { faultPoint } from '../../async/index.ts';
import { ociRuntimeOf, type RuntimeContext } from '../context.ts';
import type { ContainerRecord } from '../store/container-record.ts';

/** Ends what is left of a container's processes and removes its cgroup and the OCI runtime's record of it. */
export async function clearTask(context: RuntimeContext, record: ContainerRecord): Promise<void> {
  const { clock } = context;
  const ended = await context.cgroups.kill(record.cgroupPath, { clock, timeoutMs: 10_000 });
  if (!ended)
    context.log.warn('processes of a container cannot be killed', { id: record.id, cgroup: record.cgroupPath });
  await faultPoint('clear-task:killed');
  await context.cgroups.remove(record.cgroupPath, { clock });
  await faultPoint('clear-task:cgroup');
  await ociRuntimeOf(context, record.runtimeHandler)?.forget(record.id);
}
