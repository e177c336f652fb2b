import type { Clock } from '../../../async/index.ts';
import { serviceAccountUser } from '../authz/index.ts';
import type { Registry, UserInfo } from '../extension-points.ts';
import type { TokenClaims, TokenSigner } from './token-signer.ts';

/** How long the token of a deleted pod is still good, for what the pod does while it ends. */
const deletedPodGraceMs = 60_000;

const extraPrefix = 'authentication.kubernetes.io/';

/** Who a token of a service account stands for; an Error says why it is not good (any more). */
export function checkToken(
  token: string,
  audiences: readonly string[],
  context: { signer: TokenSigner; registry: Registry; clock: Clock },
): { user: UserInfo; audiences: string[] } | Error {
  const claims = context.signer.verify(token);
  if (!claims) return new Error('invalid bearer token');
  const now = context.clock.now();
  if (now >= claims.exp * 1000) return new Error('service account token has expired');
  if (now < claims.nbf * 1000 - 10_000) return new Error('service account token is not valid yet');
  const common = claims.aud.filter((one) => audiences.includes(one));
  if (common.length === 0)
    return new Error(`token audiences [${claims.aud.join(' ')}] is invalid for the target audiences`);
  const wrong = findStale(claims, context.registry, now);
  if (wrong) return new Error(wrong);
  return { user: userOf(claims), audiences: common };
}

/** What the token names must still be what it was. */
function findStale(claims: TokenClaims, registry: Registry, now: number): string | undefined {
  const { namespace, serviceaccount, pod, secret, node } = claims['kubernetes.io'];
  const account = registry.get('serviceaccounts', namespace, serviceaccount.name);
  if (!account) return `serviceaccounts "${serviceaccount.name}" not found`;
  if (account.metadata.uid !== serviceaccount.uid) return 'service account UID does not match claim';
  if (pod) {
    const found = registry.get('pods', namespace, pod.name);
    if (!found) return `pods "${pod.name}" not found`;
    if (found.metadata.uid !== pod.uid) return 'pod UID does not match claim';
    const { deletionTimestamp } = found.metadata;
    if (deletionTimestamp && now - Date.parse(deletionTimestamp) > deletedPodGraceMs) return 'pod has been deleted';
  }
  if (secret) {
    const found = registry.get('secrets', namespace, secret.name);
    if (found?.metadata.uid !== secret.uid) return 'service account token has been invalidated';
  }
  if (node && !pod && registry.get('nodes', '', node.name)?.metadata.uid !== node.uid)
    return 'node UID does not match claim';
  return undefined;
}

function userOf(claims: TokenClaims): UserInfo {
  const { namespace, serviceaccount, pod, node } = claims['kubernetes.io'];
  const extra: Record<string, string[]> = { [`${extraPrefix}credential-id`]: [`JTI=${claims.jti}`] };
  if (pod) {
    extra[`${extraPrefix}pod-name`] = [pod.name];
    extra[`${extraPrefix}pod-uid`] = [pod.uid];
  }
  if (node) {
    extra[`${extraPrefix}node-name`] = [node.name];
    extra[`${extraPrefix}node-uid`] = [node.uid];
  }
  return {
    username: serviceAccountUser(namespace, serviceaccount.name),
    uid: serviceaccount.uid,
    groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
    extra,
  };
}
