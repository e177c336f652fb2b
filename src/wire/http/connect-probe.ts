import { connect } from 'node:net';

/** Opens a TCP connection and closes it again. @throws Error with Node's code when it is refused or takes longer than `timeoutMs` */
export function connectProbe(host: string, port: number, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    socket.setTimeout(timeoutMs, () => socket.destroy(new Error(`dial tcp ${host}:${port}: i/o timeout`)));
    socket.on('connect', () => {
      socket.destroy();
      resolve();
    });
    socket.on('error', (error) => reject(error));
  });
}
