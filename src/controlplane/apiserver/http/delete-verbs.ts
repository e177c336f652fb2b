import { objectOf } from '../../store/index.ts';
import { type DeleteRequest, deleteObject } from '../objects/delete.ts';
import { badRequest } from '../objects/errors.ts';
import { StatusError } from '../status-error.ts';
import { checkBody, parseBody } from './decode-body.ts';
import { callerOf, type Exchange } from './exchange.ts';
import { mediaType, readBody } from './read-body.ts';
import { isTrue } from './request-target.ts';
import { sendJson, sendStored } from './respond.ts';
import { isSelected, parseSelection } from './selection.ts';

const expected = { apiVersion: 'v1', kind: 'DeleteOptions', typeName: 'meta.v1.DeleteOptions' };

/** Kinds whose deletion answers with the object even when it is gone at once. */
const answersObject = new Set([
  'pods',
  'services',
  'serviceaccounts',
  'persistentvolumes',
  'persistentvolumeclaims',
  'podtemplates',
  'resourcequotas',
]);

/** The options of a deletion: the body's, else the query's. */
async function readOptions(exchange: Exchange): Promise<any> {
  const query = exchange.url.searchParams;
  const body = await readBody(exchange.request);
  if (body.length > 0) {
    const { object } = await parseBody(body, mediaType(exchange.request), 'Ignore');
    // Clients send DeleteOptions of the group that they talk to.
    if (object.kind === undefined || object.kind === 'DeleteOptions')
      Object.assign(object, { apiVersion: 'v1', kind: 'DeleteOptions' });
    checkBody({ object, duplicates: [], binary: false }, expected, 'Ignore');
    return object;
  }
  const grace = query.get('gracePeriodSeconds');
  if (grace !== null && !/^-?\d+$/.test(grace)) throw badRequest(`invalid gracePeriodSeconds ${JSON.stringify(grace)}`);
  return {
    ...(grace === null ? {} : { gracePeriodSeconds: Number(grace) }),
    ...(query.has('propagationPolicy') ? { propagationPolicy: query.get('propagationPolicy') } : {}),
    ...(query.has('orphanDependents') ? { orphanDependents: isTrue(query.get('orphanDependents')) } : {}),
    dryRun: query.getAll('dryRun'),
  };
}

async function readDelete(exchange: Exchange): Promise<Omit<DeleteRequest, 'name' | 'namespace'>> {
  const options = await readOptions(exchange);
  const policy = options.propagationPolicy;
  if (policy !== undefined && !['Background', 'Foreground', 'Orphan', ''].includes(policy)) {
    throw new StatusError(
      422,
      'Invalid',
      `DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: ${JSON.stringify(policy)}: supported values: "Background", "Foreground", "Orphan"`,
    );
  }
  const caller = callerOf(exchange, options);
  if (options.dryRun?.includes('All')) caller.dryRun = true;
  return {
    info: exchange.target.info,
    caller,
    // A negative period means one second.
    gracePeriodSeconds: options.gracePeriodSeconds < 0 ? 1 : options.gracePeriodSeconds,
    propagationPolicy: policy || undefined,
    orphanDependents: options.orphanDependents,
    uid: options.preconditions?.uid,
    resourceVersion: options.preconditions?.resourceVersion,
  };
}

/** DELETE of one object. */
export async function handleDelete(exchange: Exchange): Promise<void> {
  const { core, target, response, encoding } = exchange;
  const { info, namespace, name } = target;
  const request = await readDelete(exchange);
  const { stored, gone } = await deleteObject(core, { ...request, namespace, name });
  if (!gone || answersObject.has(info.storage.key)) {
    return sendStored(core, response, 200, info, stored, encoding);
  }
  sendJson(response, 200, {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Success',
    details: {
      name,
      ...(info.group ? { group: info.group } : {}),
      kind: info.plural,
      uid: objectOf(stored).metadata.uid,
    },
  });
}

/** DELETE of a collection: everything that the query selects. */
export async function handleDeleteCollection(exchange: Exchange): Promise<void> {
  const { core, target, response, url } = exchange;
  const { info } = target;
  const request = await readDelete(exchange);
  const selection = parseSelection(core, info, target.namespace, '', url.searchParams);
  const chosen = core.store
    .collection(info.storage.key)
    .list(selection.namespace)
    .filter((stored) => isSelected(selection, stored));
  await Promise.all(
    chosen.map(async ({ namespace, name }) => {
      try {
        await deleteObject(core, { ...request, namespace, name });
      } catch (error) {
        if (!(error instanceof StatusError) || error.code !== 404) throw error;
      }
    }),
  );
  sendJson(response, 200, {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Success',
    details: { ...(info.group ? { group: info.group } : {}), kind: info.plural },
  });
}
