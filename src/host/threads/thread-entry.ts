/** What runs in a thread: calls functions of the module that it was started with. See threads.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import type { FromThread, ThreadFunction, ToThread } from './messages.ts';

const functions = (await import((workerData as { module: string }).module)) as Record<string, ThreadFunction>;
const sources = new Map<number, Source>();
const send = (message: FromThread) => parentPort!.postMessage(message);

parentPort!.on('message', (message: ToThread) => {
  if (message.kind === 'start') return void start(message);
  const source = sources.get(message.job);
  if (message.kind === 'piece') source?.push(message.bytes);
  else source?.end(message.kind === 'fail' ? new Error(message.message) : undefined);
});

async function start({ job, name, input, hasSource }: ToThread & { kind: 'start' }): Promise<void> {
  const source = new Source((bytes) => send({ kind: 'taken', job, bytes }));
  if (hasSource) sources.set(job, source);
  else source.end();
  try {
    send({ kind: 'done', job, result: await functions[name]!(input as never, source) });
  } catch (thrown) {
    const error = thrown as { code?: unknown; message?: unknown; constructor?: { name?: string } } | undefined;
    send({
      kind: 'failed',
      job,
      code: typeof error?.code === 'string' ? error.code : '',
      type: error?.constructor?.name ?? '',
      message: String(error?.message ?? thrown),
    });
  } finally {
    sources.delete(job);
  }
}

/** Bytes as they come from the other side. */
class Source implements AsyncIterable<Uint8Array> {
  readonly #pieces: Uint8Array[] = [];
  readonly #onTaken: (bytes: number) => void;
  #end: { error: Error | undefined } | undefined;
  #wake: (() => void) | undefined;

  constructor(onTaken: (bytes: number) => void) {
    this.#onTaken = onTaken;
  }

  push(bytes: Uint8Array): void {
    this.#pieces.push(bytes);
    this.#wake?.();
  }

  end(error?: Error): void {
    this.#end = { error };
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    for (;;) {
      const piece = this.#pieces.shift();
      if (piece) {
        this.#onTaken(piece.length);
        yield piece;
      } else if (this.#end?.error) throw this.#end.error;
      else if (this.#end) return;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }
}
