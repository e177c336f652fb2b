import type { Clock } from '../async/index.ts';
import type { Logger } from '../log/index.ts';
import { certificateApproval, createAdmission } from './admission/index.ts';
import { createAuthenticator, TokenSigner } from './apiserver/authn/index.ts';
import { ClusterAuthorizer, escalationCheck } from './apiserver/authz/index.ts';
import { bootstrapCluster } from './apiserver/bootstrap/index.ts';
import { createConnectors, type KubeletClientOptions } from './apiserver/connectors/index.ts';
import type { Extensions, Registry, UserInfo } from './apiserver/extension-points.ts';
import { createRules, parseRange, ServiceAllocator } from './apiserver/rules/index.ts';

/** What makes the generic API server a Kubernetes one, set up for a cluster. */
export interface ExtensionsConfig {
  /** Ranges of cluster addresses, at most one of a family; the first is the primary one. */
  serviceCidrs: readonly string[];
  /** First and last node port. Default 30000 and 32767. */
  nodePorts?: readonly [number, number];
  /** Where pods and nodes reach the API server: the endpoints of the Service `kubernetes`. */
  advertise: { address: string; port: number };
  /** Private key (PEM) that signs service-account tokens. */
  serviceAccountKey: string;
  /** Default `https://kubernetes.default.svc.cluster.local`. */
  serviceAccountIssuer?: string;
  /** Audiences of the API server itself. Default: the issuer. */
  audiences?: readonly string[];
  /** How the API server presents itself to kubelets. Without it logs and exec do not work. */
  kubeletClient?: KubeletClientOptions;
  /** The cluster's authority (PEM), published in kube-system. */
  clientCa?: string;
  /** Bearer tokens that are always good, and for whom. */
  staticTokens?: Readonly<Record<string, UserInfo>>;
}

/** Default issuer of service-account tokens. */
const defaultIssuer = 'https://kubernetes.default.svc.cluster.local';

/** Puts together rules, authentication, authorization, admission, connectors and bootstrap. */
export function createExtensions(config: ExtensionsConfig, { log, clock }: { log: Logger; clock: Clock }): Extensions {
  const issuer = config.serviceAccountIssuer ?? defaultIssuer;
  const signer = new TokenSigner(config.serviceAccountKey, issuer);
  const authorizer = new ClusterAuthorizer();
  const allocator = new ServiceAllocator({
    serviceCidrs: config.serviceCidrs,
    ...(config.nodePorts ? { nodePorts: config.nodePorts } : {}),
  });
  const ranges = config.serviceCidrs.map(parseRange);
  let opened: Registry | undefined;
  const authentication = {
    signer,
    audiences: config.audiences ?? [issuer],
    registry: () => opened,
    authorizer,
    clock,
    ...(config.staticTokens ? { staticTokens: config.staticTokens } : {}),
  };
  const admission = [...createAdmission(authorizer), escalationCheck(authorizer), certificateApproval(authorizer)];
  return {
    authenticators: [createAuthenticator(authentication)],
    authorizer,
    admission,
    rules: createRules(allocator),
    connectors: createConnectors({
      authentication,
      authorizer,
      kubeletClient: config.kubeletClient,
      admission: admission.filter(({ name }) => name === 'NodeRestriction'),
      clock,
    }),
    documents: issuerDocuments(signer, config.advertise),
    async bootstrap(registry) {
      const begun = clock.monotonic();
      opened = registry;
      allocator.follow(registry);
      authorizer.follow(registry);
      await bootstrapCluster(registry, {
        ranges,
        advertise: config.advertise,
        ...(config.clientCa ? { clientCa: config.clientCa } : {}),
      });
      log.debug('the first objects are there', { ms: Math.round(clock.monotonic() - begun) });
    },
  };
}

/** How others check service-account tokens: OpenID discovery and the public keys. */
function issuerDocuments(
  signer: TokenSigner,
  { address, port }: ExtensionsConfig['advertise'],
): Extensions['documents'] {
  const host = address.includes(':') ? `[${address}]` : address;
  const json = (contentType: string, body: object) => async () => ({ contentType, body: JSON.stringify(body) });
  const keys = signer.keySet();
  return {
    '/.well-known/openid-configuration': json('application/json', {
      issuer: signer.issuer,
      jwks_uri: `https://${host}:${port}/openid/v1/jwks`,
      response_types_supported: ['id_token'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: [signer.algorithm],
    }),
    '/openid/v1/jwks': json('application/jwk-set+json', keys),
  };
}
