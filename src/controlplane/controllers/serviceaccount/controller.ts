import { type ConfigMap, type Namespace, objectKey, resources, type ServiceAccount } from '../../../api/index.ts';
import { unlessAborted } from '../../../async/index.ts';
import { createInformer, isAlreadyExists, isNotFound } from '../../../client/index.ts';
import {
  type Controller,
  type ControllerContext,
  controllerOfParts,
  createControllerQueue,
} from '../framework/controller.ts';

const rootCaName = 'kube-root-ca.crt';

/** Gives every namespace its `default` service account. */
export function startServiceAccountController(context: ControllerContext): Controller {
  const namespaces = context.informers.store<Namespace>(resources.namespaces);
  const accounts = context.informers.store<ServiceAccount>(resources.serviceaccounts);
  const queue = createControllerQueue(context, {
    name: 'serviceaccount',
    stores: [namespaces, accounts],
    handle: async (name) => {
      if (!isActive(namespaces.get(name)) || accounts.get(`${name}/default`)) return;
      await unlessThere(accounts.create({ metadata: { name: 'default', namespace: name } }));
    },
  });
  const ends = [
    namespaces.subscribe((key, now) => now && queue.add(key)),
    accounts.subscribe((_key, now, before) => {
      if (!now && before?.metadata.name === 'default') queue.add(before.metadata.namespace!);
    }),
  ];
  return controllerOfParts([queue], ends);
}

/** Publishes the cluster's CA certificate in every namespace, for pods that talk to the API server. */
export function startRootCaController(context: ControllerContext, rootCa: string): Controller {
  const namespaces = context.informers.store<Namespace>(resources.namespaces);
  const published = createInformer<ConfigMap>(context.client, resources.configmaps, {
    fieldSelector: `metadata.name=${rootCaName}`,
    log: context.log,
    clock: context.clock,
    onChange: (_key, now, before) => queue.add((now ?? before)!.metadata.namespace!),
  });
  const queue = createControllerQueue(context, {
    name: 'root-ca',
    stores: [namespaces],
    handle: async (namespace, signal) => {
      await unlessAborted(published.synced, signal);
      if (!isActive(namespaces.get(namespace))) return;
      const existing = published.get(`${namespace}/${rootCaName}`);
      const data = { 'ca.crt': rootCa };
      if (!existing) {
        const annotations = {
          'kubernetes.io/description':
            'The certificate authority of this cluster, for clients inside it (the address kubernetes.default.svc).',
        };
        await unlessThere(
          context.client.create(resources.configmaps, { metadata: { name: rootCaName, namespace, annotations }, data }),
        );
      } else if (existing.data?.['ca.crt'] !== rootCa) {
        await context.client.update(resources.configmaps, { ...existing, data });
      }
    },
  });
  published.start();
  const end = namespaces.subscribe((_key, now) => now && queue.add(objectKey(now)));
  return controllerOfParts([queue], [end, () => published.stop()]);
}

function isActive(namespace: Namespace | undefined): boolean {
  return namespace !== undefined && !namespace.metadata.deletionTimestamp && namespace.status?.phase !== 'Terminating';
}

/** Something that is there already, or whose namespace is going, is no failure. */
async function unlessThere(creation: Promise<unknown>): Promise<void> {
  try {
    await creation;
  } catch (error) {
    const terminating = /being terminated/.test((error as Error).message);
    if (!isAlreadyExists(error) && !isNotFound(error) && !terminating) throw error;
  }
}
