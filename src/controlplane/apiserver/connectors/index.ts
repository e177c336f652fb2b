import type { Clock } from '../../../async/index.ts';
import type { AuthenticationOptions } from '../authn/index.ts';
import type { ClusterAuthorizer } from '../authz/index.ts';
import type { AdmissionPlugin, Connector } from '../extension-points.ts';
import { createBinding } from './binding.ts';
import { createEviction } from './eviction.ts';
import { type KubeletClientOptions, KubeletConnections } from './kubelet-connection.ts';
import { createPodCommand, createPodLog, createPortForward } from './pod-streams.ts';
import { createNodeProxy, proxyToPod, proxyToService } from './proxy.ts';
import { createReviews } from './reviews.ts';
import { createTokenRequest } from './token-request.ts';

export type { KubeletClientOptions };

/** What the connectors are made from. */
export interface ConnectorOptions {
  authentication: AuthenticationOptions;
  authorizer: ClusterAuthorizer;
  kubeletClient: KubeletClientOptions | undefined;
  /** Asked before tokens are made. */
  admission: readonly AdmissionPlugin[];
  clock: Clock;
}

/** Every subresource that is more than an object, by `group/plural/subresource`. */
export function createConnectors(options: ConnectorOptions): Record<string, Connector> {
  const { authentication, clock } = options;
  const kubelets = new KubeletConnections(options.kubeletClient);
  const binding = createBinding(clock);
  return {
    bindings: binding,
    'pods/binding': binding,
    'pods/eviction': createEviction(clock),
    'pods/log': createPodLog(kubelets),
    'pods/exec': createPodCommand('exec', kubelets),
    'pods/attach': createPodCommand('attach', kubelets),
    'pods/portforward': createPortForward(kubelets),
    'pods/proxy': proxyToPod,
    'services/proxy': proxyToService,
    'nodes/proxy': createNodeProxy(kubelets),
    'serviceaccounts/token': createTokenRequest({
      signer: authentication.signer,
      audiences: authentication.audiences,
      clock,
      admission: options.admission,
    }),
    ...createReviews(authentication, options.authorizer),
  };
}
