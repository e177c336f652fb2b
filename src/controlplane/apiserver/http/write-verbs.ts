import { deepCopy } from '../../../api/patch/index.ts';
import { objectOf } from '../../store/index.ts';
import { toStorage } from '../objects/conversion.ts';
import { createObject } from '../objects/create.ts';
import { scaleOf, withScale } from '../objects/scale.ts';
import { type UpdateRequest, updateObject } from '../objects/update.ts';
import { notFound } from '../status-error.ts';
import { type BodyExpectation, checkBody, expectationOf, fieldValidationOf, parseBody } from './decode-body.ts';
import { callerOf, type Exchange } from './exchange.ts';
import { mediaType, readBody } from './read-body.ts';
import { addWarnings, sendStored, sendValue } from './respond.ts';

/** Kinds that a PUT creates when they are not there. */
const createdByUpdate = new Set([
  'endpoints',
  'events',
  'coordination.k8s.io/leases',
  'services',
  'limitranges',
  'resourcequotas',
]);

const scaleExpectation: BodyExpectation = {
  apiVersion: 'autoscaling/v1',
  kind: 'Scale',
  typeName: 'autoscaling.v1.Scale',
};

/** What the body of a request to the target holds. */
export function expectationFor({ target }: Exchange): BodyExpectation {
  return target.subresource === 'scale' ? scaleExpectation : expectationOf(target.info);
}

/** Reads and checks the object in the body; sends warnings about it. */
export async function readObject(exchange: Exchange, expected = expectationFor(exchange)): Promise<any> {
  const { request, response, url } = exchange;
  const validation = fieldValidationOf(url.searchParams);
  const parsed = await parseBody(await readBody(request), mediaType(request), validation);
  addWarnings(response, checkBody(parsed, expected, validation));
  return parsed.object;
}

/** POST to a collection. */
export async function handleCreate(exchange: Exchange): Promise<void> {
  const { core, target, response, encoding } = exchange;
  const { info } = target;
  const caller = callerOf(exchange);
  const object = await readObject(exchange);
  // An object may be posted to all namespaces only when it says in which it belongs.
  const namespace = info.namespaced ? target.namespace || object.metadata?.namespace || 'default' : '';
  const stored = await createObject(core, info, namespace, toStorage(info, object), caller);
  await sendStored(core, response, 201, info, stored, encoding);
}

/** PUT of an object or a subresource that is an object. */
export async function handleUpdate(exchange: Exchange): Promise<void> {
  const { core, target } = exchange;
  const { info, namespace, name, subresource } = target;
  const caller = callerOf(exchange);
  const object = await readObject(exchange);
  const missing = !core.store.getHead(info.storage.key, namespace, name);
  if (missing && subresource === '' && createdByUpdate.has(info.storage.key)) {
    object.metadata = { ...object.metadata, name };
    delete object.metadata.resourceVersion;
    delete object.metadata.uid;
    const stored = await createObject(core, info, namespace, toStorage(info, object), caller);
    return sendStored(core, exchange.response, 201, info, stored, exchange.encoding);
  }
  await runUpdate(exchange, { caller, change: () => deepCopy(object) });
}

/** Changes an object, or its scale, and answers with what became of it. */
export async function runUpdate(exchange: Exchange, update: Pick<UpdateRequest, 'caller' | 'change'>): Promise<void> {
  const { core, target, response, encoding } = exchange;
  const { info, namespace, name, subresource } = target;
  const scale = subresource === 'scale';
  const change = scale ? (current: any) => withScale(current, update.change(scaleOf(current))) : update.change;
  const request: UpdateRequest = {
    info,
    namespace,
    name,
    subresource: scale ? '' : subresource,
    caller: update.caller,
    change,
  };
  const stored = await updateObject(core, request);
  if (scale) await sendValue(response, 200, scaleOf(objectOf(stored)), encoding);
  else await sendStored(core, response, 200, info, stored, encoding);
}

/** GET of one object or of a subresource that is an object. */
export async function handleGet(exchange: Exchange): Promise<void> {
  const { core, target, response, encoding } = exchange;
  const { info, namespace, name, subresource } = target;
  const stored = core.store.get(info.storage.key, namespace, name);
  if (!stored) throw notFound(info.group, info.plural, name);
  if (subresource === 'scale') return sendValue(response, 200, scaleOf(objectOf(stored)), encoding);
  await sendStored(core, response, 200, info, stored, encoding);
}
