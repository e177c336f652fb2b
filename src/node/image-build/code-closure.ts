import { readFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';

/** The code that a program consists of. */
export interface CodeClosure {
  /** Files by path from the package's directory, in order, with their text. */
  files: Map<string, string>;
  /** Names of the npm packages that they load. */
  packages: string[];
}

/** How one module names another. */
const patterns = {
  always: [/\bfrom '([^']+)'/g, /^import '([^']+)'/gm, /new URL\('(\.[^']+)', import\.meta\.url\)/g],
  maybe: [/\bimport\('([^']+)'\)/g],
  require: [/\brequire\('([^']+)'\)/g, /\bcreateRequire\(import\.meta\.url\)\('([^']+)'\)/g],
};

/**
 * Follows the imports from some files on. `import()` is followed where `followsLazily` says so: commands and components load
 * what they need that way, and an image has only one of them. Types leave no trace: their imports end with them.
 */
export async function findClosure(
  home: string,
  roots: readonly string[],
  followsLazily: (file: string) => boolean,
): Promise<CodeClosure> {
  const files = new Map<string, string>();
  const packages = new Set<string>();
  const open = [...roots];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    if (files.has(path)) continue;
    const code = await loadCode(join(home, path));
    files.set(path, code);
    const plain = withoutComments(code);
    const wanted = [...patterns.always, ...patterns.require, ...(followsLazily(path) ? patterns.maybe : [])];
    for (const specifier of wanted.flatMap((one) => [...plain.matchAll(one)].map((match) => match[1]!))) {
      if (specifier.startsWith('.')) open.push(relative(home, resolve(home, dirname(path), specifier)));
      else if (!specifier.startsWith('node:')) packages.add(packageOf(specifier));
    }
  }
  return {
    files: new Map([...files].sort(([one], [other]) => (one < other ? -1 : 1))),
    packages: [...packages].sort(),
  };
}

/** The text of a module without its types: what runs, line by line and column by column where it was. */
async function loadCode(path: string): Promise<string> {
  const text = await readFile(path, 'utf8');
  if (!path.endsWith('.ts')) return text;
  const { stripTypeScriptTypes } = await import('node:module');
  return stripTypeScriptTypes(text).replaceAll(/[ \t]+$/gm, '');
}

/** Modules with other endings than in the sources name each other by these. */
export function renameImports(code: string): string {
  return code.replaceAll(
    /(\bfrom |^import |\bimport\(|new URL\()'(\.[^']*)\.ts'/gm,
    (_, head: string, path: string) => `${head}'${path}.js'`,
  );
}

function withoutComments(code: string): string {
  return code.replaceAll(/^\s*(?:\/\*\*[\s\S]*?\*\/|\/\/.*)$/gm, '');
}

function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}
