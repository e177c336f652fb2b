import { resources, type Secret } from '../../../api/index.ts';
import { createInformer, type Informer } from '../../../client/index.ts';
import type { ControllerContext } from '../framework/controller.ts';

/** Type and name of Secrets that are bootstrap tokens. */
export const tokenType = 'bootstrap.kubernetes.io/token';
export const tokenNamespace = 'kube-system';

/** A bootstrap token, from its Secret. */
export interface BootstrapToken {
  id: string;
  secret: string;
  /** Milliseconds since 1970; undefined for none. */
  expiration: number | undefined;
  /** Signs the information about the cluster. */
  signs: boolean;
}

/** Reads a Secret; undefined when it is no bootstrap token, or a wrong one. */
export function readToken(secret: Secret | undefined): BootstrapToken | undefined {
  if (secret?.type !== tokenType || secret.metadata.namespace !== tokenNamespace) return undefined;
  const text = (key: string): string => Buffer.from(secret.data?.[key] ?? '', 'base64').toString();
  const id = text('token-id');
  const expiration = text('expiration');
  if (!/^[a-z0-9]{6}$/.test(id) || secret.metadata.name !== `bootstrap-token-${id}`) return undefined;
  const until = expiration ? Date.parse(expiration) : undefined;
  return {
    id,
    secret: text('token-secret'),
    // One that cannot be read is over: nobody can tell for how long it was meant.
    expiration: until !== undefined && Number.isNaN(until) ? 0 : until,
    signs: text('usage-bootstrap-signing') === 'true',
  };
}

/** Follows the Secrets that are bootstrap tokens, and no others. */
export function followTokens(
  { client, log, clock }: ControllerContext,
  onChange: (key: string) => void,
): Informer<Secret> {
  const informer = createInformer<Secret>(client, resources.secrets, {
    namespace: tokenNamespace,
    fieldSelector: `type=${tokenType}`,
    log,
    clock,
    onChange,
  });
  informer.start();
  return informer;
}
