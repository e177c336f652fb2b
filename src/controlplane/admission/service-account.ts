import { randomInt } from 'node:crypto';
import type { AdmissionPlugin, AdmissionRequest } from '../apiserver/extension-points.ts';
import { isMirrorPod, isPodCreate, refuse } from './refuse.ts';

/** Where containers find their token. */
const mountPath = '/var/run/secrets/kubernetes.io/serviceaccount';
const volumePrefix = 'kube-api-access-';
const letters = 'bcdfghjklmnpqrstvwxz2456789';

const randomSuffix = (): string => Array.from({ length: 5 }, () => letters[randomInt(letters.length)]).join('');

/** Gives pods their service account, its pull secrets and a token. */
export const serviceAccount: AdmissionPlugin = {
  name: 'ServiceAccount',
  mutate: (request) => {
    if (!isPodCreate(request)) return;
    const { spec } = request.object;
    if (isMirrorPod(request.object)) return;
    if (!spec.serviceAccountName) spec.serviceAccountName = spec.serviceAccount || 'default';
    spec.serviceAccount = spec.serviceAccountName;
    const account = findAccount(request);
    if (wantsToken(account, spec)) mountToken(spec);
    if (!spec.imagePullSecrets?.length && account.imagePullSecrets?.length) {
      spec.imagePullSecrets = account.imagePullSecrets.map(({ name }: any) => ({ name }));
    }
  },
  validate: (request) => {
    if (!isPodCreate(request)) return;
    if (!isMirrorPod(request.object)) {
      findAccount(request);
      return;
    }
    const { spec } = request.object;
    if (spec.serviceAccountName) throw refuse(request, 'a mirror pod may not reference service accounts');
    const secret = (spec.volumes ?? []).some((volume: any) => volume.secret);
    if (secret) throw refuse(request, 'a mirror pod may not reference secrets');
    const token = (spec.volumes ?? []).some((volume: any) =>
      volume.projected?.sources?.some((source: any) => source.serviceAccountToken),
    );
    if (token) throw refuse(request, 'a mirror pod may not use ServiceAccountToken volume projections');
  },
};

function findAccount(request: AdmissionRequest): any {
  const { registry, namespace, object } = request;
  const name: string = object.spec.serviceAccountName;
  const account = registry.get('serviceaccounts', namespace, name);
  if (!account) {
    throw refuse(request, `error looking up service account ${namespace}/${name}: serviceaccount "${name}" not found`);
  }
  return account;
}

function wantsToken(account: any, spec: any): boolean {
  return spec.automountServiceAccountToken ?? account.automountServiceAccountToken ?? true;
}

/** Adds the volume with token, authority and namespace, and mounts it where nothing else is mounted. */
function mountToken(spec: any): void {
  const existing = (spec.volumes ?? []).find(
    (volume: any) => volume.name.startsWith(volumePrefix) && volume.projected !== undefined,
  );
  const name: string = existing?.name ?? volumePrefix + randomSuffix();
  let used = false;
  for (const container of [...(spec.initContainers ?? []), ...(spec.containers ?? [])]) {
    const mounts: any[] = (container.volumeMounts ??= []);
    if (mounts.some((mount) => mount.mountPath === mountPath)) continue;
    mounts.push({ name, readOnly: true, mountPath });
    used = true;
  }
  if (used && !existing) spec.volumes = [...(spec.volumes ?? []), tokenVolume(name)];
}

function tokenVolume(name: string): object {
  return {
    name,
    projected: {
      sources: [
        { serviceAccountToken: { expirationSeconds: 3607, path: 'token' } },
        { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
        {
          downwardAPI: {
            items: [{ path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }],
          },
        },
      ],
      defaultMode: 0o644,
    },
  };
}
