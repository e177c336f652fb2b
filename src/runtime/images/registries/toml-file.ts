import { createRequire } from 'node:module';

/** Loaded with the first file: most nodes have none. */
const require = createRequire(import.meta.url);

/** What a TOML file has, and where. */
export type TomlTable = Record<string, unknown>;

/** A configuration file that says something that it may not. The message has the file and the line. */
export class ConfigFileError extends Error {}

/** One TOML file that is checked strictly while it is read. */
export class TomlFile {
  readonly path: string;
  readonly root: TomlTable;
  readonly #lines: ReadonlyMap<string, number>;

  /** @throws ConfigFileError when it is not TOML */
  constructor(path: string, text: string) {
    this.path = path;
    const { parse, TomlError } = require('smol-toml') as typeof import('smol-toml');
    try {
      this.root = parse(text);
    } catch (cause) {
      if (!(cause instanceof TomlError)) throw cause;
      const reason = cause.message.split('\n')[0]!.replace(/^Invalid TOML document: /, '');
      throw new ConfigFileError(`${path}:${cause.line}: ${reason}`, { cause });
    }
    this.#lines = findLines(text);
  }

  /** An error at a place: keys from the root, elements of lists by number. */
  error(place: readonly (string | number)[], what: string): ConfigFileError {
    let line: number | undefined;
    for (let length = place.length; line === undefined && length > 0; length--)
      line = this.#lines.get(JSON.stringify(place.slice(0, length)));
    return new ConfigFileError(`${this.path}:${line ?? 1}: ${what}`);
  }

  /** @throws ConfigFileError for a key that is not in the list */
  checkKeys(table: TomlTable, known: readonly string[], place: readonly (string | number)[]): void {
    for (const key of Object.keys(table)) {
      if (known.includes(key)) continue;
      throw this.error([...place, key], `unknown key ${JSON.stringify(key)}: known here are ${known.join(', ')}`);
    }
  }

  /** A value of a type. @throws ConfigFileError for another type */
  text(table: TomlTable, key: string, place: readonly (string | number)[]): string | undefined {
    return this.#value(table, key, place, 'string', (value) => typeof value === 'string') as string | undefined;
  }
  flag(table: TomlTable, key: string, place: readonly (string | number)[]): boolean | undefined {
    return this.#value(table, key, place, 'true or false', (value) => typeof value === 'boolean') as
      | boolean
      | undefined;
  }
  texts(table: TomlTable, key: string, place: readonly (string | number)[]): string[] | undefined {
    return this.#value(table, key, place, 'a list of strings', isTexts) as string[] | undefined;
  }
  table(table: TomlTable, key: string, place: readonly (string | number)[]): TomlTable | undefined {
    return this.#value(table, key, place, 'a table', isTable) as TomlTable | undefined;
  }
  tables(table: TomlTable, key: string, place: readonly (string | number)[]): TomlTable[] | undefined {
    const isTables = (value: unknown) => Array.isArray(value) && value.every(isTable);
    return this.#value(table, key, place, `a list of tables ([[${[...place, key].join('.')}]])`, isTables) as
      | TomlTable[]
      | undefined;
  }

  #value(
    table: TomlTable,
    key: string,
    place: readonly (string | number)[],
    what: string,
    fits: (value: unknown) => boolean,
  ): unknown {
    const value = table[key];
    if (value === undefined || fits(value)) return value;
    throw this.error([...place, key], `${key} must be ${what}`);
  }
}

export const isTexts = (value: unknown) => Array.isArray(value) && value.every((one) => typeof one === 'string');
const isTable = (value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * On which line each key is written, by its place. The parser does not say; this goes through the lines of a text that
 * it has found to be right, and what it misses (a key in the middle of an inline table) is found at the key around it.
 */
function findLines(text: string): Map<string, number> {
  const lines = new Map<string, number>();
  const counts = new Map<string, number>();
  let table: (string | number)[] = [];
  let depth = 0;
  let quote: string | undefined;
  for (const [at, line] of text.split(/\r?\n/).entries()) {
    const inside = depth > 0 || quote !== undefined;
    const header = inside ? null : /^\s*(\[\[?)\s*([^\]]*(?:"[^"]*"|'[^']*')?[^\]]*)\]/.exec(line);
    if (header) {
      table = placeOf(keyParts(header[2]!), header[1] === '[[', counts);
      lines.set(JSON.stringify(table), at + 1);
      if (typeof table.at(-1) === 'number' && !lines.has(JSON.stringify(table.slice(0, -1))))
        lines.set(JSON.stringify(table.slice(0, -1)), at + 1);
      continue;
    }
    const key = inside
      ? null
      : /^\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=/.exec(line);
    if (key) {
      const parts = keyParts(key[1]!);
      for (let length = 1; length <= parts.length; length++) {
        const place = JSON.stringify([...table, ...parts.slice(0, length)]);
        if (!lines.has(place)) lines.set(place, at + 1);
      }
    }
    [depth, quote] = follow(line, depth, quote);
  }
  return lines;
}

/** The parts of a dotted key, without quotation marks. */
function keyParts(text: string): string[] {
  return [...text.matchAll(/"([^"]*)"|'([^']*)'|([\w-]+)/g)].map((match) => match[1] ?? match[2] ?? match[3]!);
}

/** Where a table header leads: elements of lists are counted, and what is below a list is in its last element. */
function placeOf(parts: readonly string[], isList: boolean, counts: Map<string, number>): (string | number)[] {
  let place: (string | number)[] = [];
  for (const [at, part] of parts.entries()) {
    place = [...place, part];
    const name = JSON.stringify(place);
    if (isList && at === parts.length - 1) counts.set(name, (counts.get(name) ?? -1) + 1);
    const count = counts.get(name);
    if (count !== undefined) place = [...place, count];
  }
  return place;
}

/** How deep in lists a line ends, and in which kind of text over several lines. */
function follow(line: string, depth: number, quote: string | undefined): [number, string | undefined] {
  let open = quote;
  let deep = depth;
  for (const [token] of line.matchAll(/"""|'''|"(?:[^"\\]|\\.)*"|'[^']*'|#.*$|[[\]{}]/g)) {
    if (open) open = token === open ? undefined : open;
    else if (token === '"""' || token === "'''") open = token;
    else if (token === '[' || token === '{') deep++;
    else if (token === ']' || token === '}') deep--;
  }
  return [Math.max(0, deep), open];
}
