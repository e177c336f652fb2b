/** What a field of the configuration file holds. `ignored` fields are upstream's that mean nothing here. */
export type FieldKind =
  | 'string'
  | 'boolean'
  | 'integer'
  | 'number'
  | 'duration'
  | 'strings'
  | 'flags'
  | 'any'
  | { fields: Record<string, FieldKind> };

const sync = { syncPeriod: 'duration', minSyncPeriod: 'duration' } as const;
const masquerade = { masqueradeBit: 'integer', masqueradeAll: 'boolean' } as const;

/** Every field of `kubeproxy.config.k8s.io/v1alpha1` KubeProxyConfiguration. */
export const configurationFields: Record<string, FieldKind> = {
  apiVersion: 'string',
  kind: 'string',
  featureGates: 'flags',
  clientConnection: {
    fields: {
      kubeconfig: 'string',
      acceptContentTypes: 'string',
      contentType: 'string',
      qps: 'number',
      burst: 'integer',
    },
  },
  logging: 'any',
  hostnameOverride: 'string',
  bindAddress: 'string',
  healthzBindAddress: 'string',
  metricsBindAddress: 'string',
  bindAddressHardFail: 'boolean',
  enableProfiling: 'boolean',
  showHiddenMetricsForVersion: 'string',
  mode: 'string',
  iptables: { fields: { ...masquerade, ...sync, localhostNodePorts: 'boolean' } },
  nftables: { fields: { ...masquerade, ...sync } },
  ipvs: {
    fields: {
      ...sync,
      scheduler: 'string',
      excludeCIDRs: 'strings',
      strictARP: 'boolean',
      tcpTimeout: 'duration',
      tcpFinTimeout: 'duration',
      udpTimeout: 'duration',
    },
  },
  winkernel: 'any',
  detectLocalMode: 'string',
  detectLocal: { fields: { bridgeInterface: 'string', interfaceNamePrefix: 'string' } },
  clusterCIDR: 'string',
  nodePortAddresses: 'strings',
  oomScoreAdj: 'integer',
  conntrack: {
    fields: {
      maxPerCore: 'integer',
      min: 'integer',
      tcpEstablishedTimeout: 'duration',
      tcpCloseWaitTimeout: 'duration',
      tcpBeLiberal: 'boolean',
      udpTimeout: 'duration',
      udpStreamTimeout: 'duration',
    },
  },
  configSyncPeriod: 'duration',
  portRange: 'string',
  windowsRunAsService: 'boolean',
};

/** Problems of a value against its kind, each with the path of the field. */
export function findProblems(value: unknown, kind: FieldKind, path: string): string[] {
  if (value === null || value === undefined) return [];
  if (typeof kind === 'object') {
    if (typeof value !== 'object' || Array.isArray(value)) return [`${path}: must be an object`];
    return Object.entries(value).flatMap(([name, field]) => {
      const at = path === '' ? name : `${path}.${name}`;
      const known = kind.fields[name];
      return known === undefined ? [`unknown field "${at}"`] : findProblems(field, known, at);
    });
  }
  return isOfKind(value, kind) ? [] : [`${path}: must be ${described[kind]}`];
}

const described: Record<Exclude<FieldKind, object>, string> = {
  string: 'a string',
  boolean: 'true or false',
  integer: 'an integer',
  number: 'a number',
  duration: 'a duration such as 30s or 1m30s',
  strings: 'a list of strings',
  flags: 'names with true or false',
  any: 'anything',
};

function isOfKind(value: unknown, kind: Exclude<FieldKind, object>): boolean {
  switch (kind) {
    case 'string':
    case 'boolean':
    case 'number':
      return typeof value === kind;
    case 'integer':
      return Number.isInteger(value);
    case 'duration':
      return (typeof value === 'string' && parseDuration(value) !== undefined) || value === 0;
    case 'strings':
      return Array.isArray(value) && value.every((one) => typeof one === 'string');
    case 'flags':
      return typeof value === 'object' && Object.values(value!).every((one) => typeof one === 'boolean');
    case 'any':
      return true;
  }
}

const units: Record<string, number> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Milliseconds of a duration in Go's form (`1h2m3.5s`); undefined when it is none. */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0;
  const sign = text.startsWith('-') ? -1 : 1;
  const body = text.replace(/^[-+]/, '');
  if (!/^(\d+(\.\d*)?(ns|us|µs|ms|s|m|h))+$/.test(body)) return undefined;
  let ms = 0;
  for (const [, number, unit] of body.matchAll(/(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)/g))
    ms += Number(number) * units[unit!]!;
  return sign * ms;
}
