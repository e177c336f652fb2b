import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ExecRequest, ExecResponseSchema } from '../../api/cri/index.ts';
import type { RecordContext } from '../context.ts';
import { invalid, notInState } from '../errors.ts';

/** Exec: an address at which a command in a container can be talked to. */
export function exec(context: RecordContext, request: ExecRequest): MessageInitShape<typeof ExecResponseSchema> {
  const record = context.store.containers.get(request.containerId);
  if (record.phase.name !== 'running') throw notInState(`container "${record.id}" is not running`);
  checkStreams(request);
  if (request.cmd.length === 0) throw invalid('no command is given');
  return { url: context.streaming.url({ kind: 'exec', request: { ...request, containerId: record.id } }) };
}

/** One stream at least, and no separate errors on a terminal. */
export function checkStreams(request: { stdin: boolean; stdout: boolean; stderr: boolean; tty: boolean }): void {
  if (!request.stdin && !request.stdout && !request.stderr) throw invalid('one of stdin, stdout or stderr must be set');
  if (request.tty && request.stderr) throw invalid('tty and stderr cannot both be set');
}
