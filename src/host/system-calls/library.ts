import { createRequire } from 'node:module';
import type koffi from 'koffi';

type Koffi = typeof koffi;
type Library = ReturnType<Koffi['load']>;

let opened: { koffi: Koffi; library: Library } | undefined;

/**
 * The C library. Opened on first use: the binding takes 8 ms to load, which commands that make no system call of
 * their own do not pay.
 */
function open() {
  if (opened) return opened;
  const loaded = createRequire(import.meta.url)('koffi') as Koffi;
  opened = { koffi: loaded, library: loaded.load('libc.so.6') };
  return opened;
}

/** Where the bytes are in memory, for structures that point at others. They have to be kept as long as it is used. */
export function addressOf(bytes: Uint8Array): bigint {
  return BigInt(open().koffi.address(bytes));
}

/** A function of the C library. It gives what the function gives, or the negative errno where that was -1. */
export interface LibraryCall<Arguments extends readonly unknown[]> {
  (...values: Arguments): number;
  /**
   * The same on one of libuv's threads, for calls that wait. -1 stays -1: errno is of the thread that called. Not for
   * setns and its like, which would change that thread.
   */
  onThread(...values: Arguments): Promise<number>;
}

type AsyncCall = (...values: unknown[]) => number;

/** Declares a function by its C prototype; it is bound when it is first called. */
export function declare<Arguments extends readonly unknown[]>(prototype: string): LibraryCall<Arguments> {
  let bound: (AsyncCall & { async: (...values: unknown[]) => void }) | undefined;
  const bind = () => (bound ??= open().library.func(prototype) as unknown as NonNullable<typeof bound>);
  const call = (...values: Arguments): number => {
    const result = Number((bound ?? bind())(...values));
    return result === -1 ? -opened!.koffi.errno() : result;
  };
  const onThread = (...values: Arguments) =>
    new Promise<number>((resolve, reject) => {
      const done = (error: Error | null, result: number) => (error ? reject(error) : resolve(Number(result)));
      bind().async(...values, done);
    });
  return Object.assign(call, { onThread });
}
