import type { ConnectResponse } from '../extension-points.ts';
import { StatusError } from '../status-error.ts';

/** A Status that says that it is done. */
export function success(status = 201): ConnectResponse {
  const object = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: status };
  return { kind: 'object', status, object: object as never };
}

/** An object as the answer. */
export function answer(object: any, status = 201): ConnectResponse {
  return { kind: 'object', status, object };
}

/** A 400. */
export const badRequest = (message: string): StatusError => new StatusError(400, 'BadRequest', message);

/** A 405. */
export function methodNotAllowed(): StatusError {
  return new StatusError(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource');
}

/** The time as the API writes it. */
export const toTime = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;
