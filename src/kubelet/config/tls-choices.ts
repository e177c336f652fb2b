import { ConfigurationError } from '../errors.ts';

/** Names of TLS versions in configurations, and what Node calls them. */
const versions = {
  VersionTLS10: 'TLSv1',
  VersionTLS11: 'TLSv1.1',
  VersionTLS12: 'TLSv1.2',
  VersionTLS13: 'TLSv1.3',
} as const;

/** Cipher suites by the IANA name that configurations use, as OpenSSL names them. */
const suites: Readonly<Record<string, string>> = {
  TLS_AES_128_GCM_SHA256: 'TLS_AES_128_GCM_SHA256',
  TLS_AES_256_GCM_SHA384: 'TLS_AES_256_GCM_SHA384',
  TLS_CHACHA20_POLY1305_SHA256: 'TLS_CHACHA20_POLY1305_SHA256',
  TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA: 'ECDHE-ECDSA-AES128-SHA',
  TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: 'ECDHE-ECDSA-AES128-GCM-SHA256',
  TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA: 'ECDHE-ECDSA-AES256-SHA',
  TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384: 'ECDHE-ECDSA-AES256-GCM-SHA384',
  TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305: 'ECDHE-ECDSA-CHACHA20-POLY1305',
  TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: 'ECDHE-ECDSA-CHACHA20-POLY1305',
  TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA: 'ECDHE-RSA-AES128-SHA',
  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: 'ECDHE-RSA-AES128-GCM-SHA256',
  TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA: 'ECDHE-RSA-AES256-SHA',
  TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384: 'ECDHE-RSA-AES256-GCM-SHA384',
  TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305: 'ECDHE-RSA-CHACHA20-POLY1305',
  TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256: 'ECDHE-RSA-CHACHA20-POLY1305',
  TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256: 'ECDHE-ECDSA-AES128-SHA256',
  TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256: 'ECDHE-RSA-AES128-SHA256',
  TLS_RSA_WITH_AES_128_CBC_SHA: 'AES128-SHA',
  TLS_RSA_WITH_AES_128_CBC_SHA256: 'AES128-SHA256',
  TLS_RSA_WITH_AES_128_GCM_SHA256: 'AES128-GCM-SHA256',
  TLS_RSA_WITH_AES_256_CBC_SHA: 'AES256-SHA',
  TLS_RSA_WITH_AES_256_GCM_SHA384: 'AES256-GCM-SHA384',
};

/** Groups of the key exchange by the number that TLS gives them, as OpenSSL names them. */
const curves: Readonly<Record<number, string>> = {
  23: 'P-256',
  24: 'P-384',
  25: 'P-521',
  29: 'X25519',
  4588: 'X25519MLKEM768',
};

/** What Node's TLS servers take. */
export interface TlsChoices {
  minVersion?: (typeof versions)[keyof typeof versions];
  ciphers?: string;
  ecdhCurve?: string;
}

/** tlsMinVersion, tlsCipherSuites and tlsCurvePreferences of a configuration. @throws ConfigurationError naming the field */
export function checkTlsChoices(configuration: Record<string, any>): TlsChoices {
  const made: TlsChoices = {};
  const version: string = configuration['tlsMinVersion'] ?? '';
  if (version) {
    if (!Object.hasOwn(versions, version)) {
      const text = `${JSON.stringify(version)} is none of ${Object.keys(versions).join(', ')}`;
      throw new ConfigurationError('tlsMinVersion', text);
    }
    made.minVersion = versions[version as keyof typeof versions];
  }
  const names: string[] = configuration['tlsCipherSuites'] ?? [];
  for (const name of names)
    if (!Object.hasOwn(suites, name))
      throw new ConfigurationError('tlsCipherSuites', `there is no cipher suite ${JSON.stringify(name)}`);
  if (names.length > 0) {
    // Those of TLS 1.3 are always offered: no configuration of a kubelet chooses among them.
    const modern = Object.keys(suites).filter((name) => !name.includes('_WITH_'));
    made.ciphers = [...new Set([...modern, ...names])].map((name) => suites[name]).join(':');
  }
  const numbers: unknown[] = configuration['tlsCurvePreferences'] ?? [];
  for (const one of numbers)
    if (typeof one !== 'number' || !Object.hasOwn(curves, one))
      throw new ConfigurationError(
        'tlsCurvePreferences',
        `${JSON.stringify(one)} is none of ${Object.keys(curves).join(', ')}`,
      );
  if (numbers.length > 0) made.ecdhCurve = [...new Set(numbers)].map((one) => curves[one as number]).join(':');
  return made;
}
