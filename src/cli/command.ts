/** A command: what `deckhand <name>` does. Each is a file in this folder, loaded only when it is called. */
export interface Command {
  summary: string;
  /** Returns the exit status: 0, or 1 when it failed. Throws UsageError for status 2. */
  run(argv: string[]): Promise<number>;
}
