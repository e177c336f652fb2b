import { timingSafeEqual } from 'node:crypto';
import type { Registry, UserInfo } from '../extension-points.ts';

const pattern = /^([a-z0-9]{6})\.([a-z0-9]{16})$/;

/** Who a bootstrap token (`id.secret`, kept in a Secret of kube-system) stands for. */
export function checkBootstrapToken(token: string, registry: Registry, now: number): UserInfo | undefined {
  const match = pattern.exec(token);
  if (!match) return undefined;
  const [, id = '', secret = ''] = match;
  const object: any = registry.get('secrets', 'kube-system', `bootstrap-token-${id}`);
  if (object?.type !== 'bootstrap.kubernetes.io/token' || object.metadata.deletionTimestamp) return undefined;
  const data = (key: string) => Buffer.from(object.data?.[key] ?? '', 'base64').toString();
  const known = Buffer.from(data('token-secret'));
  if (known.length !== secret.length || !timingSafeEqual(known, Buffer.from(secret))) return undefined;
  if (data('token-id') !== id || data('usage-bootstrap-authentication') !== 'true') return undefined;
  const expiration = data('expiration');
  if (expiration && !(Date.parse(expiration) > now)) return undefined;
  const more = data('auth-extra-groups')
    .split(',')
    .map((group) => group.trim())
    .filter((group) => group.startsWith('system:bootstrappers:'));
  return {
    username: `system:bootstrap:${id}`,
    groups: ['system:bootstrappers', ...more, 'system:authenticated'],
  };
}
