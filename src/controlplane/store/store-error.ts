/** Why the store refused. */
export type StoreErrorCode =
  /** Someone else wrote the object in between, or it exists already, or it is gone. */
  | 'CONFLICT'
  /** The revision asked for has been compacted away. */
  | 'COMPACTED'
  /** The revision asked for is still to come. */
  | 'FUTURE'
  /** No space is left on the disk. Nothing was written; the store lives on. */
  | 'FULL'
  /** The disk failed. Nothing was written. */
  | 'IO'
  /** The file is no database of ours, or it is damaged. It was not touched. */
  | 'CORRUPT'
  /** The file was written by a newer version. It was not touched. */
  | 'NEWER'
  /** Another process has the file open. */
  | 'IN_USE'
  | 'CLOSED';

/** An error of the store: what was wrong, with which object or file. */
export class StoreError extends Error {
  readonly code: StoreErrorCode;

  constructor(code: StoreErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
