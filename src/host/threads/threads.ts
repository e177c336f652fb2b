import { Worker } from 'node:worker_threads';
import type { Clock, Timer } from '../../async/index.ts';
import type { FromThread, ToThread } from './messages.ts';

/** How threads are run. */
export interface ThreadsOptions {
  /** URL of a module whose exported functions can be called: `(input, source) => result`. */
  module: string;
  /** Threads at once. */
  most: number;
  /** A thread with nothing to do ends after this, milliseconds. Default 10 s. */
  idleMs?: number;
  /** Memory that JavaScript in a thread may take, MB. Default 512. */
  memoryMb?: number;
  clock: Clock;
}

/** What a function in a thread has thrown, or that the thread died. */
export class ThreadError extends Error {
  readonly code: string;
  /** Name of the class of what was thrown. */
  readonly type: string;
  constructor(code: string, type: string, message: string) {
    super(message);
    this.code = code;
    this.type = type;
  }
}

interface Job {
  finish: (result: { value: unknown } | { error: unknown }) => void;
  /** Lets the sender go on. */
  taken: (bytes: number) => void;
}

interface Thread {
  worker: Worker;
  jobs: Map<number, Job>;
  idle?: Timer;
}

/** Bytes on the way to a thread that it has not looked at yet. */
const mostOnTheWay = 1 << 20;

/** Runs functions of a module in threads, several in one thread when there are more of them. */
export class Threads {
  readonly #options: ThreadsOptions;
  readonly #threads: Thread[] = [];
  #nextJob = 0;

  constructor(options: ThreadsOptions) {
    this.#options = options;
  }

  /** Starts a thread if there is none, because there will be work soon. */
  warm(): void {
    if (this.#threads.length === 0) this.#rest(this.#start());
  }

  /**
   * Calls a function of the module. Its source, if any, is read here and handed on piece by piece, no faster than it is
   * taken. @throws ThreadError, or what the source has thrown
   */
  async run<T>(name: string, input: unknown, source?: AsyncIterable<Uint8Array>): Promise<T> {
    const thread = this.#choose();
    const job = this.#nextJob++;
    const credit = new Credit();
    const outcome = new Promise<{ value: unknown } | { error: unknown }>((resolve) => {
      const finish = (result: { value: unknown } | { error: unknown }) => {
        thread.jobs.delete(job);
        if (thread.jobs.size === 0) this.#rest(thread);
        credit.close();
        resolve(result);
      };
      thread.jobs.set(job, { finish, taken: (bytes) => credit.give(bytes) });
    });
    const send = (message: ToThread) => thread.worker.postMessage(message);
    send({ kind: 'start', job, name, input, hasSource: source !== undefined });
    const failure = source ? await this.#feed(job, source, credit, send) : undefined;
    const result = await outcome;
    // What went wrong with the source is the reason for whatever the thread says of it.
    if (failure) throw failure.error;
    if ('error' in result) throw result.error;
    return result.value as T;
  }

  /** Ends all threads; what they were doing fails. */
  async close(): Promise<void> {
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()));
  }

  async #feed(
    job: number,
    source: AsyncIterable<Uint8Array>,
    credit: Credit,
    send: (message: ToThread) => void,
  ): Promise<{ error: unknown } | undefined> {
    try {
      for await (const bytes of source) {
        if (!(await credit.take(bytes.length))) return undefined;
        send({ kind: 'piece', job, bytes });
      }
      send({ kind: 'end', job });
      return undefined;
    } catch (error) {
      send({ kind: 'fail', job, message: error instanceof Error ? error.message : String(error) });
      return { error };
    }
  }

  #choose(): Thread {
    const free = this.#threads.find(({ jobs }) => jobs.size === 0);
    const thread =
      free ??
      (this.#threads.length < this.#options.most
        ? this.#start()
        : this.#threads.reduce((one, other) => (other.jobs.size < one.jobs.size ? other : one)));
    thread.idle?.cancel();
    thread.worker.ref();
    return thread;
  }

  #start(): Thread {
    const worker = new Worker(new URL('./thread-entry.ts', import.meta.url), {
      workerData: { module: this.#options.module },
      // Those of this process may be for its own script only.
      execArgv: ['--disable-warning=ExperimentalWarning'],
      resourceLimits: { maxOldGenerationSizeMb: this.#options.memoryMb ?? 512, maxYoungGenerationSizeMb: 8 },
    });
    const thread: Thread = { worker, jobs: new Map() };
    this.#threads.push(thread);
    worker.on('message', (message: FromThread) => receive(thread, message));
    const ended = (code: string, message: string) => {
      const at = this.#threads.indexOf(thread);
      if (at >= 0) this.#threads.splice(at, 1);
      thread.idle?.cancel();
      for (const job of [...thread.jobs.values()]) job.finish({ error: new ThreadError(code, 'Error', message) });
    };
    worker.on('error', (error: NodeJS.ErrnoException) => ended(error.code ?? 'ERR_THREAD', error.message));
    worker.on('exit', () => ended('ERR_THREAD', 'the thread has ended'));
    return thread;
  }

  /** Nothing to do: the thread does not keep the process, and ends after a while. */
  #rest(thread: Thread): void {
    thread.worker.unref();
    thread.idle = this.#options.clock.after(this.#options.idleMs ?? 10_000, () => {
      if (thread.jobs.size > 0) return;
      // No longer to be chosen.
      this.#threads.splice(this.#threads.indexOf(thread), 1);
      void thread.worker.terminate();
    });
  }
}

function receive(thread: Thread, message: FromThread): void {
  const job = thread.jobs.get(message.job);
  if (message.kind === 'taken') job?.taken(message.bytes);
  else if (message.kind === 'done') job?.finish({ value: message.result });
  else job?.finish({ error: new ThreadError(message.code, message.type, message.message) });
}

/** How much may be sent before the other side has looked at it. */
class Credit {
  #left = mostOnTheWay;
  #closed = false;
  #wake: (() => void) | undefined;

  give(bytes: number): void {
    this.#left += bytes;
    this.#wake?.();
  }

  close(): void {
    this.#closed = true;
    this.#wake?.();
  }

  /** Waits until so much may be sent; false when nobody wants it any more. */
  async take(bytes: number): Promise<boolean> {
    while (this.#left <= 0 && !this.#closed)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    this.#left -= bytes;
    return !this.#closed;
  }
}
