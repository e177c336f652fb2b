import { findFeatureGate } from '../../api/features/index.ts';
import { ConfigurationError } from '../errors.ts';

/** Gates that a configuration may set either way, because this kubelet then does what they say. */
export const switchableGates: ReadonlySet<string> = new Set([
  'AllowDNSOnlyNodeCSR',
  'CPUManagerPolicyAlphaOptions',
  'GracefulNodeShutdown',
  'GracefulNodeShutdownBasedOnPodPriority',
  'KubeletCrashLoopBackOffMax',
  'KubeletRegistrationGetOnExistsOnly',
  'NodeDeclaredFeatures',
  'ReloadKubeletClientCAFile',
  'ReloadKubeletServerCertificateFile',
  'RotateKubeletServerCertificate',
]);

/** Gates whose feature is always there, although upstream's default has it off; setting them either way takes nothing away. */
const alwaysThere: ReadonlySet<string> = new Set(['ClusterTrustBundleProjection']);

const groups: Readonly<Record<string, { harmless: boolean; why: string }>> = {
  AllAlpha: { harmless: false, why: 'alpha features are not there' },
  AllBeta: { harmless: true, why: 'beta features that are on by default cannot be turned off as a whole' },
};

/** Whether a feature is on: as the configuration says, or by default. Unknown ones are off. */
export function isFeatureOn(gates: Record<string, unknown> | undefined, name: string): boolean {
  const set = gates?.[name];
  return typeof set === 'boolean' ? set : (findFeatureGate(name)?.on ?? false);
}

/**
 * Checks `featureGates`: every gate of the release is known; one that no kubelet acts by may be set either way; one that this
 * kubelet cannot switch is refused.
 * @throws ConfigurationError naming the gate
 */
export function checkFeatureGates(gates: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(gates)) {
    const field = `featureGates.${name}`;
    if (typeof value !== 'boolean')
      throw new ConfigurationError(field, `must be true or false, not ${JSON.stringify(value)}`);
    const group = Object.hasOwn(groups, name) ? groups[name] : undefined;
    if (group) {
      if (value !== group.harmless) throw new ConfigurationError(field, `${value}: ${group.why}`);
      continue;
    }
    const gate = findFeatureGate(name);
    if (!gate) throw new ConfigurationError(field, 'unknown feature gate');
    if (gate.locked && value !== gate.on)
      throw new ConfigurationError(field, `cannot be set to ${value}: the feature is locked to ${gate.on}`);
    const acts = gate.actors.includes('kubelet') && !switchableGates.has(name) && !alwaysThere.has(name);
    if (acts && value !== gate.on)
      throw new ConfigurationError(
        field,
        value ? `the ${gate.stage} feature is not implemented` : 'the feature is always on here',
      );
  }
}
