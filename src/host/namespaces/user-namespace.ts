import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { launchProgram } from '../exec/index.ts';
import { NextByte } from './next-byte.ts';
import { confineHolder } from './pid-holder.ts';

/** One run of ids: those from `containerId` on inside are those from `hostId` on outside. */
export interface IdMapping {
  containerId: number;
  hostId: number;
  length: number;
}

/** The mappings of a user namespace. */
export interface UserMapping {
  uids: readonly IdMapping[];
  gids: readonly IdMapping[];
}

/** Kinds of namespaces that can be made inside a new user namespace, as unshare(1) calls them. */
export type OwnedNamespace = 'net' | 'ipc' | 'uts' | 'pid';

/** A process that stands in new namespaces until the end of its scope. */
export interface NamespaceKeeper extends AsyncDisposable {
  /** In the new namespaces. */
  readonly pid: number;
  /** A process that is PID 1 of a new PID namespace gives up all it has, and stays beyond the scope. */
  stay(): Promise<void>;
}

/**
 * Makes a user namespace with the mappings, and other namespaces that belong to it. A process is needed for that: the
 * kernel gives a thread of a program with several threads no new user namespace.
 *
 * With `pid` among the namespaces, `holder` is the program that becomes PID 1 (see writeHolderProgram).
 * @throws Error when the kernel or unshare(1) refuse
 */
export async function enterNewUserNamespace(
  mapping: UserMapping,
  options: { namespaces?: readonly OwnedNamespace[]; holder?: string } = {},
): Promise<NamespaceKeeper> {
  const kinds = options.namespaces ?? [];
  const forks = kinds.includes('pid');
  // The holder is started before there is a root whose capabilities it could have: it takes those of unshare along.
  const flags = [...kinds.map((kind) => `--${kind}`), ...(forks ? ['--fork', '--keep-caps'] : [])];
  const command = forks ? options.holder! : 'cat';
  const program = launchProgram(['unshare', '--user', ...flags, '--', command], {
    stdio: ['pipe', 'pipe', 'pipe'],
    cwd: '/',
    detached: true,
  });
  let errors = '';
  program.stderr?.on('data', (part: Buffer) => {
    errors += part.toString('utf8');
  });
  let child = 0;
  const end = async (): Promise<void> => {
    if (child && child !== program.pid) killProcess(child);
    program.kill('SIGKILL');
    await program.ended;
  };
  try {
    const said = new NextByte(program);
    if (!forks) program.stdin?.write('.');
    await said.next();
    child = forks ? (childrenOf(program.pid)[0] ?? 0) : program.pid;
    if (child === 0) throw new Error('unshare has no child in the new PID namespace');
    writeMappings(child, mapping);
    const stay = async (): Promise<void> => {
      await confineHolder(program, said);
      child = 0;
    };
    return { pid: child, stay, [Symbol.asyncDispose]: end };
  } catch (cause) {
    await end();
    throw new Error(`cannot make a user namespace: ${errors.trim() || (cause as Error).message}`, { cause });
  }
}

function killProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended already.
  }
}

function writeMappings(pid: number, { uids, gids }: UserMapping): void {
  const render = (mappings: readonly IdMapping[]): string =>
    mappings.map(({ containerId, hostId, length }) => `${containerId} ${hostId} ${length}\n`).join('');
  for (const [file, mappings] of [
    ['uid_map', uids],
    ['gid_map', gids],
  ] as const) {
    try {
      writeFileSync(`/proc/${pid}/${file}`, render(mappings));
    } catch (cause) {
      throw new Error(`the kernel refuses its ${file}: ${(cause as Error).message}`, { cause });
    }
  }
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
}

/** Gives a descriptor of a user namespace with the mappings, for id-mapped mounts; nothing runs in it. */
export async function openUserNamespace(mapping: UserMapping): Promise<Disposable & { descriptor: number }> {
  await using keeper = await enterNewUserNamespace(mapping);
  const descriptor = openSync(`/proc/${keeper.pid}/ns/user`, 'r');
  return { descriptor, [Symbol.dispose]: () => closeSync(descriptor) };
}

/** An id outside, of one inside; undefined when the mappings have none. */
export function toHostId(mappings: readonly IdMapping[], id: number): number | undefined {
  const found = mappings.find(({ containerId, length }) => id >= containerId && id < containerId + length);
  return found && found.hostId + (id - found.containerId);
}
