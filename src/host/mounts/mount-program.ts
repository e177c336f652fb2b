import { access, constants } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../async/index.ts';
import { runProgram } from '../exec/index.ts';

/** How a program mounts something. */
export interface ProgramMount {
  /** A device, `server:/path`, or what else the file system takes. */
  source: string;
  target: string;
  /** The type of file system; without it mount(8) finds out, or the options say (`bind`). */
  type?: string;
  options: readonly string[];
  timeoutMs: number;
  clock: Clock;
  signal?: AbortSignal;
}

/** Mounts with mount(8), which knows all options by name. @throws Error with what the program said */
export async function mountByProgram({ source, target, type, options, ...how }: ProgramMount): Promise<void> {
  const argv = ['mount', ...(type ? ['-t', type] : []), ...(options.length > 0 ? ['-o', options.join(',')] : [])];
  await run([...argv, source, target], how);
}

/**
 * Mounts with the helper of a type of file system, `mount.nfs`.
 * @throws Error when there is no such program, or with what it said
 */
export async function mountByHelper({
  source,
  target,
  type,
  options,
  ...how
}: ProgramMount & { type: string }): Promise<void> {
  const name = `mount.${type}`;
  const helper = await findProgram(name);
  if (!helper) throw new Error(`${name} not found in PATH or /sbin: install it on this node (${packageOf(type)})`);
  await run([helper, source, target, ...(options.length > 0 ? ['-o', options.join(',')] : [])], how);
}

/** Unmounts, and fails when it is in use. @throws Error with what the program said */
export async function unmountByProgram(
  target: string,
  how: { timeoutMs: number; clock: Clock; signal?: AbortSignal },
): Promise<void> {
  await run(['umount', target], how);
}

/** The path of a program in PATH or where administrators' programs are. */
async function findProgram(name: string): Promise<string | undefined> {
  for (const directory of [...(process.env['PATH'] ?? '').split(':'), '/sbin', '/usr/sbin']) {
    const path = join(directory, name);
    if (
      directory !== '' &&
      (await access(path, constants.X_OK).then(
        () => true,
        () => false,
      ))
    )
      return path;
  }
  return undefined;
}

function packageOf(type: string): string {
  return type.startsWith('nfs') ? 'the Debian package nfs-common' : `the package with the tools of ${type}`;
}

async function run(
  argv: readonly string[],
  { timeoutMs, clock, signal }: { timeoutMs: number; clock: Clock; signal?: AbortSignal },
): Promise<void> {
  const result = await runProgram(argv, { timeoutMs, clock, group: true, ...(signal ? { signal } : {}) });
  if (result.timedOut) throw new Error(`${argv.join(' ')} did not end within ${timeoutMs} ms`);
  if (result.status === 0) return;
  const said = `${result.stderr}${result.stdout}`.trim();
  throw new Error(`${argv.join(' ')} ended with status ${result.status}: ${said}`);
}
