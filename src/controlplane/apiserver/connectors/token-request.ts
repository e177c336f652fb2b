import type { Clock } from '../../../async/index.ts';
import type { TokenClaims, TokenSigner } from '../authn/index.ts';
import { serviceAccountUser } from '../authz/index.ts';
import type { AdmissionPlugin, Connector, ConnectRequest } from '../extension-points.ts';
import { invalidValue } from '../rules/field-errors.ts';
import { invalid, notFound, StatusError } from '../status-error.ts';
import { answer, badRequest, methodNotAllowed, toTime } from './answers.ts';

/** What tokens are made with. */
export interface TokenOptions {
  signer: TokenSigner;
  audiences: readonly string[];
  clock: Clock;
  /** Asked before a token is made, as for any other create. */
  admission: readonly AdmissionPlugin[];
}

const longest = 2 ** 32;

/** serviceaccounts/token: makes a token for a service account, bound to a pod, a secret or a node if asked. */
export function createTokenRequest(options: TokenOptions): Connector {
  return async (request) => {
    if (request.method !== 'POST') throw methodNotAllowed();
    const { registry, namespace, name, body } = request;
    const account: any = registry.get('serviceaccounts', namespace, name);
    if (!account) throw notFound('', 'serviceaccounts', name);
    if (body?.metadata?.name && body.metadata.name !== name) {
      throw badRequest(`metadata.name: ${body.metadata.name} does not match the name of the service account`);
    }
    await admit(options.admission, request);
    const spec = body?.spec ?? {};
    const seconds: number = spec.expirationSeconds ?? 3600;
    checkDuration(name, seconds);
    const audiences: string[] = spec.audiences?.length ? spec.audiences : [...options.audiences];
    const bound = findBound(request, spec.boundObjectRef);
    const now = options.clock.now();
    const exp = Math.floor(now / 1000) + seconds;
    const token = options.signer.issue(
      {
        sub: serviceAccountUser(namespace, name),
        aud: audiences,
        exp,
        'kubernetes.io': { namespace, serviceaccount: { name, uid: account.metadata.uid }, ...bound },
      },
      now,
    );
    return answer({
      kind: 'TokenRequest',
      apiVersion: 'authentication.k8s.io/v1',
      metadata: { name, namespace, creationTimestamp: toTime(now) },
      spec: { ...spec, audiences, expirationSeconds: seconds, boundObjectRef: spec.boundObjectRef ?? null },
      status: { token, expirationTimestamp: toTime(exp * 1000) },
    });
  };
}

async function admit(plugins: readonly AdmissionPlugin[], request: ConnectRequest): Promise<void> {
  for (const plugin of plugins) {
    await plugin.validate?.({
      operation: 'CREATE',
      resource: { group: '', version: 'v1', plural: 'serviceaccounts', kind: 'TokenRequest' },
      subresource: 'token',
      namespace: request.namespace,
      name: request.name,
      object: request.body,
      user: request.user,
      dryRun: request.dryRun,
      options: {},
      registry: request.registry,
    });
  }
}

function checkDuration(name: string, seconds: number): void {
  const field = 'spec.expirationSeconds';
  const text =
    seconds < 600
      ? 'may not specify a duration less than 10 minutes'
      : seconds > longest
        ? 'may not specify a duration larger than 2^32 seconds'
        : '';
  if (text) throw invalid('authentication.k8s.io', 'TokenRequest', name, [invalidValue(field, seconds, text)]);
}

const boundKinds: Record<string, { key: 'pod' | 'secret' | 'node'; plural: string }> = {
  Pod: { key: 'pod', plural: 'pods' },
  Secret: { key: 'secret', plural: 'secrets' },
  Node: { key: 'node', plural: 'nodes' },
};

/** The object that the token is to live and die with. */
function findBound(request: ConnectRequest, reference: any): Partial<TokenClaims['kubernetes.io']> {
  if (!reference) return {};
  const { registry, namespace, name } = request;
  const kind = boundKinds[reference.kind];
  if (!kind) throw badRequest(`cannot bind token for serviceaccount "${name}" to type ${reference.kind}`);
  const object: any = registry.get(kind.plural, kind.key === 'node' ? '' : namespace, reference.name);
  if (!object) throw notFound('', kind.plural, reference.name);
  if (reference.uid && reference.uid !== object.metadata.uid) {
    const why = `the UID in the bound object reference (${reference.uid}) does not match the UID in record. The object might have been deleted and then recreated`;
    throw new StatusError(
      409,
      'Conflict',
      `Operation cannot be fulfilled on ${kind.plural} "${reference.name}": ${why}`,
      {
        name: reference.name,
        kind: kind.plural,
      },
    );
  }
  const bound = { [kind.key]: { name: reference.name, uid: object.metadata.uid } };
  if (kind.key !== 'pod') return bound;
  if (object.spec?.serviceAccountName !== name) {
    throw badRequest(
      `cannot bind token for serviceaccount "${name}" to pod running with different serviceaccount name.`,
    );
  }
  const node: any = object.spec.nodeName ? registry.get('nodes', '', object.spec.nodeName) : undefined;
  return { ...bound, ...(node ? { node: { name: node.metadata.name, uid: node.metadata.uid } } : {}) };
}
