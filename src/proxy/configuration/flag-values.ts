import { ProxyError } from '../errors.ts';
import { setValue } from './complete.ts';
import { parseDuration } from './duration.ts';
import { type ProxyFlag, proxyFlags } from './flags.ts';
import { withPort } from './settings.ts';

/** What a flag was given: text, a switch, or every text of one that may be repeated. */
export type GivenFlags = Record<string, string | boolean | string[] | undefined>;

type Document = Record<string, any>;

function flagError(flag: string, message: string): ProxyError {
  return new ProxyError('INVALID_CONFIGURATION', `--${flag}`, message);
}

/** The flags that were given at all. @throws ProxyError naming one that is refused */
export function givenFlags(values: GivenFlags): [name: string, value: string | boolean | string[]][] {
  const given = Object.entries(values).filter(
    (entry): entry is [string, string | boolean | string[]] =>
      entry[1] !== undefined && !(Array.isArray(entry[1]) && entry[1].length === 0) && Boolean(proxyFlags[entry[0]]),
  );
  for (const [name, value] of given) {
    const { refused } = proxyFlags[name]!;
    if (refused && String(value) !== refused.default) throw flagError(name, `${String(value)}: ${refused.why}`);
  }
  return given;
}

/** Lays flags over a document: those that count with a file, or all. @throws ProxyError naming the flag */
export function applyFlags(document: Document, values: GivenFlags, only: 'always' | 'all'): void {
  for (const [name, value] of givenFlags(values)) {
    const flag = proxyFlags[name]!;
    const { field } = flag;
    const converted = convert(name, flag, value);
    if (field && (only === 'all' || flag.always)) setValue(document, field, converted);
  }
  if (only === 'all') applySpecial(document, values);
}

/** Flags that are more than a twin of one field. */
function applySpecial(document: Document, values: GivenFlags): void {
  const mode = String(values['proxy-mode'] || 'iptables');
  const own = mode === 'ipvs' ? 'ipvs' : 'iptables';
  const section: Document = (document[mode] ??= {});
  if (values[`${own}-sync-period`] !== undefined) section['syncPeriod'] = values[`${own}-sync-period`];
  if (values[`${own}-min-sync-period`] !== undefined) section['minSyncPeriod'] = values[`${own}-min-sync-period`];
  if (values['masquerade-all'] !== undefined)
    setValue(document, `${mode === 'nftables' ? mode : 'iptables'}.masqueradeAll`, values['masquerade-all'] === true);
  for (const [flag, port, field] of [
    ['healthz-bind-address', 'healthz-port', 'healthzBindAddress'],
    ['metrics-bind-address', 'metrics-port', 'metricsBindAddress'],
  ] as const) {
    const number = values[port] === undefined ? undefined : Number(values[port]);
    // No server at all can be asked for by flags only.
    if (number === 0 || values[flag] === '') document[field] = noServer;
    else if (number !== undefined) document[field] = withPort(document[field] || defaultHost(flag, values), number);
  }
}

/** Stands for an address that was taken away; a file cannot say so. */
export const noServer = 'none';

function defaultHost(flag: string, values: GivenFlags): string {
  const isIPv6 = String(values['bind-address'] ?? '').includes(':');
  if (flag === 'healthz-bind-address') return isIPv6 ? '[::]' : '0.0.0.0';
  return isIPv6 ? '[::1]' : '127.0.0.1';
}

function convert(name: string, { kind }: ProxyFlag, value: string | boolean | string[]): unknown {
  const texts = [value].flat().map(String);
  const last = texts.at(-1)!;
  const items = texts
    .flatMap((text) => text.split(','))
    .map((text) => text.trim())
    .filter(Boolean);
  const conversions: Record<ProxyFlag['kind'], () => unknown> = {
    bool: () => value === true || value === 'true',
    text: () => last,
    integer: () => {
      if (!/^[+-]?\d+$/.test(last)) throw flagError(name, `${JSON.stringify(last)} is no whole number`);
      return Number(last);
    },
    number: () => {
      if (!/^[+-]?\d+(\.\d+)?$/.test(last)) throw flagError(name, `${JSON.stringify(last)} is no number`);
      return Number(last);
    },
    duration: () => {
      if (parseDuration(last) === undefined)
        throw flagError(name, `${JSON.stringify(last)} is no duration such as 30s or 1m30s`);
      return last;
    },
    list: () => items,
    gates: () =>
      Object.fromEntries(
        items.map((item) => {
          const match = /^([^=]+)=(true|t|1|false|f|0)$/i.exec(item);
          if (!match) throw flagError(name, `${JSON.stringify(item)} is not NAME=true or NAME=false`);
          return [match[1]!.trim(), /^[t1]/i.test(match[2]!)];
        }),
      ),
  };
  return conversions[kind]();
}
