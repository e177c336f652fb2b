export { type NodeReporterOptions, startNodeReporter } from './node-reporter.ts';
export {
  defaultNodeName,
  makeAllocatable,
  makeNodeStatus,
  type NodeFacts,
  type RuntimeFacts,
  wellKnownLabels,
} from './node-status.ts';
export { podRange } from './pod-range.ts';
