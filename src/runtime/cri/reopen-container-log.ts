import { stat } from 'node:fs/promises';
import type { ReopenContainerLogRequest } from '../../api/cri/index.ts';
import { faultPoint, pollUntil } from '../../async/index.ts';
import { reopenLine, sendControl } from '../containers/conmon.ts';
import type { RuntimeContext } from '../context.ts';
import { notInState, stepFailed, unlessMissing } from '../errors.ts';

/** ReopenContainerLog: has the log written to a new file, after the old one was moved away. */
export async function reopenContainerLog(context: RuntimeContext, request: ReopenContainerLogRequest) {
  const record = context.store.containers.get(request.containerId);
  if (record.phase.name !== 'running') throw notInState(`container "${record.id}" is not running`);
  if (!record.logPath) return {};
  try {
    await faultPoint('reopen-log:begin');
    await sendControl(context.paths.bundle(record.id), reopenLine);
    await faultPoint('reopen-log:asked');
    const exists = async (): Promise<boolean> => (await unlessMissing(stat(record.logPath))) !== undefined;
    await pollUntil('the new log file', exists, { timeoutMs: 5000, intervalMs: 2, clock: context.clock });
  } catch (cause) {
    throw stepFailed('failed to reopen the log', cause);
  }
  return {};
}
