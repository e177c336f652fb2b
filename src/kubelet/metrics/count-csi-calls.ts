import type { KubeletMetrics } from './kubelet-metrics.ts';

/** Counts calls of CSI drivers as upstream does. */
export function countCsiCalls(metrics: KubeletMetrics) {
  return (call: { driver: string; method: string; code: string; seconds: number }): void =>
    metrics.observe('csi_operations_seconds', call.seconds, {
      driver_name: call.driver,
      method_name: `/csi.v1.Node/${call.method}`,
      grpc_status_code: call.code,
      migrated: 'false',
    });
}
