import { ConfigurationError } from '../errors.ts';
import { type KubeletFlag, kubeletFlags } from './kubelet-flags.ts';

/** What a flag was given: text, switches, or every text of one that may be repeated. */
export type GivenFlags = Record<string, string | boolean | string[] | undefined>;

/** The given flags as a part of a KubeletConfiguration, and what there is to tell about them. */
export interface FlagConfiguration {
  fields: Record<string, unknown>;
  /** The flag from which a field has its value. */
  flagOf: Record<string, string>;
  /** Flags that do nothing, with the reason. */
  ignored: { flag: string; why: string }[];
}

const flagError = (flag: string, message: string): ConfigurationError => new ConfigurationError(`--${flag}`, message);

/** Reads the flags that are twins of fields. @throws ConfigurationError naming the flag */
export function readFlagConfiguration(given: GivenFlags): FlagConfiguration {
  const made: FlagConfiguration = { fields: {}, flagOf: {}, ignored: [] };
  for (const [name, value] of Object.entries(given)) {
    const flag = kubeletFlags[name];
    if (!flag || value === undefined || (Array.isArray(value) && value.length === 0)) continue;
    if (flag.refused && String(value) !== flag.refused.default) {
      throw flagError(name, `${String(value)}: ${flag.refused.why}`);
    }
    if (flag.ignored) made.ignored.push({ flag: name, why: flag.ignored });
    if (!flag.field) continue;
    setField(made.fields, flag.field, convert(name, flag, value));
    made.flagOf[flag.field] = name;
  }
  return made;
}

function setField(fields: Record<string, unknown>, path: string, value: unknown): void {
  const parts = path.split('.');
  let at = fields;
  for (const part of parts.slice(0, -1)) {
    at[part] ??= {};
    at = at[part] as Record<string, unknown>;
  }
  at[parts.at(-1)!] = value;
}

function convert(name: string, { kind }: KubeletFlag, value: string | boolean | string[]): unknown {
  const texts = [value].flat().map(String);
  const items = texts.flatMap((text) => text.split(',')).map((text) => text.trim());
  const filled = items.filter(Boolean);
  const pairs = (separator: string) =>
    filled.map((item): [string, string] => {
      const at = item.indexOf(separator);
      if (at < 1) throw flagError(name, `${JSON.stringify(item)} is not NAME${separator}VALUE`);
      return [item.slice(0, at).trim(), item.slice(at + 1).trim()];
    });
  const conversions: Record<KubeletFlag['kind'], () => unknown> = {
    bool: () => value === true || value === 'true',
    text: () => texts.at(-1)!,
    number: () => {
      const text = texts.at(-1)!;
      if (!/^[+-]?\d+$/.test(text)) throw flagError(name, `${JSON.stringify(text)} is no whole number`);
      return Number(text);
    },
    list: () => filled,
    map: () => Object.fromEntries(pairs('=')),
    thresholds: () => Object.fromEntries(pairs('<')),
    gates: () => Object.fromEntries(pairs('=').map(([gate, text]) => [gate, readSwitch(name, gate, text)])),
    headers: () => {
      const headers: Record<string, string[]> = {};
      for (const [header, text] of pairs(':')) (headers[header] ??= []).push(text);
      return headers;
    },
    taints: () => filled.map((item) => readTaint(name, item)),
    memory: () => texts.map((text) => readReservedMemory(name, text)),
  };
  return conversions[kind]();
}

function readSwitch(flag: string, gate: string, text: string): boolean {
  if (/^(true|t|1)$/i.test(text)) return true;
  if (/^(false|f|0)$/i.test(text)) return false;
  throw flagError(flag, `${gate}=${text} is neither true nor false`);
}

/** `key=value:effect`, `key:effect`. */
function readTaint(flag: string, text: string): { key: string; value?: string; effect: string } {
  const match = /^([^=:]+)(?:=([^:]*))?:([A-Za-z]+)$/.exec(text);
  if (!match) throw flagError(flag, `${JSON.stringify(text)} is not KEY=VALUE:EFFECT`);
  const [, key = '', value, effect = ''] = match;
  return { key, ...(value ? { value } : {}), effect };
}

/** `0:memory=1Gi,hugepages-1Gi=2Gi`. */
function readReservedMemory(flag: string, text: string): { numaNode: number; limits: Record<string, string> } {
  const match = /^(\d+):(.+)$/.exec(text);
  const limits = (match?.[2] ?? '').split(',').map((pair) => pair.split('='));
  if (!match || limits.some((pair) => pair.length !== 2))
    throw flagError(flag, `${JSON.stringify(text)} is not NODE:RESOURCE=QUANTITY,…`);
  return { numaNode: Number(match[1]), limits: Object.fromEntries(limits) };
}
