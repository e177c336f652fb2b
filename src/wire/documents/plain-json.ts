import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

/** The YAML library, loaded when it is first needed: it takes 4 MB of memory, and our own files are JSON. */
export const loadYaml = (): typeof import('yaml') => require('yaml') as typeof import('yaml');

/**
 * Reads a text that is JSON (which is YAML too) and has no name twice in an object. Undefined for every other text: a
 * reader of YAML knows what it says, or what is wrong with it and where.
 */
export function plainJson(text: string): unknown {
  if (!/^\s*[{[]/.test(text)) return undefined;
  try {
    let names = 0;
    const value: unknown = JSON.parse(text, (_, one: unknown) => {
      if (typeof one === 'object' && one !== null && !Array.isArray(one)) names += Object.keys(one).length;
      return one;
    });
    // Of a name that is there twice JSON.parse keeps the last one.
    const written = [...text.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?/g)].filter(([, colon]) => colon);
    return names === written.length ? value : undefined;
  } catch {
    return undefined;
  }
}
