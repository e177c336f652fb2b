/** Raised when releases failed; `errors` holds each with its description. */
export class UndoError extends AggregateError {}

/**
 * What has been acquired and must be released, last first, unless the whole succeeds.
 *
 * ```ts
 * await using undo = new UndoStack();
 * const netns = await createNamespace(path);
 * undo.add(`network namespace ${path}`, () => removeNamespace(path));
 * ...
 * undo.keep(); // success: nothing is released
 * ```
 */
export class UndoStack implements AsyncDisposable {
  #steps: { description: string; release: () => Promise<unknown> | unknown }[] = [];

  /** Registers how to release what was just acquired. */
  add(description: string, release: () => Promise<unknown> | unknown): void {
    this.#steps.push({ description, release });
  }

  /** Success: forgets all releases and returns them as a stack of their own. */
  keep(): UndoStack {
    const kept = new UndoStack();
    kept.#steps = this.#steps;
    this.#steps = [];
    return kept;
  }

  /** Releases everything, last first; every release is tried. @throws UndoError when some failed */
  async [Symbol.asyncDispose](): Promise<void> {
    const errors: Error[] = [];
    for (const { description, release } of this.#steps.splice(0).reverse()) {
      try {
        await release();
      } catch (cause) {
        errors.push(
          new Error(`cannot release ${description}: ${cause instanceof Error ? cause.message : cause}`, { cause }),
        );
      }
    }
    if (errors.length > 0) throw new UndoError(errors, errors.map((error) => error.message).join('; '));
  }
}
