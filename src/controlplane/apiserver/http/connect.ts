import { typeNameOf } from '../../../api/schema/index.ts';
import type { Socket } from '../../../wire/http/index.ts';
import type { Connector, ConnectRequest, ConnectResponse } from '../extension-points.ts';
import { admissionRequest, admit } from '../objects/prepare.ts';
import { resourceKey } from '../resource-table.ts';
import { callerOf, type Exchange } from './exchange.ts';
import { sendJson, sendValue } from './respond.ts';
import { readObject } from './write-verbs.ts';

/** The connector of a target, if it has one: `pods/log`, or `authentication.k8s.io/tokenreviews` for kinds that are only calls. */
export function connectorOf(exchange: Pick<Exchange, 'core' | 'target'>): Connector | undefined {
  const { info, subresource } = exchange.target;
  const key = resourceKey(info.group, info.plural);
  return exchange.core.extensions.connectors[subresource === '' ? key : `${key}/${subresource}`];
}

/** Subresources whose POST body is an object of the API. */
function bodyExpectation({ target, verb, request }: Exchange) {
  const { info, subresource } = target;
  if (verb !== 'create' && verb !== 'update') return undefined;
  const row =
    subresource === '' ? { kind: info.kind, kindGroupVersion: undefined } : info.subresources.get(subresource);
  if (!row || /Options$/.test(row.kind) || !request.headers['content-type']) return undefined;
  const apiVersion = row.kindGroupVersion ?? info.apiVersion;
  return { apiVersion, kind: row.kind, typeName: typeNameOf(apiVersion, row.kind) ?? '' };
}

/** Hands a request to its connector and sends what it answers. */
export async function handleConnect(
  exchange: Exchange,
  connector: Connector,
  upgrade?: { socket: Socket; head: Buffer },
): Promise<void> {
  const { core, request, response, target, url, user, encoding } = exchange;
  const { info, namespace, name, subresource, subpath } = target;
  const expected = upgrade ? undefined : bodyExpectation(exchange);
  const body = expected ? await readObject(exchange, expected) : undefined;
  const caller = callerOf(exchange);
  if (subresource !== '' && body === undefined) {
    await admit(
      core,
      caller,
      admissionRequest(core, caller, 'CONNECT', info, subresource, namespace, name, {}),
      'validate',
    );
  }
  const abort = new AbortController();
  (upgrade?.socket ?? response).once('close', () => abort.abort());
  const connect: ConnectRequest = {
    resource: info.key,
    subresource,
    namespace: info.namespaced ? namespace || body?.metadata?.namespace || 'default' : '',
    name,
    subpath,
    method: request.method ?? 'GET',
    url,
    headers: request.headers,
    user,
    dryRun: caller.dryRun,
    registry: core.registry,
    signal: abort.signal,
    ...(body === undefined ? (upgrade ? {} : { input: request }) : { body }),
    ...(upgrade ? { upgrade: { ...upgrade, raw: request } } : {}),
  };
  const answer = await connector(connect);
  if (upgrade) {
    // Whoever asked for another protocol cannot be given a plain answer.
    if (answer.kind !== 'taken') upgrade.socket.destroy();
    return;
  }
  if (answer.kind === 'object') await sendValue(response, answer.status, answer.object, encoding);
  else if (answer.kind === 'stream') await sendStream(exchange, answer);
}

async function sendStream(exchange: Exchange, answer: ConnectResponse & { kind: 'stream' }): Promise<void> {
  const { response } = exchange;
  response.writeHead(answer.status, answer.headers);
  response.flushHeaders();
  try {
    for await (const piece of answer.body) {
      if (response.destroyed) break;
      if (!response.write(piece)) {
        await new Promise<void>((resolve) => {
          response.once('drain', resolve);
          response.once('close', resolve);
        });
      }
    }
    response.end();
  } catch (error) {
    // Too late for a status: breaking off tells the client that the rest is missing.
    exchange.core.log.debug('a stream broke off', { path: exchange.url.pathname, error });
    response.destroy();
  }
}

/** What a resource that is only calls answers when nobody serves it. */
export function sendNotServed(exchange: Exchange): void {
  sendJson(exchange.response, 404, {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message: 'the server could not find the requested resource',
    reason: 'NotFound',
    details: {},
    code: 404,
  });
}
