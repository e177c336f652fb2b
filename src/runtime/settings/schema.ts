/** Where a value stands in the settings: names of fields and numbers of list items. */
export type SettingPath = readonly (string | number)[];

/** A value that a setting cannot have. */
export class SettingProblem extends Error {
  readonly path: SettingPath;
  constructor(path: SettingPath, message: string) {
    super(message);
    this.path = path;
  }
  /** The setting as a user writes it: `registries[0].mirrors`. */
  get place(): string {
    return formatPath(this.path);
  }
}

/** `a.b[2].c` */
export function formatPath(path: SettingPath): string {
  return path
    .map((part, index) => (typeof part === 'number' ? `[${part}]` : `${index > 0 ? '.' : ''}${part}`))
    .join('');
}

/** What a setting must be: read strictly from a file, and described for people. */
export interface Schema<T> {
  /** As in "must be ${kind}". */
  readonly kind: string;
  /** Present where the value is a time: the file then takes `30s`, and leaves the `Ms` of the name off. */
  readonly duration?: true;
  /** Secrets are not printed. */
  readonly secret?: true;
  /** @throws SettingProblem */
  read(value: unknown, path: SettingPath): T;
  /** The value as a file would have it; the value itself when it is missing. */
  print?(value: T): unknown;
}

/** The type that a schema gives. */
export type ValueOf<S> = S extends Schema<infer T> ? T : never;

function make<T>(kind: string, read: (value: unknown) => T | undefined, more: Partial<Schema<T>> = {}): Schema<T> {
  return {
    kind,
    ...more,
    read: (value, path) => {
      const result = read(value);
      if (result !== undefined) return result;
      throw new SettingProblem(path, `${formatPath(path)} must be ${kind}, not ${describe(value)}`);
    },
  };
}

function describe(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'a mapping';
  return JSON.stringify(value) ?? 'nothing';
}

/** Any text. */
export const text = (): Schema<string> => make('text', (value) => (typeof value === 'string' ? value : undefined));

/** Text that is never printed. */
export const secret = (): Schema<string> =>
  make('text', (value) => (typeof value === 'string' ? value : undefined), { secret: true });

/** Text of a form. `kind` says which: "an absolute path". */
export const textLike = (kind: string, pattern: RegExp): Schema<string> =>
  make(kind, (value) => (typeof value === 'string' && pattern.test(value) ? value : undefined));

/** A path from the root. */
export const absolutePath = (): Schema<string> => textLike('an absolute path', /^\//);

/** A range of addresses, or one of each family with a comma between. */
export const addressRanges = (): Schema<string> =>
  textLike('a range of addresses such as 10.88.0.0/16', /^[0-9a-fA-F:.]+\/\d+(,[0-9a-fA-F:.]+\/\d+)?$/);

/** True or false. */
export const toggle = (): Schema<boolean> =>
  make('true or false', (value) => (typeof value === 'boolean' ? value : undefined));

/** A whole number in a range. */
export const wholeNumber = (least: number, most: number): Schema<number> =>
  make(`a whole number from ${least} to ${most}`, (value) =>
    Number.isInteger(value) && (value as number) >= least && (value as number) <= most ? (value as number) : undefined,
  );

/** One of some words. */
export const oneOf = <const W extends string>(...words: W[]): Schema<W> =>
  make(`one of ${words.join(', ')}`, (value) => words.find((word) => word === value));

const units: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** A time, `1h30m`, `90s` or `500ms`, as milliseconds. The setting's name must end in `Ms`. */
export const duration = (): Schema<number> =>
  make(
    'a time such as 500ms, 30s or 1h30m',
    (value) => {
      if (value === 0) return 0;
      if (typeof value !== 'string' || !/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(value)) return undefined;
      return [...value.matchAll(/([\d.]+)(ms|s|m|h)/g)].reduce(
        (all, [, n, unit]) => all + Number(n) * units[unit!]!,
        0,
      );
    },
    { duration: true, print: formatDuration },
  );

function formatDuration(milliseconds: number): string {
  for (const unit of ['h', 'm', 's'])
    if (milliseconds > 0 && milliseconds % units[unit]! === 0) return `${milliseconds / units[unit]!}${unit}`;
  return `${milliseconds}ms`;
}

const sizes: Record<string, number> = { '': 1, Ki: 1024, Mi: 1024 ** 2, Gi: 1024 ** 3, Ti: 1024 ** 4 };

/** A number of bytes, `64Mi` or plain. */
export const bytes = (): Schema<number> =>
  make(
    'a size such as 512Mi or 10Gi',
    (value) => {
      if (Number.isInteger(value) && (value as number) >= 0) return value as number;
      const [, number, unit = ''] = /^(\d+)(Ki|Mi|Gi|Ti)?$/.exec(String(value)) ?? [];
      return typeof value === 'string' && number !== undefined ? Number(number) * sizes[unit]! : undefined;
    },
    {
      print: (value) => {
        const unit = ['Ti', 'Gi', 'Mi', 'Ki'].find((one) => value > 0 && value % sizes[one]! === 0) ?? '';
        return `${value / sizes[unit]!}${unit}`;
      },
    },
  );

/** A list, in order. */
export const list = <T>(item: Schema<T>): Schema<readonly T[]> => ({
  kind: `a list, each ${item.kind}`,
  read: (value, path) => {
    if (!Array.isArray(value))
      throw new SettingProblem(path, `${formatPath(path)} must be a list, not ${describe(value)}`);
    return value.map((one, index) => item.read(one, [...path, index]));
  },
  print: (values) => values.map((one) => printValue(item, one)),
});

/** Names that the user chooses, each with a value. */
export const mapping = <T>(item: Schema<T>): Schema<Readonly<Record<string, T>>> => ({
  kind: `a mapping of names, each to ${item.kind}`,
  read: (value, path) =>
    Object.fromEntries(entriesOf(value, path).map(([name, one]) => [name, item.read(one, [...path, name])])),
  print: (values) => Object.fromEntries(Object.entries(values).map(([name, one]) => [name, printValue(item, one)])),
});

/** Fields of a record: those of `required` must be there, those of `more` may be. */
export function record<R extends Record<string, Schema<any>>, M extends Record<string, Schema<any>>>(
  required: R,
  more: M,
): Schema<{ [K in keyof R]: ValueOf<R[K]> } & { [K in keyof M]?: ValueOf<M[K]> }> {
  const fields: Record<string, Schema<unknown>> = { ...required, ...more };
  const names = Object.keys(fields).map((name) => fileName(name, fields[name]!));
  return {
    kind: `a mapping with ${Object.keys(required).join(', ') || 'any'}${Object.keys(more).length > 0 ? ` (and ${Object.keys(more).join(', ')})` : ''}`,
    read: (value, path) => {
      const given = entriesOf(value, path);
      const result: Record<string, unknown> = {};
      for (const [key, one] of given) {
        const name = Object.keys(fields).find((candidate) => fileName(candidate, fields[candidate]!) === key);
        if (name === undefined) throw unknownField([...path, key], names);
        result[name] = fields[name]!.read(one, [...path, key]);
      }
      for (const name of Object.keys(required))
        if (result[name] === undefined) throw new SettingProblem(path, `${formatPath(path)} needs ${name}`);
      return result as never;
    },
    print: (values) => printFields(fields, values),
  };
}

/** A field that nothing knows; names the nearest. */
export function unknownField(path: SettingPath, names: readonly string[]): SettingProblem {
  const name = String(path.at(-1));
  const near = names.find((one) => one.toLowerCase() === name.toLowerCase() || similar(one, name));
  return new SettingProblem(
    path,
    `unknown setting ${JSON.stringify(formatPath(path))}: ${near ? `did you mean ${near}?` : `known are ${names.join(', ')}`}`,
  );
}

/** Whether one word is the other with one letter more, less or changed, or with letters in another order. */
function similar(left: string, right: string): boolean {
  const letters = (word: string): string => [...word.toLowerCase()].sort().join('');
  if (letters(left) === letters(right)) return true;
  const [long, short] = left.length >= right.length ? [left, right] : [right, left];
  if (long.length - short.length > 1 || short.length < 3) return false;
  let at = 0;
  while (at < short.length && long[at] === short[at]) at++;
  return long.slice(at + 1) === short.slice(long.length === short.length ? at + 1 : at);
}

/** The name of a setting in a file: times are written with their unit. */
export function fileName(name: string, schema: Schema<unknown>): string {
  return schema.duration ? name.replace(/Ms$/, '') : name;
}

/** A value as a file would have it, without secrets. */
export function printValue<T>(schema: Schema<T>, value: T): unknown {
  if (schema.secret) return '(hidden)';
  return schema.print ? schema.print(value) : value;
}

/** Settings as a file would have them. */
export function printFields(fields: Record<string, Schema<any>>, values: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).flatMap(([name, schema]) => {
      const value = (values as Record<string, unknown>)[name];
      return value === undefined ? [] : [[fileName(name, schema), printValue(schema, value)]];
    }),
  );
}

/** The entries of a mapping. @throws SettingProblem */
export function entriesOf(value: unknown, path: SettingPath): [string, unknown][] {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return Object.entries(value);
  throw new SettingProblem(path, `${formatPath(path) || 'the file'} must be a mapping, not ${describe(value)}`);
}
