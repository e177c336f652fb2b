import { accessSync, constants, existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

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

/** Why nothing can be run there; false when it can. `programs` are needed besides, by path. */
export function secondKernelMissing(programs: Readonly<Record<string, string>> = {}): string | false {
  const program = secondKernel();
  if (!program) return 'no program that runs commands in a second kernel (SECOND_KERNEL)';
  if (!isExecutable(program)) return `${program} may not be executed`;
  const above = hidden.find((directory) => root.startsWith(directory));
  if (above) return `the checkout is below ${above}, which is another directory in the second kernel`;
  const needed = { '/usr/bin/linux.uml': 'user-mode-linux', '/usr/sbin/modprobe': 'kmod', ...programs };
  const absent = Object.entries(needed).filter(([path]) => !existsSync(path) && !existsSync(path.replace('/usr', '')));
  return absent.length > 0 && `not installed: ${absent.map(([, name]) => name).join(', ')}`;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
