import { accessSync, constants, existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { run } from './processes.ts';

const root = join(import.meta.dirname, '../..');

/** What the second kernel has anew and empty: of a checkout below them it sees nothing. */
const hidden = ['/tmp/', '/run/', '/var/run/', '/var/lib/cni/', '/var/lib/deckhand/'];

/** The program that runs a command in a second kernel: SECOND_KERNEL, or `shared/testbed/uml-run` above the checkout. */
export function secondKernel(): string | undefined {
  const named = process.env['SECOND_KERNEL'];
  if (named) return named;
  for (let directory = dirname(root); directory !== '/'; directory = dirname(directory)) {
    const path = join(directory, 'shared/testbed/uml-run');
    if (existsSync(path)) return path;
  }
  return undefined;
}

/** The command line before a command that is to run in the second kernel for at most `limitSeconds`. Only where it is not missing. */
export function inSecondKernel(limitSeconds: number): string[] {
  return [secondKernel()!, '-m', '3072M', '-t', String(limitSeconds), '--'];
}

/**
 * Why nothing can be run there; false when it can. `programs` are needed besides, by path. When nothing is known to be
 * missing the kernel is started once, as some machines (containers without ptrace, small /dev/shm) cannot run it.
 */
export async function secondKernelMissing(programs: Readonly<Record<string, string>> = {}): Promise<string | false> {
  const program = secondKernel();
  if (!program) return 'no program that runs commands in a second kernel (SECOND_KERNEL)';
  if (!isExecutable(program)) return `${program} may not be executed`;
  const above = hidden.find((directory) => root.startsWith(directory));
  if (above) return `the checkout is below ${above}, which is another directory in the second kernel`;
  const needed = { '/usr/bin/linux.uml': 'user-mode-linux', '/usr/sbin/modprobe': 'kmod', ...programs };
  const absent = Object.entries(needed).filter(([path]) => !existsSync(path) && !existsSync(path.replace('/usr', '')));
  if (absent.length > 0) return `not installed: ${absent.map(([, name]) => name).join(', ')}`;
  probing ??= probe();
  return await probing;
}

let probing: Promise<string | false> | undefined;

/** Why the second kernel does not start here, or does not show this checkout; false when it does both. */
async function probe(): Promise<string | false> {
  const script = 'test -e "$1" || { echo "$1 is not there"; exit 3; }; exec "$0" --version';
  const argv = [...inSecondKernel(60), '/bin/sh', '-c', script, process.execPath, import.meta.filename];
  const { status, stdout, stderr } = await run(argv, { timeoutMs: 75_000 }).catch((error: Error) => ({
    status: 1,
    stdout: '',
    stderr: error.message,
  }));
  if (status === 0 && stdout.split('\n').includes(process.version)) return false;
  const said = `${stderr}\n${stdout}`.split('\n').filter((line) => line.trim() !== '');
  return `the second kernel does not work here: status ${status}, and it said: ${said.slice(-8).join(' | ') || 'nothing'}`;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
