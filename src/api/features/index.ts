export { featureGateTable } from './feature-gate-table.ts';
export { type FeatureGate, findFeatureGate } from './find-feature-gate.ts';
