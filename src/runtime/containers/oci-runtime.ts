import { constants } from 'node:fs';
import { open, stat, unlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Clock } from '../../async/index.ts';
import type { CgroupVersion } from '../../host/cgroups/index.ts';
import { isRunning, killTree, type ProcessIdentity, runProgram } from '../../host/exec/index.ts';
import { codeOf, RuntimeError, unlessMissing } from '../errors.ts';
import { removeTree } from '../store/json-file.ts';
import { describeOciFailure } from './conmon.ts';

/** What to do with a container that an OCI runtime has created. */
export class OciRuntime {
  readonly name: string;
  readonly path: string;
  readonly #root: string;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  #canGroup: Promise<boolean> | undefined;

  constructor(options: { name: string; path: string; root: string; clock: Clock; timeoutMs: number }) {
    this.name = options.name;
    this.path = options.path;
    this.#root = options.root;
    this.#clock = options.clock;
    this.#timeoutMs = options.timeoutMs;
  }

  /**
   * Lets a created container run. runc's containers wait at a FIFO until somebody reads from it, which is all that
   * `runc start` does; so we read it ourselves and save a process (12 ms). Others get their own `start`.
   */
  async start(id: string, process: ProcessIdentity): Promise<void> {
    const fifo = join(this.#root, id, 'exec.fifo');
    const isRunc = /^runc/.test(basename(this.path)) && (await unlessMissing(stat(fifo)))?.isFIFO();
    if (!isRunc) return this.#command(['start', id]);
    const file = await open(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      for (let wait = 1; ; wait = Math.min(wait * 2, 20)) {
        // Looked at before the read: a short life may begin and end between the two, and leaves its sign in the FIFO.
        const mayStillCome = isRunning(process);
        const read = await file.read(Buffer.alloc(16), 0, 16, null).catch((cause: unknown) => {
          if (codeOf(cause) === 'EAGAIN') return { bytesRead: 0 };
          throw cause;
        });
        if (read.bytesRead > 0) break;
        if (!mayStillCome) throw new RuntimeError('UNKNOWN', 'the container ended before it was started');
        await this.#clock.sleep(wait);
      }
    } finally {
      await file.close();
    }
    await unlink(fifo).catch(() => {});
  }

  /** Runs a command of the runtime. @throws RuntimeError with what it said */
  async #command(argv: readonly string[]): Promise<void> {
    const options = { timeoutMs: this.#timeoutMs, clock: this.#clock, onAbort: killTree };
    const { status, stderr, timedOut } = await runProgram([this.path, `--root=${this.#root}`, ...argv], options);
    if (timedOut)
      throw new RuntimeError(
        'DEADLINE_EXCEEDED',
        `${this.path} ${argv[0]} did not end within ${this.#timeoutMs / 1000} s`,
      );
    if (status !== 0) throw new RuntimeError('UNKNOWN', describeOciFailure(stderr.toString('utf8')));
  }

  /**
   * Whether `exec` can put its process into a group inside of the container's cgroup: runc from 1.1 on; crun only where
   * there is one tree. Found out once, from the runtime's own help.
   */
  canGroupExecs(version: CgroupVersion): Promise<boolean> {
    this.#canGroup ??= runProgram([this.path, 'exec', '--help'], { timeoutMs: 10_000, clock: this.#clock }).then(
      ({ stdout }) => {
        const help = stdout.toString('utf8');
        return /--cgroup\b/.test(help) && (version === 'v2' || help.includes('[<controller>:]'));
      },
      () => false,
    );
    return this.#canGroup;
  }

  /** The start of a command line that runs a process in a container. */
  execArguments(id: string, processFile: string, more: readonly string[]): string[] {
    return [this.path, `--root=${this.#root}`, 'exec', '--process', processFile, ...more, id];
  }

  /** Forgets a container whose processes have ended and whose cgroup is removed; nothing there is no error. */
  async forget(id: string): Promise<void> {
    await removeTree(join(this.#root, id));
  }
}
