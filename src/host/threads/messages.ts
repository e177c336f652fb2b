/** What goes to a thread. */
export type ToThread =
  | { kind: 'start'; job: number; name: string; input: unknown; hasSource: boolean }
  | { kind: 'piece'; job: number; bytes: Uint8Array }
  | { kind: 'end'; job: number }
  | { kind: 'fail'; job: number; message: string };

/** What comes from a thread. */
export type FromThread =
  | { kind: 'taken'; job: number; bytes: number }
  | { kind: 'done'; job: number; result: unknown }
  | { kind: 'failed'; job: number; code: string; type: string; message: string };

/** What a module for threads exports: functions of an input and, for some, of a stream of bytes. */
export type ThreadFunction = (input: never, source: AsyncIterable<Uint8Array>) => Promise<unknown> | unknown;
