import { StoreError } from '../../store/index.ts';
import type { ResourceInfo } from '../resource-table.ts';
import { StatusError } from '../status-error.ts';

/** `pods` or `deployments.apps`, as messages name a resource. */
export function subjectOf(info: Pick<ResourceInfo, 'group' | 'plural'>): string {
  return info.group ? `${info.plural}.${info.group}` : info.plural;
}

function detailsOf(info: Pick<ResourceInfo, 'group' | 'plural'>, name: string) {
  return { name, ...(info.group ? { group: info.group } : {}), kind: info.plural };
}

/** 409: an object of that name is there already. */
export function alreadyExists(info: ResourceInfo, name: string): StatusError {
  return new StatusError(
    409,
    'AlreadyExists',
    `${subjectOf(info)} ${JSON.stringify(name)} already exists`,
    detailsOf(info, name),
  );
}

/** 409 with what stood in the way. */
export function conflict(info: ResourceInfo, name: string, why: string): StatusError {
  return new StatusError(
    409,
    'Conflict',
    `Operation cannot be fulfilled on ${subjectOf(info)} ${JSON.stringify(name)}: ${why}`,
    detailsOf(info, name),
  );
}

/** 409: the client's copy is old. */
export function modified(info: ResourceInfo, name: string): StatusError {
  return conflict(
    info,
    name,
    'the object has been modified; please apply your changes to the latest version and try again',
  );
}

/** 400 with a text. */
export function badRequest(message: string): StatusError {
  return new StatusError(400, 'BadRequest', message);
}

/** 403 for one object. */
export function forbidden(info: Pick<ResourceInfo, 'group' | 'plural'>, name: string, why: string): StatusError {
  const named = name ? `${subjectOf(info)} ${JSON.stringify(name)}` : subjectOf(info);
  return new StatusError(403, 'Forbidden', `${named} is forbidden: ${why}`, {
    ...(name ? { name } : {}),
    ...(info.group ? { group: info.group } : {}),
    kind: info.plural,
  });
}

/** The answer for a failure of the store: a full disk, an old revision. */
export function storeFailure(error: StoreError): StatusError {
  switch (error.code) {
    case 'COMPACTED':
      return new StatusError(410, 'Expired', error.message);
    case 'FUTURE':
      return new StatusError(
        504,
        'Timeout',
        error.message,
        {
          retryAfterSeconds: 1,
          causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
        },
        1,
      );
    case 'FULL':
      return new StatusError(507, 'InsufficientStorage', `the object was not stored: ${error.message}`);
    default:
      return new StatusError(500, 'InternalError', `Internal error occurred: ${error.message}`);
  }
}

/** Any error as one that has a Status. */
export function toStatusError(error: unknown): StatusError {
  if (error instanceof StatusError) return error;
  if (error instanceof StoreError) return storeFailure(error);
  const text = error instanceof Error ? error.message : String(error);
  return new StatusError(500, 'InternalError', `Internal error occurred: ${text}`, {
    causes: [{ message: text }],
  });
}
