import type { Decision, Frontend, ServicePortPlan, Source } from './types.ts';

/** What masquerading depends on besides the Service. */
export interface MasqueradeRules {
  /** Masquerade everything to cluster IPs. */
  all: boolean;
  /** Whether pods can be told from others: without a detector nobody counts as off-cluster. */
  detectsPods: boolean;
}

/**
 * What happens to a new connection from `source` to the frontend: the meaning that every backend renders.
 * Source ranges are for the caller to check first.
 */
export function decide(plan: ServicePortPlan, frontend: Frontend, source: Source, rules: MasqueradeRules): Decision {
  const { cluster, local } = plan;
  if (cluster.length === 0 && local.length === 0) return { action: 'reject' };
  if (frontend.kind === 'cluster-ip') {
    const to = frontend.policy === 'local' ? local : cluster;
    if (to.length === 0) return { action: 'drop' };
    return { action: 'send', to, masquerade: rules.all || (rules.detectsPods && source !== 'pod') };
  }
  if (frontend.policy === 'cluster') return sendOr('reject', cluster, true);
  // Under the Local policy the cluster's own traffic takes a short cut to all endpoints.
  if (source === 'pod' && rules.detectsPods) return sendOr('reject', cluster, false);
  if (source === 'node') return sendOr('reject', cluster, true);
  return sendOr('drop', local, false);
}

function sendOr(otherwise: 'reject' | 'drop', to: ServicePortPlan['cluster'], masquerade: boolean): Decision {
  return to.length > 0 ? { action: 'send', to, masquerade } : { action: otherwise };
}

/** The key under which no two Services can own a frontend: address, protocol, port. */
export function frontendKey(frontend: { address: string; protocol: string; port: number }): string {
  return `${frontend.address} ${frontend.protocol} ${frontend.port}`;
}
