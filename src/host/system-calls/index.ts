export { calls, results } from './calls.ts';
export { errnoName, hasErrno, SystemCallError } from './errors.ts';
export { addressOf, type LibraryCall } from './library.ts';
export { peerUser } from './peer-user.ts';
