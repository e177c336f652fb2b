/** How much work of one kind is done before others have their turn, milliseconds. */
const turnMs = 4;

/**
 * Lets the event loop run between pieces of work that do not wait for anything: a look at a hundred pods must not make a
 * probe late. Call it after each piece.
 */
export function makeBreather(now: () => number): () => Promise<void> | undefined {
  let since = now();
  return () => {
    if (now() - since < turnMs) return undefined;
    return new Promise((resolve) => {
      setImmediate(() => {
        since = now();
        resolve();
      });
    });
  };
}
