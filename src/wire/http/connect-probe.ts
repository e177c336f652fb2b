import { connect } from 'node:net';

/** Opens a TCP connection and closes it again. @throws Error with Node's code when it is refused, or the signal's reason */
export function connectProbe(host: string, port: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const socket = connect({ host, port });
    const end = (done: () => void): void => {
      signal.removeEventListener('abort', onAbort);
      socket.destroy();
      done();
    };
    const onAbort = (): void => end(() => reject(signal.reason));
    signal.addEventListener('abort', onAbort);
    socket.on('connect', () => end(resolve));
    socket.on('error', (error) => end(() => reject(error)));
  });
}
