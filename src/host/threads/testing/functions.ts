import { threadId } from 'node:worker_threads';

/** Functions that threads.test.ts calls in threads. */

export function add({ one, other }: { one: number; other: number }): number {
  return one + other;
}

export function whichThread(): number {
  return threadId;
}

export async function count(_: unknown, source: AsyncIterable<Uint8Array>): Promise<number> {
  let bytes = 0;
  for await (const piece of source) bytes += piece.length;
  return bytes;
}

export async function takeOne(_: unknown, source: AsyncIterable<Uint8Array>): Promise<number> {
  for await (const piece of source) return piece.length;
  return 0;
}

export function fail(): never {
  throw Object.assign(new RangeError('no'), { code: 'ENOTHING' });
}

export function useMemory(): number {
  const held: string[][] = [];
  for (;;) held.push(Array.from({ length: 100_000 }, (_, at) => `${at}${held.length}`));
}
