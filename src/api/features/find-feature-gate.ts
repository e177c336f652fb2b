import { featureGateTable } from './feature-gate-table.ts';

/** A feature gate of the release. */
export interface FeatureGate {
  on: boolean;
  /** alpha, beta, ga, deprecated. */
  stage: string;
  /** The default cannot be changed. */
  locked: boolean;
  /** Which of our components' counterparts act by it. */
  actors: readonly string[];
}

/** A gate by its name; undefined: the release has none of that name. */
export function findFeatureGate(name: string): FeatureGate | undefined {
  if (!Object.hasOwn(featureGateTable, name)) return undefined;
  const [state, stage, ...rest] = featureGateTable[name]!.split(' ');
  return { on: state === 'on', stage: stage!, locked: rest.includes('locked'), actors: rest };
}
