import type { AdmissionPlugin } from '../apiserver/extension-points.ts';
import { notFound } from '../apiserver/status-error.ts';
import { refuse } from './refuse.ts';

/** Namespaces that always exist. */
const immortal = new Set(['default', 'kube-system', 'kube-public']);

/** Nothing is made in a namespace that is not there or is going; some namespaces may not be deleted. */
export const namespaceLifecycle: AdmissionPlugin = {
  name: 'NamespaceLifecycle',
  mutate: checkNamespace,
  validate: (request) => {
    const { resource, operation, name } = request;
    if (operation !== 'DELETE' || resource.group !== '' || resource.plural !== 'namespaces') return;
    if (immortal.has(name)) throw refuse(request, 'this namespace may not be deleted');
  },
};

function checkNamespace(request: Parameters<NonNullable<AdmissionPlugin['mutate']>>[0]): void {
  const { operation, namespace, registry, resource } = request;
  if (operation !== 'CREATE' || namespace === '' || resource.plural === 'namespaces') return;
  // Reviews of access ask about a namespace; they make nothing in it.
  if (resource.plural.endsWith('accessreviews')) return;
  const found: any = registry.get('namespaces', '', namespace);
  if (!found) throw notFound('', 'namespaces', namespace);
  if (found.status?.phase !== 'Terminating' && !found.metadata.deletionTimestamp) return;
  const why = `unable to create new content in namespace ${namespace} because it is being terminated`;
  throw refuse(request, why, {
    causes: [{ reason: 'NamespaceTerminating', message: `namespace ${namespace} is being terminated` }],
  });
}
