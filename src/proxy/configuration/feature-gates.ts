import { findFeatureGate } from '../../api/features/index.ts';

/** Gates that change what this proxy does. */
export const honouredGates = ['AllowServiceExternalIPs', 'ComponentFlagz', 'ComponentStatusz'] as const;

const groups: Readonly<Record<string, string>> = { AllAlpha: 'alpha', AllBeta: 'beta' };

/** Whether a feature is on: as the configuration says, by its group, or by default. */
export function isFeatureOn(gates: Readonly<Record<string, boolean>>, name: (typeof honouredGates)[number]): boolean {
  const gate = findFeatureGate(name)!;
  const group = gate.stage === 'beta' ? gates['AllBeta'] : undefined;
  return gates[name] ?? group ?? gate.on;
}

/** Gates of the release are known; what is wrong about the others, and what about the known ones is to be told. */
export function checkFeatureGates(gates: Record<string, unknown>): { problems: string[]; warnings: string[] } {
  const problems: string[] = [];
  const warnings: string[] = [];
  for (const [name, value] of Object.entries(gates)) {
    const field = `featureGates.${name}`;
    if (Object.hasOwn(groups, name)) {
      if (name === 'AllAlpha' && value === true) warnings.push(`${field}: there are no alpha features of a proxy here`);
      continue;
    }
    const gate = findFeatureGate(name);
    if (!gate) problems.push(`${field}: unknown feature gate`);
    else if (gate.locked && value !== gate.on)
      problems.push(`${field}: cannot be set to ${value}: the feature is locked to ${gate.on}`);
    else if (value !== gate.on && !(honouredGates as readonly string[]).includes(name))
      warnings.push(`${field}: changes nothing in a proxy`);
  }
  return { problems, warnings };
}
