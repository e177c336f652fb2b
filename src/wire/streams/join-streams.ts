import type { Duplex } from 'node:stream';

/** Copies between two connections until both are closed; what one has sent before it closed still reaches the other. */
export function joinStreams(one: Duplex, other: Duplex): Promise<void> {
  const closed = [one, other].map(
    (stream) =>
      new Promise<void>((resolve) => {
        if (stream.destroyed) resolve();
        else stream.once('close', () => resolve());
      }),
  );
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.on('error', () => {});
    from.pipe(to);
    from.once('close', () => {
      if (to.destroyed) return;
      if (to.writableFinished) to.destroy();
      else {
        to.once('finish', () => to.destroy());
        to.end();
      }
    });
    if (from.destroyed) to.destroy();
  }
  return Promise.all(closed).then(() => {});
}
