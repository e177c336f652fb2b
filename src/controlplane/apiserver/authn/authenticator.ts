import type { Clock } from '../../../async/index.ts';
import type { ClusterAuthorizer } from '../authz/index.ts';
import type { Authenticator, Registry, UserInfo } from '../extension-points.ts';
import { StatusError } from '../status-error.ts';
import { checkBootstrapToken } from './bootstrap-tokens.ts';
import { impersonate } from './impersonation.ts';
import { checkToken } from './service-account-tokens.ts';
import type { TokenSigner } from './token-signer.ts';

/** Who a caller without credentials is. */
export const anonymous: UserInfo = { username: 'system:anonymous', groups: ['system:unauthenticated'] };

/** What authentication needs. */
export interface AuthenticationOptions {
  signer: TokenSigner;
  /** Audiences of the API server itself. */
  audiences: readonly string[];
  /** Known once the store is open. */
  registry: () => Registry | undefined;
  authorizer: ClusterAuthorizer;
  /** Tokens that are always good, and for whom. */
  staticTokens?: Readonly<Record<string, UserInfo>>;
  clock: Clock;
}

const authenticated = (groups: readonly string[]): string[] => [...new Set([...groups, 'system:authenticated'])];

/** Finds the caller by client certificate or bearer token, then lets them be taken for another when they may. */
export function createAuthenticator(options: AuthenticationOptions): Authenticator {
  return {
    async authenticate({ headers, clientCertificate }) {
      const caller = byToken(options, headers['authorization']) ?? byCertificate(clientCertificate);
      const wants = Object.keys(headers).some((name) => name.startsWith('impersonate-'));
      return wants ? impersonate(caller ?? anonymous, headers, options.authorizer) : caller;
    },
  };
}

function byCertificate(certificate: { commonName: string; organizations: string[] } | undefined): UserInfo | undefined {
  if (!certificate) return undefined;
  return { username: certificate.commonName, groups: authenticated(certificate.organizations) };
}

function byToken(options: AuthenticationOptions, header: string | string[] | undefined): UserInfo | undefined {
  const match = /^bearer +(\S+)\s*$/i.exec([header ?? ''].flat()[0] ?? '');
  if (!match) return undefined;
  const user = findTokenUser(options, match[1]!, options.audiences);
  if (user instanceof Error) throw new StatusError(401, 'Unauthorized', 'Unauthorized');
  return user.user;
}

/** Who a bearer token stands for, for one of the audiences; an Error says why nobody. */
export function findTokenUser(
  options: AuthenticationOptions,
  token: string,
  audiences: readonly string[],
): { user: UserInfo; audiences: string[] } | Error {
  const fixed = Object.hasOwn(options.staticTokens ?? {}, token) ? options.staticTokens![token] : undefined;
  const registry = options.registry();
  const bootstrap = fixed || !registry ? undefined : checkBootstrapToken(token, registry, options.clock.now());
  const user = fixed ? { ...fixed, groups: authenticated(fixed.groups) } : bootstrap;
  if (user) {
    // Such tokens are for the API server alone.
    const common = options.audiences.filter((one) => audiences.includes(one));
    return common.length > 0 ? { user, audiences: common } : new Error('token is not for the requested audiences');
  }
  if (!registry) return new Error('the server is starting');
  return checkToken(token, audiences, { signer: options.signer, registry, clock: options.clock });
}
