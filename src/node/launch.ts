import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Worker } from 'node:worker_threads';
import type { Component, StopOptions } from '../async/index.ts';
import { spawnService } from '../host/service/index.ts';
import type { ComponentContext, ComponentName, Place } from './component-module.ts';
import { parseFlags } from './flags.ts';
import { loadComponent } from './load-component.ts';

/** A component that was started somewhere. */
export interface Running {
  /** Its process. */
  pid: number;
  /** Resolves when it serves; rejects when it ended before. */
  ready: Promise<void>;
  /** Resolves when it has ended, with why. Never rejects. */
  ended: Promise<string>;
  stop(options?: StopOptions): Promise<void>;
}

/** Keeps what a component that failed said last in one sentence (see cli/main.ts), for whoever asks why. */
class LastWords {
  #said = '';
  hear(line: string): void {
    if (line.startsWith('deckhand: ')) this.#said = line.slice('deckhand: '.length);
  }
  error(name: ComponentName, why: string): Error {
    return new Error(this.#said ? `${name}: ${this.#said}` : `${name} ended before it was ready: ${why}`);
  }
}

const entry = join(import.meta.dirname, '../cli/main.ts');

/** Those whose memory is counted on nodes with many pods: with one heap of malloc and a smaller young generation. */
const thrifty: readonly ComponentName[] = ['runtime', 'kubelet'];

/** Options of Node for a component in a process of its own: the same as the launcher's. */
const nodeOptions = (name: ComponentName): string[] => [
  '--disable-warning=ExperimentalWarning',
  `--max-semi-space-size=${thrifty.includes(name) ? 1 : 2}`,
];

/** Words on the pipe between the supervisor and a component in its own process or thread. */
export const messages = { ready: 'ready', stop: 'stop', remove: 'stop remove' } as const;

/** Starts a component with the arguments that its command takes. */
export function launch(
  name: ComponentName,
  argv: readonly string[],
  place: Place,
  context: ComponentContext & { onOutput: (line: string) => void },
): Running {
  if (place === 'process') return launchProcess(name, argv, context);
  if (place === 'thread') return launchThread(name, argv, context);
  return launchInline(name, argv, context);
}

function launchProcess(
  name: ComponentName,
  argv: readonly string[],
  context: { onOutput: (line: string) => void },
): Running {
  const words = new LastWords();
  // The child ends when this pipe does: a supervisor that was killed leaves no component behind.
  const child = spawnService(process.execPath, [...nodeOptions(name), entry, name, '--supervised', ...argv], {
    ...(thrifty.includes(name) ? { environment: { MALLOC_ARENA_MAX: process.env['MALLOC_ARENA_MAX'] ?? '1' } } : {}),
    onLine: (line) => {
      words.hear(line);
      if (line === messages.ready) becomeReady();
      else context.onOutput(line);
    },
  });
  let becomeReady: () => void = () => {};
  const ready = new Promise<void>((resolve, reject) => {
    becomeReady = resolve;
    void child.ended.then((why) => reject(words.error(name, why)));
  });
  ready.catch(() => {});
  return {
    pid: child.pid,
    ready,
    ended: child.ended,
    stop: async ({ remove = false } = {}) => {
      child.write(`${remove ? messages.remove : messages.stop}\n`);
      await child.ended;
    },
  };
}

function launchThread(
  name: ComponentName,
  argv: readonly string[],
  context: { onOutput: (line: string) => void },
): Running {
  const worker = new Worker(entry, { argv: [name, '--supervised', ...argv], stdin: true, stdout: true, stderr: true });
  const words = new LastWords();
  let becomeReady: () => void = () => {};
  for (const input of [worker.stdout, worker.stderr])
    createInterface({ input }).on('line', (line) => {
      words.hear(line);
      if (line === messages.ready) becomeReady();
      else if (line !== '') context.onOutput(line);
    });
  let failure = '';
  worker.on('error', (error) => {
    failure = error instanceof Error ? (error.stack ?? error.message) : String(error);
  });
  const ended = new Promise<string>((resolve) =>
    worker.on('exit', (code) => resolve(failure || `thread exited with status ${code}`)),
  );
  const ready = new Promise<void>((resolve, reject) => {
    becomeReady = resolve;
    void ended.then((why) => reject(words.error(name, why)));
  });
  ready.catch(() => {});
  return {
    pid: process.pid,
    ready,
    ended,
    stop: async ({ remove = false } = {}) => {
      worker.stdin!.write(`${remove ? messages.remove : messages.stop}\n`);
      await ended;
    },
  };
}

function launchInline(name: ComponentName, argv: readonly string[], context: ComponentContext): Running {
  let end: (why: string) => void = () => {};
  const ended = new Promise<string>((resolve) => {
    end = resolve;
  });
  const started: Promise<Component> = loadComponent(name).then((module) =>
    module.start(parseFlags(module.flags, argv).values, context),
  );
  const ready = started.then((component) => component.ready);
  ready.catch((error: unknown) => end(error instanceof Error ? error.message : String(error)));
  return {
    pid: process.pid,
    ready,
    ended,
    stop: async (options) => {
      const component = await started.catch(() => undefined);
      await component?.stop(options);
      end('stopped');
    },
  };
}
