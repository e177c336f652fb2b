import { Counter, Gauge, Histogram, Registry } from 'prom-client';

const syncBuckets = Array.from({ length: 15 }, (_, index) => 0.001 * 2 ** index);
const programmingBuckets = [0.25, 0.5, ...Array.from({ length: 59 }, (_, index) => index + 1), 65, 70, 75, 80, 85, 90];
const family = ['ip_family'] as const;
const familyAndTable = ['ip_family', 'table'] as const;

/** The proxy's metrics, under upstream's names, so that dashboards work. */
export type ProxyMetrics = ReturnType<typeof createMetrics>;

/** Makes a registry with the metrics. */
export function createMetrics() {
  const registry = new Registry();
  const registers = [registry];
  const histogram = (name: string, help: string, buckets: number[]) =>
    new Histogram({ name: `kubeproxy_${name}`, help, buckets, labelNames: family, registers });
  const gauge = (name: string, help: string, labelNames: readonly string[] = family) =>
    new Gauge({ name: `kubeproxy_${name}`, help, labelNames: [...labelNames], registers });
  const counter = (name: string, help: string, labelNames: readonly string[] = family) =>
    new Counter({ name: `kubeproxy_${name}`, help, labelNames: [...labelNames], registers });
  return {
    registry,
    syncDuration: histogram('sync_proxy_rules_duration_seconds', 'Time of a sync of rules', syncBuckets),
    fullSyncDuration: histogram('sync_full_proxy_rules_duration_seconds', 'Time of a sync of all rules', syncBuckets),
    partialSyncDuration: histogram(
      'sync_partial_proxy_rules_duration_seconds',
      'Time of a sync of changed rules',
      syncBuckets,
    ),
    programmingDuration: histogram(
      'network_programming_duration_seconds',
      'Time from the change of an endpoint to rules that follow it',
      programmingBuckets,
    ),
    lastSync: gauge('sync_proxy_rules_last_timestamp_seconds', 'When rules were last written'),
    lastQueued: gauge('sync_proxy_rules_last_queued_timestamp_seconds', 'When a sync was last asked for'),
    endpointChangesPending: gauge('sync_proxy_rules_endpoint_changes_pending', 'Endpoint changes that wait'),
    endpointChanges: counter('sync_proxy_rules_endpoint_changes_total', 'Endpoint changes'),
    serviceChangesPending: gauge('sync_proxy_rules_service_changes_pending', 'Service changes that wait'),
    serviceChanges: counter('sync_proxy_rules_service_changes_total', 'Service changes'),
    noLocalEndpoints: gauge(
      'sync_proxy_rules_no_local_endpoints_total',
      'Services whose Local policy finds no endpoint',
      ['ip_family', 'traffic_policy'],
    ),
    rules: gauge('sync_proxy_rules_iptables_total', 'Rules held, by table', familyAndTable),
    lastRules: gauge('sync_proxy_rules_iptables_last', 'Rules written by the last sync, by table', familyAndTable),
    restoreFailures: counter('sync_proxy_rules_iptables_restore_failures_total', 'Syncs that iptables refused'),
    partialRestoreFailures: counter(
      'sync_proxy_rules_iptables_partial_restore_failures_total',
      'Syncs of changed rules that iptables refused',
    ),
    nftablesFailures: counter('sync_proxy_rules_nftables_sync_failures_total', 'Transactions that nftables refused'),
    nftablesCleanupFailures: counter('sync_proxy_rules_nftables_cleanup_failures_total', 'Removals that failed'),
    conntrackDuration: histogram(
      'conntrack_reconciler_sync_duration_seconds',
      'Time of a look for stale flows',
      syncBuckets,
    ),
    conntrackDeleted: counter('conntrack_reconciler_deleted_entries_total', 'Stale flows deleted'),
    healthz: counter('proxy_healthz_total', 'Answers of /healthz, by status', ['code']),
    livez: counter('proxy_livez_total', 'Answers of /livez, by status', ['code']),
    repairs: counter('deckhand_repairs_total', 'Rules and elements that others changed, put right', familyAndTable),
    refused: gauge('deckhand_services_refused', 'Service ports that the kernel refuses'),
  };
}
