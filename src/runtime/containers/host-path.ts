import { mkdir, realpath, stat } from 'node:fs/promises';
import { currentCall, stage } from '../calls/index.ts';
import { invalid, RuntimeError, unlessMissing } from '../errors.ts';

/** From when on a path is taken for one that does not answer, milliseconds. */
const patienceMs = 5000;
/**
 * So many paths may fail to answer before further ones are refused. A look at a path of a file system that hangs (a dead
 * server's) holds one of the process's few threads for files, and cannot be broken off.
 */
const mostSilent = 8;

/** Looks at paths on the host, each once for all who ask at a time. */
export class PathLooks {
  readonly #resolve: (path: string) => Promise<string>;
  readonly #looks = new Map<string, { sinceMs: number; result: Promise<string> }>();

  constructor(resolve: (path: string) => Promise<string>) {
    this.#resolve = resolve;
  }

  /** The real path. @throws RuntimeError UNAVAILABLE while too many others do not answer */
  async look(path: string): Promise<string> {
    const known = this.#looks.get(path);
    if (known) return known.result;
    const now = currentCall()?.clock.now() ?? 0;
    const silent = [...this.#looks].filter(([, { sinceMs }]) => now - sinceMs > patienceMs);
    if (silent.length >= mostSilent) {
      const [oldest, { sinceMs }] = silent[0]!;
      const seconds = Math.round((now - sinceMs) / 1000);
      throw new RuntimeError(
        'UNAVAILABLE',
        `volume ${path} is not looked at while ${silent.length} others do not answer, such as ${oldest} for ${seconds} s`,
      );
    }
    const result = this.#resolve(path).finally(() => this.#looks.delete(path));
    this.#looks.set(path, { sinceMs: now, result });
    return result;
  }
}

const looks = new PathLooks(resolveOnHost);

/**
 * The real path of a volume on the host, made as a directory when nothing is there. Whoever asks for a path that is being
 * looked at already waits for the same look. @throws RuntimeError
 */
export function hostPath(path: string): Promise<string> {
  if (!path.startsWith('/')) throw invalid(`mount source "${path}" is not an absolute path`);
  return stage('stat of volume', () => looks.look(path), path);
}

async function resolveOnHost(path: string): Promise<string> {
  if (!(await unlessMissing(stat(path)))) await mkdir(path, { recursive: true, mode: 0o755 });
  try {
    return await realpath(path);
  } catch (cause) {
    throw new RuntimeError('UNKNOWN', `failed to resolve symlink "${path}": ${(cause as Error).message}`, { cause });
  }
}
