import { parseArgs } from 'node:util';

/** One option of a command. */
export interface Flag {
  type: 'string' | 'boolean';
  /** One line for --help. */
  help: string;
  /** What the value is called in --help: `ADDR:PORT`. */
  value?: string;
  default?: string | boolean;
  /** May be given more than once. */
  multiple?: boolean;
  short?: string;
  /** The empty string is refused. */
  notEmpty?: true;
  /** A switch that was not given is undefined, not false. */
  optional?: true;
}

/** The options of a command, by name. */
export type Flags = Record<string, Flag>;

/** What was given, with defaults filled in; a string option that was not given and has no default is undefined. */
export type FlagValues<F extends Flags> = {
  [K in keyof F]: F[K] extends { multiple: true }
    ? string[]
    : F[K]['type'] extends 'boolean'
      ? boolean
      : F[K] extends { default: string }
        ? string
        : string | undefined;
};

/** A command line that cannot be used: ends the process with status 2. */
export class UsageError extends Error {}

/**
 * Parses a command's arguments.
 * @throws UsageError for an unknown option, a missing value or a surplus argument
 */
export function parseFlags<F extends Flags>(
  flags: F,
  argv: readonly string[],
  options: { positionals?: boolean } = {},
): { values: FlagValues<F>; positionals: string[] } {
  const spec: Record<string, { type: 'string' | 'boolean'; multiple?: boolean; short?: string }> = {};
  for (const [name, { type, multiple, short }] of Object.entries(flags)) {
    spec[name] = { type, ...(multiple ? { multiple } : {}), ...(short ? { short } : {}) };
  }
  try {
    const parsed = parseArgs({
      args: normalise(flags, argv),
      options: spec,
      allowPositionals: options.positionals ?? false,
      allowNegative: true,
      strict: true,
    });
    const values: Record<string, unknown> = {};
    for (const [name, flag] of Object.entries(flags)) {
      values[name] =
        parsed.values[name] ??
        flag.default ??
        (flag.multiple ? [] : flag.type === 'boolean' && !flag.optional ? false : undefined);
    }
    for (const [name, flag] of Object.entries(flags))
      if (flag.notEmpty && values[name] === '') throw new Error(`option '--${name}' must not be empty`);
    return { values: values as FlagValues<F>, positionals: parsed.positionals };
  } catch (error) {
    throw new UsageError((error as Error).message.split('. ')[0]!.replace(/^./, (letter) => letter.toLowerCase()));
  }
}

/** The value of -v. @throws UsageError when it is no whole number */
export function readLogLevel(text: string): number {
  if (!/^\d+$/.test(text)) throw new UsageError(`-v ${text} is not a log level: use a whole number, as in -v 4`);
  return Number(text);
}

/** The milliseconds of a time as Go programs write it (`1h30m`, `24h0m0s`). @throws UsageError naming the option */
export function readDuration(name: string, text: string): number {
  const units: Record<string, number> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 };
  if (!/^(?:\d+(?:\.\d+)?(?:h|ms|m|s))+$/.test(text))
    throw new UsageError(`--${name} ${text}: not a time such as 24h or 1h30m`);
  let total = 0;
  for (const [, count, unit] of text.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s)/g)) total += Number(count) * units[unit!]!;
  return total;
}

const yes = /^(?:1|t|true)$/i;
const no = /^(?:0|f|false)$/i;

/** What users of Go programs write: `--flag=true` and its likes for switches, `--some_flag`, `-v=4`. */
function normalise(flags: Flags, argv: readonly string[]): string[] {
  return argv.map((argument) => {
    const short = /^-(\w)=(.*)$/s.exec(argument);
    if (short) return `-${short[1]}${short[2]}`;
    const match = /^--([\w-]+)(?:=(.*))?$/s.exec(argument);
    if (!match) return argument;
    const [, given = '', value] = match;
    const name = Object.hasOwn(flags, given) ? given : given.replaceAll('_', '-');
    if (flags[name]?.type === 'boolean' && value !== undefined) {
      if (yes.test(value)) return `--${name}`;
      if (no.test(value)) return `--no-${name}`;
    }
    return value === undefined ? `--${name}` : `--${name}=${value}`;
  });
}

/** The options as lines for --help. */
export function describeFlags(flags: Flags): string {
  const lines = Object.entries(flags).map(([name, flag]) => {
    const left = `  ${flag.short ? `-${flag.short}, ` : ''}--${name}${flag.type === 'string' ? ` ${flag.value ?? 'TEXT'}` : ''}`;
    const fallback = flag.default !== undefined && flag.default !== false ? ` (default ${flag.default})` : '';
    return `${left.padEnd(34)} ${flag.help}${fallback}`;
  });
  return lines.join('\n');
}
