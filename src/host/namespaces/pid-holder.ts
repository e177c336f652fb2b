import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type LaunchedProgram, launchProgram } from '../exec/index.ts';
import { buildHolderProgram, holderSteps } from './holder-program.ts';
import { NextByte } from './next-byte.ts';
import { inNamespaces, inNewPidNamespace, type SharedNamespace } from './sandbox-namespaces.ts';

/** Writes the program that keeps a PID namespace into a directory, unless it is there. Gives its path. */
export function writeHolderProgram(directory: string): string {
  const program = buildHolderProgram();
  // Of what it is made of, so that another version never finds this one.
  const digest = createHash('sha256').update(program).digest('hex').slice(0, 12);
  const path = join(directory, digest, 'pause');
  if (existsSync(path)) return path;
  mkdirSync(dirname(path), { recursive: true, mode: 0o711 });
  const temporary = `${path}.${process.pid}.tmp`;
  // Written and closed without giving way to anything that starts a program: that would keep it open and busy.
  writeFileSync(temporary, program, { mode: 0o555 });
  renameSync(temporary, path);
  return path;
}

/**
 * Starts the program as PID 1 of a new PID namespace, inside the given namespaces, and has it give up all it has.
 * `onStarted` is called with its pid before that. It goes on without us.
 * @throws Error naming the step that failed; then it is gone
 */
export async function startHolder(
  program: string,
  inside: Partial<Record<SharedNamespace, string>>,
  onStarted: (pid: number) => Promise<void>,
): Promise<number> {
  const started = inNamespaces(inside, () =>
    inNewPidNamespace(() => launchProgram([program], { stdio: ['pipe', 'pipe', 'ignore'], cwd: '/', detached: true })),
  );
  try {
    const said = new NextByte(started);
    await said.next();
    await onStarted(started.pid);
    await confineHolder(started, said);
    started.unref();
    return started.pid;
  } catch (cause) {
    started.kill('SIGKILL');
    throw cause;
  }
}

/** Lets a holder that has started give up what it has. @throws Error naming the step that failed */
export async function confineHolder(program: LaunchedProgram, said: NextByte): Promise<void> {
  program.stdin?.write('..');
  try {
    await said.next();
  } catch (cause) {
    const { status, error } = await program.ended;
    const step = holderSteps[status - 1]?.call;
    const reason = error?.message ?? (step ? `${step} was refused` : `status ${status}`);
    throw new Error(`the holder of the PID namespace did not start: ${reason}`, { cause });
  }
  program.stdin?.destroy();
  program.stdout?.destroy();
}
