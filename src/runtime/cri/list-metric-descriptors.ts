import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ListMetricDescriptorsResponseSchema } from '../../api/cri/index.ts';
import { metricDescriptors } from '../stats/metrics.ts';

/** ListMetricDescriptors: the names, meanings and labels of all metrics. */
export function listMetricDescriptors(): MessageInitShape<typeof ListMetricDescriptorsResponseSchema> {
  return { descriptors: metricDescriptors() };
}
