import { metricDescriptors } from '../stats/metrics.ts';

/** ListMetricDescriptors: the names, meanings and labels of all metrics. */
export function listMetricDescriptors() {
  return { descriptors: metricDescriptors() };
}
