import { StoreError } from '../../store/index.ts';
import type { RequestAttributes } from '../extension-points.ts';
import { forbidden, storeFailure } from '../objects/errors.ts';
import { StatusError } from '../status-error.ts';
import type { WatchHub } from '../watch/watch-hub.ts';
import { parseWatch } from '../watch/watch-request.ts';
import { connectorOf, handleConnect } from './connect.ts';
import { handleDelete, handleDeleteCollection } from './delete-verbs.ts';
import type { Exchange } from './exchange.ts';
import { listObjects } from './list.ts';
import { handlePatch } from './patch-verb.ts';
import { noSuchPath } from './request-target.ts';
import { parseSelection } from './selection.ts';
import { handleCreate, handleGet, handleUpdate } from './write-verbs.ts';

/** Subresources that are the object itself, seen through a window. */
const objectSubresources = new Set(['status', 'scale', 'finalize', 'approval', 'ephemeralcontainers', 'resize']);

/** The request as authorizers see it. */
export function attributesOf(exchange: Pick<Exchange, 'target' | 'verb' | 'user' | 'url'>): RequestAttributes {
  const { target, verb, user, url } = exchange;
  const { info, subresource, name } = target;
  const fields = fieldsSelected(url);
  return {
    user,
    verb,
    resource: { group: info.group, version: info.version, plural: info.plural, subresource },
    // A namespace is in itself.
    namespace: target.namespace || (info.key === 'namespaces' ? name : ''),
    name: name || (fields['metadata.name'] ?? ''),
    path: url.pathname,
    fields,
  };
}

/** The fields that must have a certain value. Who lists or watches objects of one name asks for that one. */
function fieldsSelected(url: URL): Record<string, string> {
  const terms = (url.searchParams.get('fieldSelector') ?? '').split(',');
  const matches = terms.map((term) => /^\s*([^=!]+?)==?([^=!]*?)\s*$/.exec(term));
  return Object.fromEntries(matches.flatMap((match) => (match ? [[match[1]!, match[2]!]] : [])));
}

/** Throws 403 unless the authorizer lets the request pass. */
export async function authorize(exchange: Exchange): Promise<void> {
  const attributes = attributesOf(exchange);
  const { allowed, reason } = await exchange.core.extensions.authorizer.authorize(attributes);
  if (allowed) return;
  const { info, subresource, name, namespace } = exchange.target;
  const resource = subresource ? `${info.plural}/${subresource}` : info.plural;
  const where = info.namespaced
    ? namespace
      ? ` in the namespace ${JSON.stringify(namespace)}`
      : ' at the cluster scope'
    : ' at the cluster scope';
  const who = JSON.stringify(exchange.user.username);
  const what = `cannot ${exchange.verb} resource ${JSON.stringify(resource)} in API group ${JSON.stringify(info.group)}${where}`;
  throw forbidden(info, name, `User ${who} ${what}${reason ? `: ${reason}` : ''}`);
}

/** Serves a request for a resource that is allowed. */
export async function dispatch(exchange: Exchange, hub: WatchHub): Promise<void> {
  const { target, verb } = exchange;
  const { info, subresource } = target;
  if (subresource !== '' && !info.subresources.has(subresource)) throw noSuchPath();
  const connector = connectorOf(exchange);
  if (connector) {
    const served = subresource === '' ? info.verbs : info.subresources.get(subresource)!.verbs;
    if (!served.includes(verb)) throw methodNotAllowed(exchange);
    return handleConnect(exchange, connector);
  }
  if (subresource !== '' && !objectSubresources.has(subresource)) throw noSuchPath();
  // Kinds that are only calls (reviews, bindings) are served by their connector or not at all.
  if (!info.verbs.includes('get')) throw noSuchPath();
  const verbs = subresource === '' ? info.verbs : info.subresources.get(subresource)!.verbs;
  if (!verbs.includes(verb) || (target.name === '' && verb === 'update') || (target.name !== '' && verb === 'create')) {
    throw methodNotAllowed(exchange);
  }
  switch (verb) {
    case 'get':
      return handleGet(exchange);
    case 'list':
    case 'watch':
      return handleRead(exchange, hub);
    case 'create':
      return handleCreate(exchange);
    case 'update':
      return handleUpdate(exchange);
    case 'patch':
      return handlePatch(exchange);
    case 'delete':
      return handleDelete(exchange);
    case 'deletecollection':
      return handleDeleteCollection(exchange);
    default:
      throw methodNotAllowed(exchange);
  }
}

function methodNotAllowed({ target: { info } }: Exchange): StatusError {
  return new StatusError(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource', {
    ...(info.group ? { group: info.group } : {}),
    kind: info.plural,
  });
}

async function handleRead(exchange: Exchange, hub: WatchHub): Promise<void> {
  const { core, target, url, response, encoding, verb } = exchange;
  const query = url.searchParams;
  const selection = parseSelection(core, target.info, target.namespace, target.name, query);
  if (verb === 'list') return listObjects(core, response, target.info, selection, query, encoding);
  try {
    hub.open(parseWatch(core, target.info, selection, query, encoding), response);
  } catch (error) {
    if (!(error instanceof StoreError) || error.code !== 'COMPACTED') throw error;
    // A watch that is too old is answered as a stream that begins and ends with the error.
    response.writeHead(200, { 'Content-Type': 'application/json;stream=watch' });
    response.end(`${JSON.stringify({ type: 'ERROR', object: storeFailure(error).toStatus() })}\n`);
  }
}
