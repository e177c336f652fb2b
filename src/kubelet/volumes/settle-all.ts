/** Waits for all of them, so that one that fails (or hangs) takes nothing from the others. @throws the first one's error */
export async function settleAll(tasks: Iterable<Promise<unknown>>): Promise<void> {
  const failed = (await Promise.allSettled(tasks)).find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
}
