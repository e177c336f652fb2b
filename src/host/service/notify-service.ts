import { calls } from '../system-calls/index.ts';

const [unixFamily, datagramType, closeOnExec] = [1, 2, 0o2000000];

/**
 * Tells the service manager something (sd_notify(3)): `READY=1`, `WATCHDOG=1`.
 * @param socket as in NOTIFY_SOCKET: a path, or with `@` first an abstract name
 * @throws SystemCallError when nobody listens
 */
export function notifyService(socket: string, text: string): void {
  const fd = calls.socket(unixFamily, datagramType | closeOnExec, 0);
  try {
    const name = socket.startsWith('@') ? `\0${socket.slice(1)}` : socket;
    const address = Buffer.concat([Buffer.from([unixFamily, 0]), Buffer.from(name)]);
    calls.connect(fd, address, address.length);
    const bytes = Buffer.from(text);
    calls.send(fd, bytes, bytes.length, 0);
  } finally {
    calls.close(fd);
  }
}
