import { Counter, Gauge, Histogram, Registry } from 'prom-client';

const syncBuckets = Array.from({ length: 15 }, (_, index) => 0.001 * 2 ** index);
const programmingBuckets = [
  ...[0.25, 0.5],
  ...Array.from({ length: 59 }, (_, index) => index + 1),
  ...Array.from({ length: 12 }, (_, index) => 60 + 5 * index),
  ...Array.from({ length: 7 }, (_, index) => 120 + 30 * index),
];
/** Ours: from half a millisecond to four seconds. */
const changeBuckets = Array.from({ length: 14 }, (_, index) => 0.0005 * 2 ** index);
const requestBuckets = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60];
const checkLabels = ['name', 'type'] as const;
const family = ['ip_family'] as const;
const familyAndTable = ['ip_family', 'table'] as const;

/** The proxy's metrics, under upstream's names, so that dashboards work. */
export type ProxyMetrics = ReturnType<typeof createMetrics>;

/** Makes a registry with the metrics. */
export function createMetrics() {
  const registry = new Registry();
  const slis = new Registry();
  const registers = [registry];
  const histogram = (name: string, help: string, buckets: number[]) =>
    new Histogram({ name: `kubeproxy_${name}`, help, buckets, labelNames: family, registers });
  const gauge = (name: string, help: string, labelNames: readonly string[] = family) =>
    new Gauge({ name: `kubeproxy_${name}`, help, labelNames: [...labelNames], registers });
  const counter = (name: string, help: string, labelNames: readonly string[] = family) =>
    new Counter({ name: `kubeproxy_${name}`, help, labelNames: [...labelNames], registers });
  return {
    registry,
    /** Of /metrics/slis: the checks of health. */
    slis,
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
    endpointChangesPending: gauge('sync_proxy_rules_endpoint_changes_pending', 'Endpoint changes that wait', []),
    endpointChanges: counter('sync_proxy_rules_endpoint_changes_total', 'Endpoint changes', []),
    serviceChangesPending: gauge('sync_proxy_rules_service_changes_pending', 'Service changes that wait', []),
    serviceChanges: counter('sync_proxy_rules_service_changes_total', 'Service changes', []),
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
    ...commonMetrics(registers, slis),
    ...ownMetrics(registers),
  };
}

/** What every client of an API server and every server with checks tells. */
function commonMetrics(registers: Registry[], slis: Registry) {
  return {
    healthcheck: new Gauge({
      name: 'kubernetes_healthcheck',
      help: '1 where a check of health passes',
      labelNames: checkLabels,
      registers: [slis],
    }),
    healthchecks: new Counter({
      name: 'kubernetes_healthchecks_total',
      help: 'Checks of health by result',
      labelNames: [...checkLabels, 'status'],
      registers: [slis],
    }),
    requests: new Counter({
      name: 'rest_client_requests_total',
      help: 'Requests to the API server, by status',
      labelNames: ['code', 'method', 'host'],
      registers,
    }),
    requestDuration: new Histogram({
      name: 'rest_client_request_duration_seconds',
      help: 'Time until the API server answered',
      labelNames: ['verb', 'host'],
      buckets: requestBuckets,
      registers,
    }),
  };
}

/** What upstream has no names for. */
function ownMetrics(registers: Registry[]) {
  const counter = (name: string, help: string, labelNames: readonly string[]) =>
    new Counter({ name: `kubeproxy_deckhand_${name}`, help, labelNames: [...labelNames], registers });
  const gauge = (name: string, help: string, labelNames: readonly string[]) =>
    new Gauge({ name: `kubeproxy_deckhand_${name}`, help, labelNames: [...labelNames], registers });
  return {
    changeDuration: new Histogram({
      name: 'kubeproxy_deckhand_change_duration_seconds',
      help: 'Time from the event of a change to rules that follow it',
      buckets: changeBuckets,
      registers,
    }),
    configurationLoads: counter('configuration_loads_total', 'Configurations taken over or refused', ['result']),
    configurationGood: gauge('configuration_good', '1 when the last configuration could be taken over', []),
    problems: counter('service_problems_total', 'What was wrong with Services, by the reason of the event', ['reason']),
    repairs: counter('repairs_total', 'Rules and elements that others changed, put right', familyAndTable),
    refused: gauge('services_refused', 'Service ports that the kernel refuses', family),
  };
}
