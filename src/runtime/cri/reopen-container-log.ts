import type { ReopenContainerLogRequest } from '../../api/cri/index.ts';
import { reopenLog } from '../containers/log-file.ts';
import type { RuntimeContext } from '../context.ts';
import { notInState, stepFailed } from '../errors.ts';

/** ReopenContainerLog: has the log written to a new file, after the old one was moved away. */
export async function reopenContainerLog(context: RuntimeContext, request: ReopenContainerLogRequest) {
  const record = context.store.containers.get(request.containerId);
  if (record.phase.name !== 'running') throw notInState(`container "${record.id}" is not running`);
  if (!record.logPath) return {};
  try {
    // One after the other: the second finds the new log in place.
    await context.serial.run(`log ${record.id}`, () => reopenLog(context, record));
  } catch (cause) {
    throw stepFailed('failed to reopen the log', cause);
  }
  return {};
}
