import { results } from './calls.ts';

const solSocket = 1;
const soPeerCred = 17;

/**
 * The user id of the process at the other end of a unix socket (SO_PEERCRED); undefined when the socket is none, or
 * Node does not tell its descriptor.
 */
export function peerUser(socket: object): number | undefined {
  const descriptor = (socket as { _handle?: { fd?: number } })._handle?.fd;
  if (descriptor === undefined || descriptor < 0) return undefined;
  // struct ucred: pid, uid, gid.
  const credentials = Buffer.alloc(12);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(credentials.length);
  if (results.getsockopt(descriptor, solSocket, soPeerCred, credentials, length) < 0) return undefined;
  return credentials.readUInt32LE(4);
}
