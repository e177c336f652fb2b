import type { Duplex } from 'node:stream';
import { killMarked } from '../../../host/exec/index.ts';
import { newId } from '../../identifiers.ts';
import type { ContainerRecord } from '../../store/container-record.ts';
import type { DockerContext } from '../docker-context.ts';
import type { ExecDetails } from '../engine/index.ts';

/** The variable by which the processes of a command are found again: whatever they become, they inherit it. */
const markerName = 'DECKHAND_EXEC';

/** A command that runs in a container, with the connection that carries its input and output. */
export interface EngineExec {
  id: string;
  socket: Duplex;
  head: Buffer;
  /** Ends it with all that it has started. */
  kill(): Promise<void>;
  /** How it ended. `started`: whether the OCI runtime could begin it. */
  result(): Promise<{ exitCode: number; started: boolean }>;
  resize(rows: number, columns: number): Promise<void>;
}

/** Starts a command in a container. @throws RuntimeError */
export async function startExec(
  context: DockerContext,
  record: ContainerRecord,
  how: { command: readonly string[]; tty: boolean; stdin: boolean; stdout: boolean; stderr: boolean },
): Promise<EngineExec> {
  const { engine } = context;
  const marker = `${markerName}=${newId().slice(0, 32)}`;
  const { Id: id } = await engine.post<{ Id: string }>(`/containers/${record.id}/exec`, {
    body: {
      Cmd: how.command,
      Tty: how.tty,
      AttachStdin: how.stdin,
      AttachStdout: how.stdout,
      AttachStderr: how.stderr,
      Env: [marker],
    },
  });
  const { socket, head } = await engine.hijack(`/exec/${id}/start`, { body: { Detach: false, Tty: how.tty } });
  return {
    id,
    socket,
    head,
    kill: async () => {
      await killMarked(marker, context.clock);
      socket.destroy();
    },
    result: async () => {
      const { ExitCode, Pid } = await engine.get<ExecDetails>(`/exec/${id}/json`);
      return { exitCode: ExitCode ?? 0, started: Pid !== 0 };
    },
    resize: (h, w) => engine.post(`/exec/${id}/resize`, { query: { h, w } }),
  };
}
