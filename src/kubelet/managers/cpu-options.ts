/** Options of the CPU manager's static policy. */
export interface CpuOptions {
  /** Only whole cores; other counts are refused. */
  fullCores: boolean;
  /** Equal numbers from each NUMA node, where more than one is needed. */
  distributeOverNodes: boolean;
  /** Processors are near each other when they are on one socket. */
  alignBySocket: boolean;
  /** Threads of different cores. */
  spreadOverCores: boolean;
  /** Nobody, also nobody without processors of its own, runs on reserved ones. */
  strictReservation: boolean;
  /** Keep together what shares a last-level cache. */
  preferCache: boolean;
}

const names: Record<string, { option: keyof CpuOptions; alpha?: true }> = {
  'full-pcpus-only': { option: 'fullCores' },
  'distribute-cpus-across-numa': { option: 'distributeOverNodes' },
  'align-by-socket': { option: 'alignBySocket', alpha: true },
  'distribute-cpus-across-cores': { option: 'spreadOverCores', alpha: true },
  'strict-cpu-reservation': { option: 'strictReservation' },
  'prefer-align-cpus-by-uncorecache': { option: 'preferCache' },
};

const rivals: [keyof CpuOptions, keyof CpuOptions][] = [
  ['fullCores', 'spreadOverCores'],
  ['distributeOverNodes', 'spreadOverCores'],
  ['preferCache', 'spreadOverCores'],
  ['preferCache', 'distributeOverNodes'],
];

/** Reads cpuManagerPolicyOptions. @param alpha whether the gate CPUManagerPolicyAlphaOptions is open @throws Error */
export function parseCpuOptions(given: Readonly<Record<string, unknown>>, alpha: boolean): CpuOptions {
  const options: CpuOptions = {
    ...{ fullCores: false, distributeOverNodes: false, alignBySocket: false },
    ...{ spreadOverCores: false, strictReservation: false, preferCache: false },
  };
  for (const [name, value] of Object.entries(given)) {
    const known = names[name];
    if (!known) throw new Error(`unknown option ${JSON.stringify(name)}: there are ${Object.keys(names).join(', ')}`);
    if (known.alpha && !alpha) throw new Error(`option ${name} needs the feature gate CPUManagerPolicyAlphaOptions`);
    options[known.option] = parseBoolean(name, value);
  }
  const nameOf = (option: keyof CpuOptions) => Object.keys(names).find((name) => names[name]!.option === option);
  for (const [one, other] of rivals)
    if (options[one] && options[other])
      throw new Error(`options ${nameOf(one)} and ${nameOf(other)} exclude each other`);
  return options;
}

/** `true` or `false` as options spell them. @throws Error */
export function parseBoolean(name: string, value: unknown): boolean {
  const text = String(value);
  if (['true', 'True', 'TRUE', 't', 'T', '1'].includes(text)) return true;
  if (['false', 'False', 'FALSE', 'f', 'F', '0'].includes(text)) return false;
  throw new Error(`option ${name}: must be true or false, not ${JSON.stringify(value)}`);
}
