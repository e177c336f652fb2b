import type { ResourceInfo, ResourceTable } from '../resource-table.ts';
import { StatusError } from '../status-error.ts';

/** What a path names. */
export type RequestTarget =
  | { kind: 'path'; path: string }
  | {
      kind: 'resource';
      info: ResourceInfo;
      /** Empty for all namespaces and for resources without one. */
      namespace: string;
      /** Empty for the collection. */
      name: string;
      subresource: string;
      /** What follows the subresource, with its slash. */
      subpath: string;
      /** The path has the old `/watch/` in it. */
      watch: boolean;
    };

/** 404 for a path that nothing is served at. */
export function noSuchPath(): StatusError {
  return new StatusError(404, 'NotFound', 'the server could not find the requested resource', { causes: [] });
}

/** Reads `/api/v1/namespaces/a/pods/b/log` and the like. Throws 404 for a resource that is not served. */
export function parseTarget(resources: ResourceTable, path: string): RequestTarget {
  const parts = path.split('/').slice(1);
  if (parts.at(-1) === '') parts.pop();
  const core = parts[0] === 'api';
  const head = core ? 2 : 3;
  if ((!core && parts[0] !== 'apis') || parts.length <= head) return { kind: 'path', path };
  const group = core ? '' : decode(parts[1]!);
  const version = decode(parts[head - 1]!);
  let rest = parts.slice(head).map(decode);
  const watch = rest[0] === 'watch';
  if (watch) rest = rest.slice(1);
  let namespace = '';
  // Below namespaces/NAME, anything but the namespace's own subresources is a resource in it.
  if (rest[0] === 'namespaces' && rest.length > 2 && !(core && (rest[2] === 'status' || rest[2] === 'finalize'))) {
    namespace = rest[1]!;
    rest = rest.slice(2);
  }
  const info = resources.at(group, version, rest[0] ?? '');
  if (!info) throw noSuchPath();
  if (namespace !== '' && !info.namespaced) throw noSuchPath();
  const name = rest[1] ?? '';
  const subresource = rest[2] ?? '';
  // A named object in no namespace, of a kind that has one.
  if (info.namespaced && namespace === '' && name !== '' && !watch) throw noSuchPath();
  const subpath = rest.length > 3 ? `/${parts.slice(parts.length - (rest.length - 3)).join('/')}` : '';
  return { kind: 'resource', info, namespace, name, subresource, subpath, watch };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new StatusError(400, 'BadRequest', `invalid path segment ${JSON.stringify(part)}`);
  }
}

/** The verb of a request, as authorizers and discovery name it. */
export function verbOf(method: string, target: RequestTarget & { kind: 'resource' }, query: URLSearchParams): string {
  switch (method) {
    case 'GET':
    case 'HEAD': {
      const watching = target.watch || isTrue(query.get('watch'));
      if (target.name !== '' && !target.watch) return 'get';
      return watching ? 'watch' : 'list';
    }
    case 'POST':
      return 'create';
    case 'PUT':
      return 'update';
    case 'PATCH':
      return 'patch';
    case 'DELETE':
      return target.name === '' ? 'deletecollection' : 'delete';
    default:
      return method.toLowerCase();
  }
}

/** Whether a query parameter says yes. */
export function isTrue(value: string | null): boolean {
  return value === 'true' || value === '1';
}
