import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { FileSet } from './host-programs.ts';
import { ImageBuildError } from './image-build-error.ts';

/** Files of a package that a running program may load, and the licences under which it is passed on. */
const wanted = /\.(?:js|cjs|mjs|json|node)$|^(?:licen[cs]e|notice|copying)(?:$|[.-])/i;

/** Folders at the top of a package that only who develops it needs; deeper ones of that name may be code. */
const unwanted = /^(?:node_modules|tests?|__tests__|docs?|examples?|benchmarks?|vendor)$/;

/** Native code for another C library, and what is hidden. */
const neverWanted = /^(?:\..*|musl_.*)$/;

/** Adds npm packages and all that they depend on, without what no running program loads. @throws ImageBuildError PACKAGE_MISSING */
export function addPackages(files: FileSet, home: string, target: string, names: readonly string[]): void {
  const places = new Map<string, string>();
  const add = (name: string, from: string, parent: string, optional: boolean): void => {
    const source = findPackage(name, from);
    if (!source && optional) return;
    if (!source)
      throw new ImageBuildError(
        'PACKAGE_MISSING',
        name,
        `this npm package is not installed: run 'npm install' in ${home}`,
      );
    const flat = `${target}/node_modules/${name}`;
    // Of two versions one lies inside the package that wants it, as npm does it.
    const place = (places.get(flat) ?? source) === source ? flat : `${parent}/node_modules/${name}`;
    if (places.has(place)) return;
    places.set(place, source);
    addFolder(files, source, place, unwanted);
    const { dependencies = {}, optionalDependencies = {} } = JSON.parse(
      readFileSync(join(source, 'package.json'), 'utf8'),
    ) as Record<string, Record<string, string>>;
    for (const dependency of Object.keys({ ...dependencies, ...optionalDependencies }).sort())
      add(dependency, source, place, dependency in optionalDependencies);
  };
  for (const name of names) add(name, home, target, false);
}

/** The directory of a package as Node finds it: in the nearest node_modules that has it. */
export function findPackage(name: string, from: string): string | undefined {
  for (let directory = from; ; directory = dirname(directory)) {
    const path = join(directory, 'node_modules', name);
    if (existsSync(join(path, 'package.json'))) return realpathSync(path);
    if (directory === dirname(directory)) return undefined;
  }
}

function addFolder(files: FileSet, source: string, target: string, leaveOut = neverWanted): void {
  for (const entry of readdirSync(source, { withFileTypes: true })) {
    const [from, path] = [join(source, entry.name), `${target}/${entry.name}`];
    if (entry.isDirectory()) {
      if (!leaveOut.test(entry.name) && !neverWanted.test(entry.name)) addFolder(files, from, path);
    } else if (entry.isFile() && wanted.test(entry.name))
      files.set(path, { path, mode: 0o644, kind: 'file', source: from, size: statSync(from).size });
  }
}
