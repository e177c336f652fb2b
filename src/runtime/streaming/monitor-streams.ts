import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { RemoteCommand } from '../../wire/streams/index.ts';

/** conmon takes packets up to this size. */
const largestInput = 32_768;

/** Copies input to a monitor, in packets that conmon can take; with `end` its end too. */
export async function feedMonitor(stdin: Readable, monitor: Writable, options: { end: boolean }): Promise<void> {
  const cut = async function* (parts: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const part of parts)
      for (let at = 0; at < part.length; at += largestInput) yield part.subarray(at, at + largestInput);
  };
  await pipeline(stdin, cut, monitor, { end: options.end }).catch(() => {});
  stdin.resume();
}

/** Tells the size of the client's terminal: of those that come while one is being told, the last. */
export function followSize(remote: RemoteCommand, tell: (rows: number, columns: number) => Promise<void>): void {
  let next: { width: number; height: number } | undefined;
  let telling = false;
  const run = async (): Promise<void> => {
    telling = true;
    for (let size = next; size !== undefined; size = next) {
      next = undefined;
      await tell(size.height, size.width).catch(() => {});
    }
    telling = false;
  };
  remote.onResize((size) => {
    next = size;
    if (!telling) void run();
  });
}
